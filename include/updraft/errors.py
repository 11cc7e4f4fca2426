"""Every error that Updraft raises on purpose.

UpdraftError
├── WrongInput           what was asked for is not there, or not of its form; nothing was started
│   ├── SettingsError    the environment or a settings file is wrong
│   ├── SpecError        a project's folder is wrong; carries every problem found
│   ├── WrongKey         a partition key is none (a DataError too)
│   └── WrongRequest     a training's request is missing or is none (a TrainingError too)
├── DataError            a source or a partition is wrong
│   ├── PartitionRefused more rows break the contract than the project allows
│   └── SourceMissing    a source's file is not there
├── IntegrityError       something signed or hashed is not what it was
├── TrainingError        a training cannot start or cannot go on
├── StoreError           the store refuses a write that would rewrite history
└── StackError           the embedded stack cannot start
"""

from __future__ import annotations


class UpdraftError(Exception):
    """Base of the tree: the message says what happened, where, and what to do next."""


class WrongInput(UpdraftError):
    """What was asked for is not there, or not of its form; nothing was started. Commands end with 2."""


class SettingsError(WrongInput):
    """The environment or a settings file is wrong."""


class SpecError(WrongInput):
    """A project's folder is wrong; see :mod:`updraft.spec.load` for the subclass that carries the problems."""


class DataError(UpdraftError):
    """A source or a partition is wrong."""


class WrongKey(DataError, WrongInput):
    """What was given as a partition key is none, or no tick of the project."""


class PartitionRefused(DataError):
    """More rows break the contract than the project allows; nothing of the partition was published."""


class SourceMissing(DataError):
    """A source's file is not there (yet)."""

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class IntegrityError(UpdraftError):
    """Something signed or hashed is not what it was when it was written."""


class TrainingError(UpdraftError):
    """A training cannot start, or cannot go on."""


class WrongRequest(TrainingError, WrongInput):
    """A training's request (or result) is missing, or is none."""


class StoreError(UpdraftError):
    """The store refuses a write that would rewrite history."""


class StackError(UpdraftError):
    """The embedded stack cannot start, or a part of it did not come up."""
