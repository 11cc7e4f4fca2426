"""Every error that Updraft raises on purpose.

UpdraftError
├── SettingsError        the environment or a settings file is wrong
│   └── ConnectionUnknown    nobody knows a connection that a source names
├── InputError           what was asked for on the command line is not there
├── SpecError            a project's folder is wrong; carries every problem found
├── Transient            worth another try: with it come those below whose names say what was away
├── DataError            a source or a partition is wrong
│   ├── PartitionRefused more rows break the contract than the project allows
│   ├── SourceMissing    a source's file is not there
│   │   └── SourceBehind     a file of all time does not reach the partition
│   └── SourceAway       a source does not answer
├── IntegrityError       something signed or hashed is not what it was
├── TrainingError        a training cannot start or cannot go on
│   ├── TrainingInterrupted  it was asked to end, and goes on when it is run again
│   ├── TrainingPostponed    another process of it failed for a reason that may be over
│   └── MLflowAway       MLflow does not answer
├── StoreError           the store refuses a write that would rewrite history
│   ├── ApprovalMissing  a release was to be promoted that nobody has approved
│   ├── NotProved        a release was to be promoted whose evidence does not say so yet
│   ├── ReleaseClosed    a release was closed meanwhile
│   └── ReleaseMoved     a release is in another state than the one that was looked at
└── StackError           the embedded stack cannot start
"""

from __future__ import annotations


class UpdraftError(Exception):
    """Base of the tree: the message says what happened, where, and what to do next."""


class SettingsError(UpdraftError):
    """The environment or a settings file is wrong."""


class ConnectionUnknown(SettingsError):
    """Nobody knows a connection that a source names."""


class InputError(UpdraftError):
    """What was asked for on the command line is not there; nothing was started."""


class SpecError(UpdraftError):
    """A project's folder is wrong; see :mod:`updraft.spec.load` for the subclass that carries the problems."""


class Transient(UpdraftError):
    """What went wrong may be over when it is tried again: nobody has to mend anything."""


class DataError(UpdraftError):
    """A source or a partition is wrong."""


class PartitionRefused(DataError):
    """More rows break the contract than the project allows; nothing of the partition was published."""


class _OfSource(DataError):
    """Something is wrong with one source of a partition."""

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class SourceMissing(_OfSource):
    """A source's file is not there (yet)."""


class SourceBehind(SourceMissing):
    """A source's file of all time holds nothing of the partition's time, or of later, (yet)."""


class SourceAway(_OfSource, Transient):
    """A source does not answer (now)."""


class IntegrityError(UpdraftError):
    """Something signed or hashed is not what it was when it was written."""


class TrainingError(UpdraftError):
    """A training cannot start, or cannot go on."""


class TrainingInterrupted(TrainingError, Transient):
    """A training was asked to end (SIGTERM) and wrote its checkpoint; the same request goes on from there."""


class TrainingPostponed(TrainingError, Transient):
    """Another process of a training failed, for a reason that may be over at the next try."""


class MLflowAway(TrainingError, Transient):
    """MLflow does not answer (now)."""


class StoreError(UpdraftError):
    """The store refuses a write that would rewrite history."""


class ApprovalMissing(StoreError):
    """A release was to be promoted that a person has to approve first."""


class NotProved(StoreError):
    """A release was to be promoted whose evidence does not show it good enough (yet)."""


class ReleaseClosed(StoreError):
    """A release was closed before what was to be done with it."""


class ReleaseMoved(StoreError):
    """A release is in another state than the one that was looked at, or something else serves by now: look again."""


class StackError(UpdraftError):
    """The embedded stack cannot start, or a part of it did not come up."""


MUST_BE_MENDED = (DataError, IntegrityError, SettingsError, SpecError, TrainingError)
"""Errors that a person must mend: trying again would only delay the alert."""


def passes(error: BaseException) -> bool:
    """Whether what went wrong may be over when it is tried again."""
    return isinstance(error, Transient) or not isinstance(error, MUST_BE_MENDED)
