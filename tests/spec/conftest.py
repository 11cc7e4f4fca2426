"""Project folders for the tests of the spec."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

SMALLEST = """\
name: churn
owner: crm
data:
  schedule: "0 5 * * *"
  start: 2024-01-01
  sources:
    visits: {type: file, url: "s3://lake/visits/{key}.parquet", event_time: at}
  key: [customer, at]
  label: {expr: "left_us"}
alerts: {slack: {channel: "#crm"}}
"""
FEATURES = """\
def features(rows):
    return rows[["age"]]
"""
MakeProject = Callable[..., Path]


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """Write ``<tmp>/projects/<name>`` with these files; None leaves a file out."""

    def make(spec: str | None = SMALLEST, features: str | None = FEATURES, name: str = "churn") -> Path:
        folder = tmp_path / "projects" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in (("project.yaml", spec), ("features.py", features)):
            if text is not None:
                (folder / file).write_text(textwrap.dedent(text))
        return folder

    return make


@pytest.fixture
def smallest() -> str:
    """The smallest useful project file."""
    return SMALLEST
