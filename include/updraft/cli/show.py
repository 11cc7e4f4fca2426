"""``updraft show``: one version, from what it learnt to what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, write_json
from updraft.loop.version_history import Scored, VersionHistory, version_history


def show(
    project: Annotated[str, typer.Argument(help="name of the project")],
    version: Annotated[str, typer.Argument(help="a version, as MLflow and `updraft status` number it")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Tell of a version what it learnt from, who started it, its gates, what it scored with which loss, when it served, and what became of it.

    Example: updraft show flight_delays 3
    """
    with explained(), open_store() as store:
        history = version_history(loop_of(find_project(project), store), cleaned(version))
    if as_json:
        write_json(history.as_dict())
        return
    console.print(cleaned(f"{history.project}: version {history.version} ({history.lane})"), markup=False)
    for line in _lines(history):
        console.print(cleaned(f"  {line}"), markup=False, soft_wrap=True)


def _lines(history: VersionHistory) -> Iterator[str]:
    rows = f", {history.rows:,} rows" if history.rows is not None else ""
    yield f"learnt from: {_span(history.window)}{rows}"
    yield f"proved on: {_span(history.holdout)}, after learning from the others alone"
    yield f"trained at: {history.key} by {history.trainer or 'an unknown trainer'}, run {history.run}"
    yield f"started by: {history.started_by}"
    yield f"gates: {history.gates_words}"
    for scored in history.scored:
        yield scored_words(history, scored)
    if not history.scored:
        yield "scored: nothing yet"
    for served in history.served:
        yield f"served: since {served.since}" + (f" until {served.until}" if served.until else ", and serves")
    if not history.served:
        yield "served: never"
    outcome = history.outcome or f"in {history.state}"
    yield f"became: {outcome if history.state != 'refused' else 'refused'}" + (
        f", {history.reason}" if history.reason else ""
    )
    if history.decisions:
        yield "decisions:"
    yield from (f"  {line}" for line in history.decisions)


def scored_words(history: VersionHistory, scored: Scored) -> str:
    """What a version scored in one role, and with which loss."""
    partitions = "1 partition" if scored.partitions == 1 else f"{scored.partitions} partitions"
    measured = (
        f"{history.metric} {scored.loss:.4f} on {scored.measured:,} rows"
        if scored.loss is not None
        else "no label is known yet"
    )
    return f"scored as {scored.role}: {partitions}, {scored.first} to {scored.last}, {scored.rows:,} rows; {measured}"


def _span(keys: tuple[str, ...]) -> str:
    if not keys:
        return "unknown partitions"
    return f"1 partition, {keys[0]}" if len(keys) == 1 else f"{len(keys)} partitions, {keys[0]} to {keys[-1]}"
