"""``sources.py`` of a project as text: what is wrong with it, as far as it shows without running it."""

from __future__ import annotations

from pathlib import Path

from updraft.spec.feature_source import complaints_of
from updraft.spec.problems import Problem

SOURCES_FILE = "sources.py"
ROWS = "rows"


def source_problems(folder: Path) -> tuple[Problem, ...]:
    """What is wrong with ``sources.py``, which a source of type python needs."""
    return complaints_of(folder / SOURCES_FILE, ROWS, "window")
