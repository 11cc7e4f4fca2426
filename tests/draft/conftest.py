"""Tables of every shape, each a year or a few weeks of rows, and the command that makes a project of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from updraft.cli import edge
from updraft.cli.main import app
from updraft.settings import Settings
from updraft.spec.load import load_project

DAYS, A_DAY = 20, 60


def orders(days: int = DAYS, a_day: int = A_DAY) -> pd.DataFrame:
    """Orders that are late or not, more often where the amount is high and the shop is c."""
    random = np.random.default_rng(1)
    rows = days * a_day
    amount = random.normal(50, 12, rows).round(2)
    shop = random.choice(["north", "south", "harbour"], rows)
    risk = 1 / (1 + np.exp(-(amount - 50) / 8 - (shop == "harbour")))
    at = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) * 86_400 // a_day, unit="s")
    return pd.DataFrame(
        {
            "order_id": [f"{number:06}" for number in range(rows)],
            "placed": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "shop": shop,
            "amount": amount,
            "items": random.integers(1, 9, rows),
            "late": (random.random(rows) < risk).astype(int),
        }
    )


@dataclass(frozen=True)
class Drafting:
    """A deployment of files alone, and the command in it."""

    root: Path

    def init(self, data: object, *options: str, name: str = "shop") -> Any:
        """Run the command without a terminal; what came of it."""
        return CliRunner().invoke(app, ["init", name, "--data", str(data), *options])

    def drafted(self, data: object, *options: str) -> dict[str, Any]:
        """What it says of a table of which a project is made, whose project is sound."""
        done = self.init(data, "--json", *options)
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["validate"]["sound"], told["validate"]["problems"]
        return told["draft"]

    def refused(self, data: object, *options: str) -> str:
        """What it says of a table of which none is made; nothing is written."""
        done = self.init(data, *options)
        assert done.exit_code == 2, done.output
        assert not (self.projects / "shop").exists()
        assert not self.projects.exists() or not list(self.projects.iterdir())
        assert "Traceback" not in done.output
        return str(done.stderr)

    @property
    def projects(self) -> Path:
        """The folder of the project folders."""
        return self.root / "projects"

    @property
    def settings(self) -> Settings:
        """Of the deployment."""
        return Settings.from_env({"UPDRAFT_HOME": str(self.root / "home"), "UPDRAFT_PROJECTS": str(self.projects)})

    @property
    def project(self) -> Any:
        """The project that was made."""
        return load_project(self.projects / "shop")

    def csv(self, rows: pd.DataFrame, file: str = "orders.csv", **how: Any) -> Path:
        """A file with some rows."""
        rows.to_csv(self.root / file, index=False, **how)
        return self.root / file


@pytest.fixture
def drafting(tmp_path, monkeypatch):
    monkeypatch.setattr(edge.console, "width", edge.WIDE)  # as in a pipe, whatever the tests' own output is
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PROJECTS", str(tmp_path / "projects"))
    return Drafting(tmp_path)
