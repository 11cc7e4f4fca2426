"""Replays of a project's first partitions through a running stack, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.stack import RunningStack

from updraft.replay.airflow import AirflowClient
from updraft.replay.run import Change, Replay
from updraft.spec.load import load_project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

PARTITIONS = 8
CHANGE = Change(after=5, parameters={"max_depth": 5, "rounds": 60})


def client(stack: RunningStack, user: str = "replay") -> AirflowClient:
    return AirflowClient(stack.settings.airflow, lambda: stack.api(user))


def replay(
    stack: RunningStack,
    projects: Path,
    name: str,
    done: Callable[[int, IngestedPartition], None] = lambda number, row: None,
) -> list[str]:
    """Replay the first partitions of a project; what was told on the way."""
    told: list[str] = []
    store = Store.open(stack.settings.store)
    player = Replay(
        load_project(projects / name),
        store,
        client(stack),
        lambda key, words: told.append(words),
        timeout=600,
        change=CHANGE,
    )
    player.play(player.keys(PARTITIONS), done)
    store.close()
    return told


def outcome(stack: RunningStack, name: str) -> tuple[Any, ...]:
    """Losses, and decisions without the project's name: what must be the same whatever happened on the way."""
    store = Store.open(stack.settings.store)
    losses = {
        (row.key, row.as_of, row.role): (row.metrics["log_loss"], row.rows, row.version)
        for role in ("champion", "previous", "challenger")
        for row in store.performance(name, role=role)
    }
    decisions = [
        (d.key, d.kind, d.subject.replace(name, "P"), d.body.get("version"), d.body.get("layer"))
        for d in store.decisions(name)
    ]
    assert store.verify_chain(name) == len(decisions)
    rows = [(row.key, row.state, row.rows) for row in store.partitions(name, state=None)]
    serving = store.serving(name)
    store.close()
    decisions.sort(key=str)  # two at one tick may be written in either order
    return losses, decisions, rows, serving.champion, serving.previous
