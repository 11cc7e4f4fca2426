"""``updraft lineage``: what a version is made of, and what it has scored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from updraft.alerts.alert import cleaned
from updraft.cli.edge import console, explained, find_project, loop_of, open_store, write_json
from updraft.cli.show import scored_words
from updraft.loop.lineage import Learnt, Lineage, lineage

_SHORT = 12
"""Hex digits of a hash that are shown; --json has all of them."""


def lineage_command(
    project: Annotated[str, typer.Argument(help="name of the project")],
    version: Annotated[str, typer.Argument(help="a version, as MLflow and `updraft status` number it")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts, with whole hashes")] = False,
) -> None:
    """Trace a version both ways: back to snapshot, partitions, sources, features, code, parameters and environment, each with
    its hash, and forward to what it scored, the layers that it was given, and the decisions on it.

    A partition that was published anew since, with another content, is marked. How good the version is tells `updraft show`.

    Example: updraft lineage flight_delays 3
    """
    with explained(), open_store() as store:
        traced = lineage(loop_of(find_project(project), store), cleaned(version))
    if as_json:
        write_json(traced.as_dict())
        return
    console.print(cleaned(f"{traced.project}: version {traced.version}"), markup=False)
    for line in [*_back(traced), *_forward(traced)]:
        console.print(cleaned(f"  {line}"), markup=False, soft_wrap=True)


def _back(traced: Lineage) -> Iterator[str]:
    yield "back:"
    yield f"  trained at {traced.key} by run {traced.run}, request {_short(traced.request_sha256)}, model {_short(traced.model_sha256)}"
    yield f"  snapshot {_short(traced.snapshot_sha256)}" + (f" ({traced.snapshot_url})" if traced.snapshot_url else "")
    yield f"  features.py {_short(traced.features_code_sha256)}, code {traced.code_commit or 'outside of a checkout'}"
    parameters = ", ".join(f"{name}={value}" for name, value in sorted(traced.parameters.items()))
    seed = "" if traced.seed is None else f", seed {traced.seed}"
    yield f"  {traced.trainer}: {parameters or 'its defaults'}{seed}" + (
        f", on {traced.device}" if traced.device else ""
    )
    if traced.environment:
        yield f"  environment: {', '.join(f'{name} {version}' for name, version in sorted(traced.environment.items()))}"
    yield from (f"  partition {_partition(partition, traced)}" for partition in traced.partitions)
    yield from (f"  labels of {key} {_short(sha256)}" for key, sha256 in traced.labels.items())


def _partition(partition: Learnt, traced: Lineage) -> str:
    rows = f", {partition.rows:,} rows" if partition.rows is not None else ""
    role = ", holdout" if partition.key in traced.holdout else ""
    sources = "; ".join(f"{source} {_short(sha256)}" for source, sha256 in partition.sources.items())
    since = f"; PUBLISHED ANEW SINCE, as {_short(partition.partition_sha256)}" if partition.changed else ""
    return f"{partition.key}{role}: features {_short(partition.features_sha256)}{rows}; of {sources or 'unknown sources'}{since}"


def _forward(traced: Lineage) -> Iterator[str]:
    history = traced.history
    yield "forward:"
    yield from (f"  {scored_words(history, scored)}" for scored in history.scored)
    if not history.scored:
        yield "  scored nothing yet"
    for layer in traced.layers:
        values = ", ".join(f"{name} {value:+.3f}" for name, value in (layer.parameters or {}).items())
        yield f"  layer from {layer.key}: {values or 'none'} (decision {layer.seq})"
    yield from (f"  {line}" for line in history.decisions)


def _short(sha256: str | None) -> str:
    return sha256[:_SHORT] if sha256 else "unknown"
