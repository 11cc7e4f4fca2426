"""What is wrong in a project's folder, one problem at a time, and the error that carries all of them."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from updraft.errors import SpecError

_ROOT = Path(__file__).resolve().parents[3]
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxdict, _SHORT.maxlist, _SHORT.maxlevel = 4, 6, 2


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where it stands, what is there, what is wrong with it, and what is allowed."""

    file: str
    """Path of the file, from the deployment's root where it lies below it."""
    key: str
    """Dotted path of the key, such as ``release.margin`` or ``training.trainers[0].params.eta``; empty for the file."""
    value: object
    """What stands there; None where nothing does."""
    message: str
    allowed: tuple[str, ...] = ()
    """The values (or keys) that would do, where they can be listed."""
    line: int | None = None
    """Line in the file, counted from 1, where it is known."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        subject = self.key if self.value is None else f"{self.key} = {shown(self.value)}"
        allowed = f"; allowed: {', '.join(self.allowed)}" if self.allowed else ""
        return ": ".join(part for part in (place, subject, self.message) if part) + allowed


class SpecProblems(SpecError):
    """A project's folder is wrong: every problem found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[SpecProblems], tuple[tuple[Problem, ...]]]:
        """Errors cross process borders; without this they would arrive without their problems."""
        return type(self), (self.problems,)


def shown(value: object) -> str:
    """A value as its author wrote it, cut short, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return _SHORT.repr(list(value) if isinstance(value, tuple) else value)


def shown_path(path: Path) -> str:
    """A path from the deployment's root where it lies below it, so that messages read the same everywhere."""
    path = path.absolute()
    return path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else str(path)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """``; did you mean `x`?`` where a known word is near, or begins with it (``min`` for ``min_value``), otherwise nothing."""
    given, words = str(word).lower(), list(known)
    near = difflib.get_close_matches(given, words, 1, cutoff=0.6)
    near = near or [longer for longer in words if len(given) > 2 and longer.startswith(given)]
    return f"; did you mean `{near[0]}`?" if near else ""
