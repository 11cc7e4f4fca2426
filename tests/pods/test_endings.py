"""How a pod ended, told from what the cluster says of it."""

from __future__ import annotations

import pytest

from updraft.jobs.failure import TrainingFailure
from updraft.pods.attempts import Ending
from updraft.pods.endings import end_of, waits_for


def pod(
    state=None, *, phase="Failed", reason=None, message=None, deleted=None, conditions=None, node="gpu", gates=None
):
    status = {"phase": phase, "reason": reason, "message": message, "conditions": conditions or []}
    if state is not None:
        status["containerStatuses"] = [{"name": "sidecar", "state": {}}, {"name": "base", "state": state}]
    spec = {"nodeName": node, "containers": [{"name": "base", "image": "trainer:1"}], "schedulingGates": gates}
    return {
        "metadata": {"name": "p", "deletionTimestamp": deleted},
        "spec": spec | {"activeDeadlineSeconds": 60},
        "status": status,
    }


def terminated(code, reason="Error", message=""):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def test_a_kill_for_memory_names_the_limit():
    end = end_of(pod(terminated(137, "OOMKilled")), memory="512Mi")
    assert (end.ending, end.again) == ("memory", True)
    assert "512Mi" in end.words


def test_an_image_that_cannot_be_had_is_named_and_not_tried_again():
    end = end_of(pod({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, phase="Pending"))
    assert (end.ending, end.again) == ("image", False)
    assert "trainer:1" in end.words
    assert "not found" in end.words


@pytest.mark.parametrize("passing", [True, False])
def test_the_trainings_own_word_counts_and_says_whether_another_try_can_help(passing):
    failure = TrainingFailure(kind="DataError", passing=passing, words="s3://lake/x is not there;\nrestore it")
    end = end_of(pod(terminated(1, message="MLflowAway: of a log")), failure=failure)
    assert (end.ending, end.again) == (Ending.TRAINING, passing)
    assert end.words == "DataError: s3://lake/x is not there; restore it"


def test_what_a_log_says_decides_nothing():
    end = end_of(pod(terminated(1, message="07:00:01 proof: 40 rounds\nDataError: s3://lake/x is not there")))
    assert (end.ending, end.again) == (Ending.UNKNOWN, True)
    assert "DataError: s3://lake/x is not there" in end.words


def test_a_request_with_which_nothing_can_be_started_is_not_tried_again():
    end = end_of(pod(terminated(2, message="request.json: there is no such file")))
    assert (end.ending, end.again) == (Ending.TRAINING, False)
    assert "there is no such file" in end.words


def test_an_end_that_said_nothing_at_all_says_so():
    assert "exit code 1 (Error): it said nothing" in end_of(pod(terminated(1))).words


def test_a_kill_counts_as_one_for_memory_where_the_node_says_so():
    killed = pod(terminated(137))
    assert end_of(killed, [{"reason": "OOMKilling", "message": "x"}]).ending is Ending.MEMORY
    assert end_of(killed, [{"reason": "Killing", "message": "no room for an oom"}]).ending is Ending.UNKNOWN


def test_an_end_without_a_word_is_tried_again():
    end = end_of(pod(terminated(139, message="Segmentation fault")))
    assert (end.ending, end.again) == ("unknown", True)
    assert "139" in end.words
    assert "Segmentation fault" in end.words


@pytest.mark.parametrize(
    "ended",
    [
        pod(terminated(143)),
        pod(
            terminated(137),
            reason="Evicted",
            message="The node was low on resource: memory",
            conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}],
        ),
        pod(reason="NodeShutdown"),
    ],
)
def test_a_pod_that_was_stopped_with_notice_is_tried_again(ended):
    end = end_of(ended)
    assert (end.ending, end.again) == ("interrupted", True)


def test_a_pod_that_wrote_more_than_it_may_is_not_tried_again_and_told_which_key_to_raise():
    end = end_of(pod(reason="Evicted", message='Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". '))
    assert (end.ending, end.again) == ("training", False)
    assert 'exceeds the limit "64Mi"' in end.words
    assert "raise training.compute.disk" in end.words


def test_a_pod_that_is_gone_is_tried_again():
    assert (end_of(None).ending, end_of(None).again) == ("lost", True)


def test_a_pod_whose_node_does_not_answer_is_lost():
    end = end_of(pod({"running": {}}, phase="Running", deleted="2026-01-01T00:00:00Z"))
    assert (end.ending, end.again) == ("lost", True)
    assert "gpu" in end.words


def test_a_training_beyond_its_timeout_is_not_tried_again():
    end = end_of(pod(terminated(143), reason="DeadlineExceeded"))
    assert (end.ending, end.again) == ("timeout", False)
    assert "60 s" in end.words


def test_what_an_unscheduled_pod_waits_for_is_told_in_the_schedulers_words():
    said = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    assert waits_for(pod(phase="Pending", node=None, conditions=[condition]), []) == said


def test_without_a_condition_the_last_event_tells_it():
    events = [{"reason": "FailedScheduling", "message": "old"}, {"reason": "FailedScheduling", "message": "new"}]
    assert waits_for(pod(phase="Pending", node=None), events) == "new"


def test_a_pod_that_a_queue_holds_waits_for_the_queue():
    gated = pod(phase="Pending", node=None, gates=[{"name": "kueue.x-k8s.io/admission"}])
    assert "kueue.x-k8s.io/admission" in waits_for(gated, [])


def test_a_pod_with_a_node_waits_for_none():
    scheduled = {"type": "PodScheduled", "status": "True"}
    assert waits_for(pod(phase="Pending", conditions=[scheduled]), []) is None
