"""In a terminal `updraft init` asks for what cannot be guessed safely, and writes nothing before a person has said yes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.draft.conftest import orders

LONGEST = 120
"""Seconds that a machine under load may take to say something."""


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "updraft.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
        )
        os.close(theirs)
        self.said = ""

    def until(self, words: str) -> None:
        """Read until it has said some words."""
        deadline = time.monotonic() + LONGEST
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            self.said += os.read(self._ours, 65536).decode(errors="replace")

    def answer(self, text: str) -> None:
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; its exit code."""
        try:
            while piece := os.read(self._ours, 65536):
                self.said += piece.decode(errors="replace")
        except OSError:  # EIO: the other side has closed
            pass
        os.close(self._ours)
        return self.process.wait(LONGEST)


@pytest.mark.parametrize(("answer", "written"), [("y", True), ("n", False)])
def test_a_person_answers_and_says_yes(drafting, answer, written):
    rows = orders()
    rows["late"] = np.where(rows["late"] == 1, "red", "green")
    terminal = Terminal("init", "shop", "--data", str(drafting.csv(rows)))
    terminal.until("Which value of 'late'")
    terminal.until("--label [late = ")
    assert not drafting.projects.exists()
    terminal.answer("late = 'red'")
    terminal.until("[Y/n]")
    assert not drafting.projects.exists()
    terminal.answer(answer)
    assert terminal.end() == 0, terminal.said
    assert (drafting.projects / "shop").exists() == written
    if written:
        assert drafting.project.spec.data.label.expr == "late = 'red'"
