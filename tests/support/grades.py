"""A daily project whose label is one of three classes, written as texts; what the classes look like moves from day to day."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.spec.model import Project

CLASSES = ("low", 'mid, "so" <b>it\'s</b> $1$', "high")
"""In an order that is none of the alphabet; the second one has every sign that a file, a page or a query could stumble over."""
ROWS = 240
"""Of a day: ten in each hour."""
TRAINER = {"name": "xgboost", "params": {"rounds": 12, "max_depth": 2, "eta": 0.5}}
Grade = Callable[[int, np.ndarray, np.random.Generator], list[str]]


def by_score(day: int, x: np.ndarray, rng: np.random.Generator) -> list[str]:
    """The higher x, the higher the grade; the borders move."""
    noisy = x + rng.normal(0, 0.3, len(x)) - 0.15 * day
    return [CLASSES[int(value > -0.5) + int(value > 0.7)] for value in noisy]


class Grades:
    """The project ``grades`` below a folder, with the files of its days."""

    def __init__(self, root: Path, days: int, grade: Grade = by_score, **training: Any) -> None:
        self.root, self.folder = root, root / "projects" / "grades"
        self.folder.mkdir(parents=True)
        self.spec: dict[str, Any] = {
            "name": "grades",
            "owner": "me",
            "task": "multiclass",
            "data": {
                "schedule": "0 0 * * *",
                "start": "2024-01-01",
                "end": f"2024-01-{days + 1:02}",
                "sources": {"exams": {"type": "file", "url": f"file://{root}/exams-{{key}}.csv", "event_time": "at"}},
                "key": ["id"],
                "label": {"expr": "grade", "classes": list(CLASSES), "matures_after": "1h"},
                "outcomes": ["grade"],
            },
            "training": {"first_after": 3, "window": 6, "trainers": [TRAINER], "compute": {"threads": 1}, **training},
            "gates": {"slices": {"by": ["place"], "no_worse_than_champion_by": 0.5}},
            "release": {"cluster": "hour", "refresh": {"holdout": 1, "probation": 2}},
            "monitoring": {"remedies": {"retrain": {"every": 2, "cooldown": 1}}},
        }
        self.write()
        (self.folder / "features.py").write_text("def features(rows):\n    return rows[['x', 'place']]\n")
        for day in range(1, days + 1):
            self.write_day(day, grade)

    def write(self) -> None:
        """Write project.yaml."""
        (self.folder / "project.yaml").write_text(yaml.safe_dump(self.spec, sort_keys=False))

    def write_day(self, day: int, grade: Grade = by_score) -> None:
        """Write the exams of a day."""
        rng = np.random.default_rng(day)
        x = rng.normal(0.15 * day, 1, ROWS)
        lines = ["id,at,x,place,grade"]
        for n, name in enumerate(grade(day, x, rng)):
            quoted = name.replace('"', '""')
            lines.append(
                f'{1000 * day + n},2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z,{x[n]:.4f},{"ab"[n % 2]},"{quoted}"'
            )
        (self.root / f"exams-2024-01-{day + 1:02}T0000.csv").write_text("\n".join([*lines, ""]))

    @property
    def settings(self) -> Settings:
        """Of the deployment."""
        return Settings.from_env({"UPDRAFT_HOME": str(self.root / "home"), "UPDRAFT_PROJECTS": str(self.folder.parent)})

    @property
    def project(self) -> Project:
        """The project as its folder says now."""
        return load_project(self.folder)
