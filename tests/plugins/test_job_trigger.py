"""The trigger that waits until a Job has a pod."""

from __future__ import annotations

from updraft_airflow.triggers.job import JobStartTrigger


def test_it_is_rebuilt_from_what_it_serializes():
    path, arguments = JobStartTrigger("train-a", "updraft", "kubernetes", late_at=5.0).serialize()
    assert path == "updraft_airflow.triggers.job.JobStartTrigger"
    assert JobStartTrigger(**arguments).serialize() == (path, arguments)
