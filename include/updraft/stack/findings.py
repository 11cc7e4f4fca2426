"""What ``updraft doctor`` says of one thing that it looked at, on one machine and elsewhere alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from updraft import borrowed


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    """The thing looked at, in a word or two."""
    message: str
    todo: str = ""
    """What to do; empty when nothing is."""


def libraries() -> Iterator[Finding]:
    """Whether what Updraft uses of its libraries' insides is as it was when it was tried."""
    others = list(borrowed.untried())
    for use in others:
        message = f"{use.distribution} {borrowed.installed(use.distribution)}: {use}"
        todo = f"install {use.distribution}=={use.checked} (`make up` does), or go through what is to be checked"
        yield Finding(level=Level.WARNING, what="libraries", message=message, todo=todo)
    if not others:
        yield Finding(level=Level.OK, what="libraries", message="in the versions with which they were tried")
