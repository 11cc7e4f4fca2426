"""The Job that several workers, or a queue, make of a training's pod."""

from __future__ import annotations

from types import SimpleNamespace

from updraft.jobs.failure import ATTEMPT
from updraft.jobs.group import Place, new_token
from updraft.spec.compute import Compute, Kubernetes, PodDefaults, pod_compute
from updraft_airflow.pods import QUEUE, group_policy, meeting_service, training_job, training_pod

TOKEN = new_token()

LOOP = SimpleNamespace(
    name="flights", settings=SimpleNamespace(lake="s3://lake"), spec=SimpleNamespace(owner="flight-ops")
)


def job(**compute: object):
    wishes = pod_compute(Compute.model_validate(compute), PodDefaults())
    pod = training_pod(LOOP, "run-1", "s3://lake/request.json", wishes, Kubernetes(), "0" * 64)
    return training_job(pod, wishes, TOKEN), pod


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
    place = Place.of({**{name: str(value) for name, value in env.items()}, "UPDRAFT_WORKER": "2"})
    assert place == Place(2, "train-flights-0.train-flights.updraft.svc", 29400, TOKEN)
    assert TOKEN not in repr(place)
    same = {name: value for name, value in worker.items() if name not in ("subdomain", "containers")}
    assert same.items() <= pod["spec"].items()
    [container], [alone] = worker["containers"], pod["spec"]["containers"]
    assert {**container, "env": container["env"][: len(alone["env"])]} == alone


def test_a_pod_knows_its_own_name_so_that_its_word_is_not_taken_for_anothers():
    _, pod = job(workers=1)
    assert variables(pod["spec"])[ATTEMPT] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_service_finds_the_pods_of_its_job_and_goes_with_it():
    made, _ = job(workers=2)
    made["metadata"]["uid"] = "u-1"
    service = meeting_service(made)
    assert service["metadata"]["name"] == made["spec"]["template"]["spec"]["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert [owner["uid"] for owner in service["metadata"]["ownerReferences"]] == ["u-1"]


def test_the_workers_of_a_job_are_reached_by_each_other_alone():
    made, _ = job(workers=2)
    made["metadata"]["uid"] = "u-1"
    policy = group_policy(made)
    workers = {"matchLabels": {"batch.kubernetes.io/job-name": made["metadata"]["name"]}}
    assert policy["spec"] == {
        "podSelector": workers,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": workers}]}],
    }
    assert [owner["uid"] for owner in policy["metadata"]["ownerReferences"]] == ["u-1"]


def test_the_secret_of_a_group_is_in_its_pods_environment_and_nowhere_else_of_the_manifest():
    made, _ = job(workers=2)
    [container] = made["spec"]["template"]["spec"]["containers"]
    container["env"] = [each for each in container["env"] if each["name"] != "UPDRAFT_MEETING_TOKEN"]
    assert TOKEN not in str(made)


def test_what_a_pod_may_write_to_its_node_is_asked_for_and_limited():
    _, pod = job(disk="3Gi")
    [container], [tmp] = pod["spec"]["containers"], pod["spec"]["volumes"]
    assert container["resources"]["requests"]["ephemeral-storage"] == "3Gi"
    assert container["resources"]["limits"]["ephemeral-storage"] == "3Gi"
    assert tmp == {"name": "tmp", "emptyDir": {"sizeLimit": "3Gi"}}


def test_each_project_may_have_a_secret_of_its_own():
    loop = SimpleNamespace(**{**vars(LOOP), "name": "flight_delays"})
    wishes = pod_compute(Compute(), PodDefaults())
    pod = training_pod(loop, "run-1", "s3://lake/r.json", wishes, Kubernetes(secret="trainer-{project}"), "0" * 64)
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "trainer-flight-delays"}}]


def test_one_worker_in_a_queue_is_a_suspended_job_of_the_plain_pod():
    made, pod = job(queue="training")
    assert made["spec"]["suspend"] is True
    assert made["metadata"]["labels"][QUEUE] == "training"
    assert made["spec"]["template"]["spec"] == pod["spec"]
    assert QUEUE not in made["spec"]["template"]["metadata"]["labels"]
