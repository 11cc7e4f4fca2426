"""What has to be known before anything is written, and how it is settled: by a flag, by a person, by a guess, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from updraft.errors import InputError


@dataclass(frozen=True)
class Question:
    """Something that a project must say of its table."""

    flag: str
    """The option that answers it, such as ``--time``."""
    asks: str
    guess: str | None
    """As the option takes it; None where nothing can be guessed."""
    is_safe: bool
    """Whether the guess may be taken without anybody's word."""
    why: str
    """What the guess rests on, or why there is none, as a sentence."""
    choices: tuple[str, ...] = ()
    """What else may be meant."""

    @property
    def refusal(self) -> InputError:
        """What to say where nobody answers."""
        guess = f'; the best guess is {self.flag} "{self.guess}" (--yes takes it)' if self.guess is not None else ""
        choices = f"; it may be one of: {', '.join(self.choices)}" if self.choices else ""
        return InputError(f"{self.asks} {self.why}{guess}{choices}. Say it with {self.flag}.")


Settle = Callable[[Question], str]
"""Gives the answer to a question, as its option takes it; raises its refusal where there is none."""


def settle_safely(question: Question) -> str:
    """Take what can be guessed safely.

    :raises InputError: for every other question.
    """
    if question.guess is None or not question.is_safe:
        raise question.refusal
    return question.guess


def settle_by_guess(question: Question) -> str:
    """Take every guess.

    :raises InputError: where there is none.
    """
    if question.guess is None:
        raise question.refusal
    return question.guess
