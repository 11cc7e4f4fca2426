"""A small daily project whose files a test may spoil: orders that come late or not, one CSV for each day."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.spec.model import Project

ROWS = 60
"""Orders of a day."""
FEATURES = "def features(rows):\n    return rows[['amount', 'shop']]\n"
Change = Callable[[dict[str, Any]], None]


class MadeProject:
    """The project ``shop`` below a folder, and a deployment of files alone beside it."""

    def __init__(self, root: Path, days: int) -> None:
        self.root, self.folder, self.days = root, root / "projects" / "shop", days
        self.folder.mkdir(parents=True)
        self.spec: dict[str, Any] = {
            "name": "shop",
            "owner": "me",
            "data": {
                "schedule": "0 0 * * *",
                "start": "2024-01-01",
                "end": f"2024-01-{days + 1:02}",
                "sources": {"orders": {"type": "file", "url": f"file://{root}/orders-{{key}}.csv", "event_time": "at"}},
                "key": ["id"],
                "label": {"expr": "late = 1", "matures_after": "1h"},
                "outcomes": ["late"],
            },
            "training": {
                "first_after": 3,
                "window": 6,
                "trainers": [{"name": "xgboost", "params": {"rounds": 5, "max_depth": 2}}],
            },
            "release": {"cluster": "hour", "refresh": {"holdout": 1}},
        }
        self.write()
        (self.folder / "features.py").write_text(FEATURES)
        for day in range(1, days + 1):
            self.write_day(day)

    def write(self, change: Change = lambda _: None) -> None:
        """Write project.yaml, after a change."""
        change(self.spec)
        (self.folder / "project.yaml").write_text(yaml.safe_dump(self.spec, sort_keys=False))

    def file(self, day: int) -> Path:
        """The file of the orders of a day in January."""
        return self.root / f"orders-2024-01-{day + 1:02}T0000.csv"

    def write_day(self, day: int, late: Callable[[int, int], int] = lambda day, n: int(n % 7 > 3 + day % 2)) -> None:
        """Write the orders of a day; the larger the amount, the later.

        :param late: of a day and a number within it.
        """
        lines = ["id,at,shop,amount,late"]
        lines += [
            f"{1000 * day + n},2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z,{'abc'[n % 3]},{n % 7},{late(day, n)}"
            for n in range(ROWS)
        ]
        self.file(day).write_text("\n".join([*lines, ""]))

    @property
    def settings(self) -> Settings:
        """Of the deployment."""
        return Settings.from_env({"UPDRAFT_HOME": str(self.root / "home"), "UPDRAFT_PROJECTS": str(self.folder.parent)})

    @property
    def project(self) -> Project:
        """The project as its folder says now."""
        return load_project(self.folder)
