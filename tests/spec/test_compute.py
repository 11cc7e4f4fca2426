"""Where a training runs: every error of `training.compute` and of `deployment.yaml` at once, and what a pod gets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from updraft.errors import SpecError
from updraft.settings import Settings
from updraft.spec.compute import GPU, Compute, Kubernetes, PodDefaults, Toleration, pod_compute
from updraft.spec.deployment import load_deployment
from updraft.spec.load import BrokenProject, load_project, load_project_or_problems
from updraft.spec.part import cpu_cores, mebibytes, memory_bytes, shown_duration


def deployment(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text(text)
    return path


def test_one_word_moves_a_training_into_a_pod(make_project, smallest):
    spec = load_project(make_project(smallest + "training: {compute: {backend: kubernetes}}\n")).spec
    pod = pod_compute(spec.training.compute, PodDefaults())
    assert (pod.gpu, pod.cpu, pod.memory, pod.on_no_gpu) == (0, "2", "4Gi", "wait")
    assert pod.tolerations == ()


def test_a_local_training_is_the_default(make_project):
    assert load_project(make_project()).spec.training.compute.backend == "local"


def test_every_wrong_key_of_compute_is_told_with_what_is_allowed(make_project, smallest):
    wrong = (
        "{backend: kuberntes, gpu: 1.5, cpu: two, memory: 4, memory_cap: 4GB, on_no_gpu: never, timeout: soon, imge: a}"
    )
    found = load_project_or_problems(make_project(smallest + f"training: {{compute: {wrong}}}\n"))
    assert isinstance(found, BrokenProject)
    told = {problem.key: str(problem) for problem in found.problems}
    assert set(told) == {
        f"training.compute.{key}"
        for key in ("backend", "gpu", "cpu", "memory", "memory_cap", "on_no_gpu", "timeout", "imge")
    }
    assert "did you mean `kubernetes`?; allowed: local, kubernetes" in told["training.compute.backend"]
    assert "512Mi, 4Gi" in told["training.compute.memory"]
    assert "2, 1.5 or 500m" in told["training.compute.cpu"]
    assert "did you mean `image`" in told["training.compute.imge"]


def test_a_cap_below_the_memory_is_refused(make_project, smallest):
    found = load_project_or_problems(make_project(smallest + "training: {compute: {memory: 4Gi, memory_cap: 2Gi}}\n"))
    assert isinstance(found, BrokenProject)
    assert "memory_cap (2Gi) is below memory (4Gi)" in str(found.problems[0])


@pytest.mark.parametrize(
    ("text", "count"), [("512Mi", 2**29), ("1.5Gi", 3 * 2**29), ("4Gi", 2**32), ("500M", 500_000_000), ("1T", 10**12)]
)
def test_memory_is_read_as_kubernetes_reads_it(text, count):
    assert memory_bytes(text) == count


def test_memory_is_written_so_that_reading_it_gives_at_least_as_much():
    assert mebibytes(2**32) == "4Gi"
    assert mebibytes(2**32 + 1) == "4097Mi"


def test_cores_are_read_as_kubernetes_reads_them():
    assert [cpu_cores(text) for text in ("500m", "1.5", "2")] == [0.5, 1.5, 2.0]


def test_a_pod_with_a_gpu_tolerates_the_taint_of_gpu_nodes_and_its_projects_own():
    own = Compute(backend="kubernetes", gpu=1, tolerations=(Toleration(key="spot"),), node_selector={"zone": "a"})
    pod = pod_compute(own, PodDefaults(gpu_image="trainer:gpu", gpu_node_selector={"nvidia.com/gpu.present": "true"}))
    assert {toleration.key for toleration in pod.tolerations} == {"spot", GPU}
    assert pod.node_selector == {"zone": "a", "nvidia.com/gpu.present": "true"}
    assert pod.image == "trainer:gpu"


def test_a_training_that_falls_back_to_cpu_leaves_the_gpu_nodes_and_their_image():
    own = Compute(backend="kubernetes", gpu=2, node_selector={"nvidia.com/gpu.present": "true"})
    pod = pod_compute(own, PodDefaults(gpu_image="trainer:gpu"), gpu=0)
    assert (pod.gpu, pod.node_selector, pod.tolerations, pod.image) == (0, {}, (), PodDefaults().image)


def test_memory_above_the_deployments_cap_is_its_own_cap():
    pod = pod_compute(Compute(memory="64Gi"), PodDefaults(memory_cap="16Gi"))
    assert pod.memory_cap == "64Gi"


def test_the_deployment_that_comes_with_updraft_is_sound():
    found = load_deployment(Settings.from_env({}).deployment)
    assert found.kubernetes.defaults.timeout == timedelta(hours=12)
    assert found.kubernetes.mlflow is None


def test_every_problem_of_a_deployment_is_told_with_its_line(tmp_path):
    text = "kubernetes:\n  namespac: a\n  image_pull_policy: never\n  defaults:\n    memory: 4\n    memory_cap: 1Gi\n"
    text += "    gpu: two\n    gpu_tolerations: [{key: a, operator: Equal}]\n"
    with pytest.raises(SpecError) as raised:
        load_deployment(deployment(tmp_path, text))
    told = str(raised.value).splitlines()
    assert [line.partition("deployment.yaml:")[2].partition(":")[0] for line in told] == ["2", "3", "5", "7", "8"]
    assert "did you mean `namespace`" in told[0]
    assert "IfNotPresent, Always, Never" in told[1]
    assert "operator Equal needs a key and a value" in told[4]


def test_a_deployments_cap_below_its_memory_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"defaults.memory_cap = '1Gi': is below memory \(4Gi\)"):
        load_deployment(deployment(tmp_path, "kubernetes: {defaults: {memory_cap: 1Gi}}\n"))


def test_a_deployment_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(SpecError, match=r"deployment.yaml: no such file; .* set UPDRAFT_DEPLOYMENT"):
        load_deployment(tmp_path / "deployment.yaml")


def test_a_group_has_at_least_one_worker_and_one_is_the_default(make_project, smallest):
    assert load_project(make_project(smallest)).spec.training.compute.workers == 1
    found = load_project_or_problems(make_project(smallest + "training: {compute: {workers: 0}}\n"))
    assert isinstance(found, BrokenProject)
    assert [problem.key for problem in found.problems] == ["training.compute.workers"]


@pytest.mark.parametrize("text", ["90s", "30m", "6h", "2d"])
def test_a_duration_is_shown_as_it_was_written(text):
    compute = Compute(backend="kubernetes", timeout=text)
    assert compute.timeout is not None
    assert shown_duration(compute.timeout) == text


ALLOWED = Kubernetes(
    images=("localhost/updraft-trainer:*", "registry.example.com/team/*:v1"), defaults=PodDefaults(gpu_image="b:gpu")
)


@pytest.mark.parametrize(
    "image", ["localhost/updraft-trainer:gpu", "registry.example.com/team/trainer:v1", PodDefaults().image, "b:gpu"]
)
def test_an_image_that_matches_a_pattern_or_stands_in_the_deployment_is_allowed(image):
    ALLOWED.check_image(image)


@pytest.mark.parametrize(
    "image",
    [
        "evil.example.com/updraft-trainer:cpu",
        "localhost/updraft-trainer",
        "xlocalhost/updraft-trainer:cpu",
        "localhost/updraft-trainer:cpu/../../evil",
        "localhost/updraft-trainer:cpu\n",
        "registry.example.com/team/below/trainer:v1",
        "registryXexample.com/team/trainer:v1",
        "registry.example.com/team/trainer:v12",
        "localhost/updraft-trainer@sha256:" + "0" * 64,
    ],
)
def test_another_image_is_refused_with_the_patterns(image):
    with pytest.raises(SpecError, match=r"this deployment runs no such image; allowed: localhost/updraft-trainer:\*, "):
        ALLOWED.check_image(image)


@pytest.mark.parametrize("pattern", ["*", "*/updraft-trainer:cpu", "", "a b"])
def test_a_pattern_that_names_no_registry_is_refused(tmp_path, pattern):
    with pytest.raises(SpecError, match=r"kubernetes\.images"):
        load_deployment(deployment(tmp_path, f'kubernetes: {{images: ["{pattern}"]}}\n'))
