"""Pods that belong to no training under way are found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from updraft.pods.orphans import YOUNG, orphans

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def pod(age=YOUNG * 2):
    return {
        "metadata": {
            "name": "p",
            "labels": {"updraft.dev/project": "churn"},
            "annotations": {"updraft.dev/run": "manual__1"},
            "creationTimestamp": (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    }


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "removed", None])
def test_a_pod_of_a_task_that_has_ended_is_an_orphan(state):
    [(name, why)] = orphans([pod()], lambda project, run: state, NOW)
    assert name == "p"
    assert why == f"train_model of churn manual__1 is {state or 'gone'}"


@pytest.mark.parametrize("state", ["deferred", "running", "up_for_retry", "queued"])
def test_a_pod_of_a_task_under_way_is_left_alone(state):
    assert orphans([pod()], lambda project, run: state, NOW) == []


def test_a_new_pod_is_left_alone():
    assert orphans([pod(timedelta(seconds=30))], lambda project, run: None, NOW) == []
