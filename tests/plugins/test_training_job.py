"""The Job that several workers, or a queue, make of a training's pod."""

from __future__ import annotations

from types import SimpleNamespace

from updraft.spec.compute import Compute, Kubernetes, PodDefaults, pod_compute
from updraft.training.group import Place
from updraft_airflow.pods import QUEUE, meeting_service, training_job, training_pod

LOOP = SimpleNamespace(
    name="flights", settings=SimpleNamespace(lake="s3://lake"), spec=SimpleNamespace(owner="flight-ops")
)


def job(**compute: object):
    wishes = pod_compute(Compute.model_validate(compute), PodDefaults())
    pod = training_pod(LOOP, "run-1", "s3://lake/request.json", wishes, Kubernetes())
    return training_job(pod, wishes), pod


def variables(pod_spec) -> dict[str, object]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in pod_spec["containers"][0]["env"]}


def test_every_worker_is_the_training_pod_with_a_number_and_the_name_of_the_first():
    made, pod = job(workers=3)
    spec = made["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["suspend"] is False
    worker = spec["template"]["spec"]
    env = variables(worker)
    assert env["UPDRAFT_MEETING"] == "train-flights-0.train-flights.updraft.svc:29400"
    assert Place.of({"UPDRAFT_WORKER": "2", "UPDRAFT_MEETING": str(env["UPDRAFT_MEETING"])}) == Place(
        2, "train-flights-0.train-flights.updraft.svc", 29400
    )
    same = {name: value for name, value in worker.items() if name not in ("subdomain", "containers")}
    assert same.items() <= pod["spec"].items()
    [container], [alone] = worker["containers"], pod["spec"]["containers"]
    assert {name: value for name, value in container.items() if name != "env"} == alone


def test_the_service_finds_the_pods_of_its_job_and_goes_with_it():
    made, _ = job(workers=2)
    made["metadata"]["uid"] = "u-1"
    service = meeting_service(made)
    assert service["metadata"]["name"] == made["spec"]["template"]["spec"]["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert [owner["uid"] for owner in service["metadata"]["ownerReferences"]] == ["u-1"]


def test_one_worker_in_a_queue_is_a_suspended_job_of_the_plain_pod():
    made, pod = job(queue="training")
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"][QUEUE] == "training"
    assert made["spec"]["template"]["spec"] == pod["spec"]
    assert QUEUE not in made["spec"]["template"]["metadata"]["labels"]
