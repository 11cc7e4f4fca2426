"""Every error that Updraft raises on purpose.

UpdraftError
├── SettingsError        the environment or a settings file is wrong
├── SpecError            a project's folder is wrong; carries every problem found
├── DataError            a source or a partition is wrong
│   └── PartitionRefused more rows break the contract than the project allows
├── IntegrityError       something signed or hashed is not what it was
├── TrainingError        a training cannot start or cannot go on
├── TrainingInterrupted  a training was asked to stop, and goes on from its checkpoint when it is started again
├── StoreError           the store refuses a write that would rewrite history
└── StackError           the embedded stack cannot start
"""

from __future__ import annotations


class UpdraftError(Exception):
    """Base of the tree: the message says what happened, where, and what to do next."""


class SettingsError(UpdraftError):
    """The environment or a settings file is wrong."""


class SpecError(UpdraftError):
    """A project's folder is wrong; see :mod:`updraft.spec.load` for the subclass that carries the problems."""


class DataError(UpdraftError):
    """A source or a partition is wrong."""


class PartitionRefused(DataError):
    """More rows break the contract than the project allows; nothing of the partition was published."""


class IntegrityError(UpdraftError):
    """Something signed or hashed is not what it was when it was written."""


class TrainingError(UpdraftError):
    """A training cannot start, or cannot go on."""


class TrainingInterrupted(UpdraftError):
    """A training was asked to stop; its checkpoint is kept, and the same command goes on from there."""


class StoreError(UpdraftError):
    """The store refuses a write that would rewrite history."""


class StackError(UpdraftError):
    """The embedded stack cannot start, or a part of it did not come up."""
