"""Requests are proposed from what trainings used, with a margin."""

from __future__ import annotations

from updraft.pods.rightsize import Used, rightsize
from updraft.spec.compute import Compute, PodDefaults, pod_compute


def compute(**wishes):
    return pod_compute(Compute(backend="kubernetes", **wishes), PodDefaults())


def test_memory_is_the_highest_peak_and_a_quarter():
    used = [Used("a", 400.0, 3600), Used("b", 800.0, 3600)]
    [found] = rightsize(compute(memory="4Gi"), used)
    assert (found.key, found.now, found.then) == ("memory", "4Gi", "1Gi")
    assert "800 MiB (run b)" in found.why
    assert found.saving == "saves 6.00 GiB hours"


def test_too_little_memory_is_told_too():
    [found] = rightsize(compute(memory="1Gi"), [Used("a", 1000.0, 3600)])
    assert found.then == "1280Mi"
    assert found.saving.startswith("costs")


def test_requests_that_fit_are_left_alone():
    assert rightsize(compute(memory="1Gi"), [Used("a", 800.0, 60, cpu_seconds=118)]) == ()


def test_cores_that_were_idle_are_given_back():
    used = [Used("a", 800.0, 1800, cpu_seconds=1980)]
    [found] = rightsize(compute(memory="1Gi", cpu=4), used)
    assert (found.key, found.then, found.saving) == ("cpu", "1.2", "saves 1.40 core hours")


def test_a_gpu_that_was_idle_is_given_back():
    [found] = rightsize(compute(memory="1Gi", gpu=1), [Used("a", 800.0, 3600, gpu_percent=4.0)])
    assert (found.key, found.then, found.saving) == ("gpu", "0", "saves 1.00 GPU hours")


def test_a_gpu_of_which_nothing_is_known_is_kept():
    assert rightsize(compute(memory="1Gi", gpu=1), [Used("a", 800.0, 3600)]) == ()


def test_nothing_is_proposed_before_a_training_has_told():
    assert rightsize(compute(), []) == ()
