"""Which errors a task is tried again for, and what its lines of the log are found by."""

import io
import json

import pytest
import structlog
from airflow.sdk.exceptions import AirflowFailException

from updraft.errors import (
    DataError,
    IntegrityError,
    MLflowAway,
    SourceAway,
    SourceMissing,
    TrainingError,
    TrainingInterrupted,
)
from updraft_airflow.operators.step import fails_at_once, log_fields


@pytest.mark.parametrize("kind", [DataError, IntegrityError, SourceMissing, TrainingError])
def test_what_a_person_must_mend_fails_at_once(kind):
    with pytest.raises(AirflowFailException, match=f"{kind.__name__}: odd"), fails_at_once():
        raise kind("odd")


@pytest.mark.parametrize("kind", [MLflowAway, SourceAway, TrainingInterrupted, ConnectionError])
def test_what_may_be_over_in_a_moment_is_tried_again(kind):
    with pytest.raises(kind, match="odd"), fails_at_once():
        raise kind("odd")


def test_each_line_of_a_task_names_project_partition_and_episode_as_json():
    from airflow.sdk.log import logging_processors

    lines = io.BytesIO()
    log = structlog.wrap_logger(structlog.BytesLogger(lines), processors=logging_processors(json_output=True))
    with log_fields("p", {"partition_key": "2013-01-07T0500", "params": {}}):
        log.info("scored")
    with log_fields("p", {"params": {"partition": "2013-01-14T0500", "episode": "e"}}):
        log.info("trained")
    with log_fields("p"):
        log.info("verified")
    log.info("over")
    fields = ("event", "project", "partition", "episode")
    assert [tuple(map(json.loads(line).get, fields)) for line in lines.getvalue().splitlines()] == [
        ("scored", "p", "2013-01-07T0500", None),
        ("trained", "p", "2013-01-14T0500", "e"),
        ("verified", "p", None, None),
        ("over", None, None, None),
    ]
