"""What the next pod of a training gets, learnt from the ones before."""

from __future__ import annotations

import pytest

from updraft.pods.attempts import (
    Attempt,
    Ending,
    WithoutNode,
    ended,
    next_try,
    note_attempt,
    read_attempts,
    without_node,
    worth_another,
)
from updraft.spec.compute import Compute, PodDefaults, pod_compute
from updraft.store.store import Store

OWN = Compute(backend="kubernetes", gpu=1, memory="1Gi", memory_cap="3Gi", on_no_gpu="cpu")
DEFAULTS = PodDefaults()


def attempt(**changes) -> Attempt:
    values = {"pod": "p1", "namespace": "updraft", "image": "i", "gpu": 1, "cpu": "2", "memory": "1Gi"}
    return Attempt(**{**values, "wanted_gpu": 1, "wanted_memory": "1Gi", **changes})


def test_the_first_pod_gets_what_was_asked_for():
    found = next_try(OWN, DEFAULTS, ())
    assert (found.compute.memory, found.compute.gpu, found.why) == ("1Gi", 1, "")


def test_after_one_that_was_killed_for_memory_the_next_gets_twice_as_much():
    found = next_try(OWN, DEFAULTS, (ended(attempt(), Ending.MEMORY, "killed"),))
    assert found.compute.memory == "2Gi"
    assert "1Gi were too little" in found.why


def test_the_cap_holds():
    found = next_try(OWN, DEFAULTS, (ended(attempt(memory="2Gi"), Ending.MEMORY, "killed"),))
    assert found.compute.memory == "3Gi"


def test_memory_learnt_under_another_wish_counts_no_more():
    raised = OWN.model_copy(update={"memory": "1536Mi"})
    assert next_try(raised, DEFAULTS, (ended(attempt(), Ending.MEMORY, "killed"),)).compute.memory == "1536Mi"


def test_memory_is_raised_once_and_only_below_the_cap():
    asked = pod_compute(OWN, DEFAULTS)
    assert worth_another(attempt(), asked)
    assert not worth_another(attempt(memory="2Gi"), asked)
    assert not worth_another(attempt(memory="3Gi", wanted_memory="3Gi"), asked)


def test_after_one_that_found_no_gpu_the_next_trains_on_cpu_where_the_policy_says_so():
    found = next_try(OWN, DEFAULTS, (ended(attempt(), Ending.NO_GPU, "none"),))
    assert found.compute.gpu == 0
    assert "on CPU: no node had 1 GPU within 30m" in found.why


@pytest.mark.parametrize("policy", ["wait", "fail"])
def test_where_it_does_not_say_so_a_gpu_is_asked_for_again(policy):
    own = OWN.model_copy(update={"on_no_gpu": policy})
    assert next_try(own, DEFAULTS, (ended(attempt(), Ending.NO_GPU, "none"),)).compute.gpu == 1


def test_a_pod_that_was_lost_is_followed_by_one_like_it():
    assert next_try(OWN, DEFAULTS, (ended(attempt(), Ending.LOST, "gone"),)) == next_try(OWN, DEFAULTS, ())


def test_a_pod_is_kept_once_with_its_last_state():
    run = (Store.in_memory(), "flights", "run-1")
    assert read_attempts(*run) == ()
    note_attempt(*run, attempt())
    note_attempt(*run, attempt(pod="p2"))
    note_attempt(*run, ended(attempt(), Ending.MEMORY, "killed", node="gpu", peak_memory_mb=900.0, image_id=None))
    first, second = read_attempts(*run)
    assert (first.ending, first.node, first.peak_memory_mb, first.image_id) == ("memory", "gpu", 900.0, None)
    assert second.ending is Ending.RUNNING
    assert first.ending is Ending.MEMORY


@pytest.mark.parametrize(
    ("policy", "gpu", "does"),
    [
        ("wait", 1, WithoutNode.WAIT),
        ("wait", 0, WithoutNode.WAIT),
        ("fail", 1, WithoutNode.GIVE_UP),
        ("cpu", 1, WithoutNode.USE_CPU),
        ("cpu", 0, WithoutNode.WAIT),
        ("cpu", None, WithoutNode.WAIT),
        ("fail", None, WithoutNode.GIVE_UP),
    ],
)
def test_what_a_training_does_without_a_node_is_the_policys_to_say(policy, gpu, does):
    asked = pod_compute(OWN.model_copy(update={"on_no_gpu": policy}), DEFAULTS)
    assert without_node(asked, None if gpu is None else attempt(gpu=gpu)) is does
