"""Which errors a task is tried again for."""

import pytest
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
from updraft_airflow.operators.step import fails_at_once


@pytest.mark.parametrize("kind", [DataError, IntegrityError, SourceMissing, TrainingError])
def test_what_a_person_must_mend_fails_at_once(kind):
    with pytest.raises(AirflowFailException, match=f"{kind.__name__}: odd"), fails_at_once():
        raise kind("odd")


@pytest.mark.parametrize("kind", [MLflowAway, SourceAway, TrainingInterrupted, ConnectionError])
def test_what_may_be_over_in_a_moment_is_tried_again(kind):
    with pytest.raises(kind, match="odd"), fails_at_once():
        raise kind("odd")
