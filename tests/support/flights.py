"""The flights' history in a backtest's lake, ingested once for all tests of a session."""

from __future__ import annotations

from pathlib import Path

from updraft.backtest.history import history
from updraft.loop.context import Loop
from updraft.loop.memory import KeptModels
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

PROJECTS = Path(__file__).parents[2] / "include" / "projects"


def flights() -> Project:
    """The reference project."""
    return load_project(PROJECTS / "flight_delays")


def settings(home: Path) -> Settings:
    """Settings of a deployment of files alone."""
    return Settings(home=home, projects=PROJECTS, lake=f"file://{home / 'lake'}", store="", mlflow="", airflow="")


def ingested(home: Path, partitions: int) -> list[IngestedPartition]:
    """The first partitions of the year, published below ``home``."""
    return history(flights(), settings(home), partitions, lambda _: None)


def fresh_loop(home: Path, project: Project | None = None) -> tuple[Loop, KeptModels]:
    """A loop with an empty store in memory, on the lake below ``home``."""
    models = KeptModels()
    return Loop(project or flights(), settings(home), Store.in_memory(), models), models
