"""Why a training failed, as it says itself: ``error.json`` beside its request, sealed like a result.

Whoever started the training reads this, and no log: the log is for people. A process that is killed, or that cannot write to the lake,
leaves no such file; then its exit code is all that is known.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import Field, ValidationError

from updraft import errors, files
from updraft.errors import SettingsError, TrainingError, TrainingInterrupted, TrainingPostponed, UpdraftError, passes
from updraft.jobs.attested import is_sealed, run_key, seal
from updraft.jobs.contract import Contract
from updraft.lake.places import RunFolder

log = logging.getLogger(__name__)

ATTEMPT = "UPDRAFT_ATTEMPT"
"""Variable that names one try of a run, such as its pod: what an earlier try left is not taken for the word of this one."""


class TrainingFailure(Contract):
    """One worker's failure."""

    kind: str = Field(description="name of the error")
    passing: bool = Field(description="whether another try may end well without anybody mending anything")
    words: str = Field(description="for a person")
    worker: int = Field(default=0, ge=0)
    attempt: str | None = Field(default=None, description="which try of the run it was")
    seal: str | None = Field(
        default=None, description="of the rest, by the run's own secret; null for a training by hand"
    )

    @property
    def sentence(self) -> str:
        """Kind and words on one line."""
        return " ".join(f"{self.kind}: {self.words}".split())

    def raised(self) -> UpdraftError:
        """The failure as an error of the process that had started the worker."""
        if self.kind == errors.MLflowAway.__name__:
            return errors.MLflowAway(f"worker {self.worker}: {self.words}")
        kind = TrainingPostponed if self.passing else TrainingError
        return kind(f"worker {self.worker}: {self.words}")


@contextmanager
def failures_told(folder: RunFolder, worker: int = 0, env: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Write ``error.json`` when the block fails; the error goes on as it was.

    A training that was asked to end has not failed: its exit code says so, and its checkpoint is there.
    """
    try:
        yield
    except TrainingInterrupted:
        raise
    except Exception as error:
        failure = TrainingFailure(
            kind=type(error).__name__,
            passing=passes(error),
            words=str(error),
            worker=worker,
            attempt=env.get(ATTEMPT) or None,
        )
        _write(folder, failure, run_key(env))
        raise


def _write(folder: RunFolder, failure: TrainingFailure, key: str | None) -> None:
    plain = failure.model_dump(mode="json", exclude={"seal"})
    content = plain if key is None else {**plain, "seal": seal(key, plain)}
    try:
        files.write_json(folder.error(failure.worker), content)
    except Exception:  # the error that is on its way matters more, and the exit code tells of it
        log.exception("%s could not be written", folder.error(failure.worker))


def read_failure(folder: RunFolder, key: str | None, attempt: str | None, worker: int = 0) -> TrainingFailure | None:
    """What a worker of one try says of its failure; None when it says nothing.

    :param key: the run's secret; what is not sealed with it counts as not there. None takes a file without a seal.
    :param attempt: which try; the word of another one counts as not there.
    """
    try:
        told = json.loads(files.read_bytes(folder.error(worker)))
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    except (ConnectionError, SettingsError) as error:  # the pod is to be ended all the same
        log.warning("%s cannot be read, and counts as not there: %s", folder.error(worker), error)
        return None
    if not isinstance(told, dict):
        return None
    given = told.pop("seal", None)
    if key is not None and not is_sealed(key, told, given):
        log.warning("%s was not written by a training of this run, and counts as not there", folder.error(worker))
        return None
    try:
        failure = TrainingFailure.model_validate({**told, "seal": given})
    except ValidationError as error:
        log.warning("%s cannot be read, and counts as not there: %s", folder.error(worker), error)
        return None
    return failure if (failure.attempt, failure.worker) == (attempt, worker) else None
