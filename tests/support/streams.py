"""Made streams of rows whose truth is known: how their world changes, and when. Each with the smallest useful project.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from updraft.spec.load import load_project
from updraft.spec.model import Project

Floats = NDArray[np.float64]
FEATURES = 8
_WORLDS = np.random.default_rng(0).normal(0.0, 0.9, (3, FEATURES))


def world(number: int, rows: Floats) -> Floats:
    """Log-odds of the label in one of three worlds: linear, and one product of two features that all share."""
    return np.asarray(rows @ _WORLDS[number] + 0.8 * rows[:, 0] * rows[:, 1], np.float64)


@dataclass(frozen=True)
class Stream:
    """Rows of so many days, and what the label depends on each day."""

    days: int
    rows: int
    """A day."""
    margin: Callable[[int, Floats, np.random.Generator], Floats]
    """(day, features, random) -> log-odds, or the mean of a regression."""
    task: str = "binary"
    matures_after: str = "1h"
    broken: frozenset[int] = frozenset()
    """Days on which half of the columns arrive empty."""


def _gradual(day: int, rows: Floats, random: np.random.Generator) -> Floats:
    share = np.clip((day - 30) / 40, 0.0, 1.0)
    return np.where(random.random(len(rows)) < share, world(1, rows), world(0, rows))


def _seasonal(day: int, rows: Floats, random: np.random.Generator) -> Floats:
    turn = 2 * np.pi * day / 56
    wave = 0.8 * np.sin(2 * np.pi * day / 7)
    return np.asarray(np.cos(turn) * world(0, rows) + np.sin(turn) * world(1, rows) + wave, np.float64)


STREAMS: Mapping[str, Stream] = {
    "none": Stream(90, 300, lambda day, rows, random: world(0, rows)),
    "sudden": Stream(90, 300, lambda day, rows, random: world(0 if day < 40 else 1, rows)),
    "gradual": Stream(90, 300, _gradual),
    "recurring": Stream(100, 300, lambda day, rows, random: world((day // 14) % 3, rows)),
    "seasonal": Stream(100, 300, _seasonal),
    "label_delay": Stream(90, 300, lambda day, rows, random: world(0 if day < 40 else 1, rows), matures_after="7d"),
    "feed_faults": Stream(
        90, 300, lambda day, rows, random: world(0 if day < 40 else 1, rows), broken=frozenset({25, 26, 55})
    ),
    "rare": Stream(80, 1500, lambda day, rows, random: 0.6 * world(0 if day < 45 else 2, rows) - 4.0),
    "regression": Stream(
        90, 300, lambda day, rows, random: 10.0 * world(0 if day < 40 else 1, rows), task="regression"
    ),
}
START = datetime(2024, 1, 1, tzinfo=UTC)


def rows_of(stream: Stream, seed: int) -> pd.DataFrame:
    """``id``, ``at``, the features, ``label``."""
    random = np.random.default_rng(seed)
    days = []
    for day in range(stream.days):
        features = random.normal(size=(stream.rows, FEATURES))
        margin = stream.margin(day, features, random)
        label: Floats = (random.random(stream.rows) < 1 / (1 + np.exp(-margin))).astype(np.float64)
        if stream.task == "regression":
            label = margin + random.normal(0.0, 5.0, stream.rows)
        at = pd.Timestamp(START) + pd.to_timedelta(
            day * 86_400 + np.sort(random.integers(0, 86_399, stream.rows)), unit="s"
        )
        frame = pd.DataFrame(features.round(4), columns=[f"x{number}" for number in range(FEATURES)])
        if day in stream.broken:
            frame.loc[:, [f"x{number}" for number in range(FEATURES // 2)]] = np.nan
        frame.insert(0, "at", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
        frame.insert(0, "id", np.arange(day * stream.rows, (day + 1) * stream.rows))
        days.append(frame.assign(label=label if stream.task == "regression" else label.astype(int)))
    return pd.concat(days, ignore_index=True)


def project(
    folder: Path,
    name: str,
    rows: pd.DataFrame,
    *,
    schedule: str = "0 0 * * *",
    task: str = "binary",
    matures_after: str = "1h",
) -> Project:
    """The smallest useful project over such rows, written into ``folder/name``."""
    there = folder / name
    there.mkdir(parents=True)
    rows.to_csv(there / "rows.csv", index=False)
    at = pd.to_datetime(rows["at"])
    classes = f"classes: {sorted(rows['label'].unique().tolist())}, " if task == "multiclass" else ""
    (there / "project.yaml").write_text(
        f"""name: {name}
owner: tests
task: {task}
data:
  schedule: "{schedule}"
  start: {at.min():%Y-%m-%d}
  end: {at.max():%Y-%m-%d}
  sources:
    rows: {{type: file, url: "{there / "rows.csv"}", event_time: at}}
  key: [id]
  label: {{expr: label, {classes}matures_after: {matures_after}}}
  outcomes: [label]
"""
    )
    columns = [column for column in rows.columns if column not in ("id", "at", "label")]
    (there / "features.py").write_text(
        f'"""Every column."""\n\n\ndef features(rows):\n    """As they are."""\n    return rows[{columns}]\n'
    )
    return load_project(there)
