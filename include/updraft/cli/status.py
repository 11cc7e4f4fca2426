"""``updraft status``: what serves, why, and what is under way, in words."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from updraft.alerts import outbox, untold
from updraft.alerts.alert import cleaned
from updraft.cli.edge import UNHEALTHY, console, errors, explained, find_project, open_store, settings, write_json
from updraft.errors import SpecError
from updraft.loop.keptout import kept_out
from updraft.loop.words import in_words
from updraft.spec.load import project_names
from updraft.store.store import Store


def status(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    decisions: Annotated[int, typer.Option(help="how many of the last decisions to tell")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Tell what serves, how it does, what is under way and what was decided. Ends with 3 when a person is wanted.

    Example: updraft status flight_delays --decisions 20
    """
    with explained(), open_store() as store:
        home = settings().home
        untold.record_kept(store.engine, home)
        names = [find_project(project).name] if project else project_names(settings().projects)
        told = {name: describe(store, name, decisions, _window(name)) for name in names}
    if as_json:
        write_json(told)
    else:
        for one in told.values():
            _print(one)
    if kept := untold.waiting(home):
        told_apart = f"{kept} alerts could not be recorded in the store yet; they stand in {home / untold.FOLDER}"
        errors.print(told_apart, markup=False, style="yellow", soft_wrap=True)
    if any(one["wanted"] for one in told.values()):
        raise typer.Exit(UNHEALTHY)


def _window(name: str) -> int:
    """How many of the newest partitions a training may learn from; of a project that is broken, none."""
    try:
        return find_project(name).spec.training.window
    except SpecError:
        return 0


def describe(store: Store, name: str, decisions: int, window: int) -> dict[str, Any]:
    """Everything that `status` tells of a project, JSON-able.

    :param window: how many of the newest partitions a training may learn from: of those it is told which are kept out.
    """
    serving = store.serving(name)
    partitions = store.partitions(name, state=None)
    releases = store.releases(name, states=("shadow", "approval", "probation"))
    episodes = store.episodes(name, states=("due", "started"))
    standing = outbox.standing(store.engine, name)
    performance = store.performance(name)[-8:]
    wanted = [f"{row.id} waits for approval" for row in releases if row.state == "approval"]
    wanted += [row.diagnosis["words"] for row in store.episodes(name)[-1:] if row.remedy == "person"]
    wanted += [
        f"nothing is learnt from {key}, its feed looked broken: mend the source and clear its ingestion, or `updraft readmit`"
        for key in sorted(kept_out(store, name, partitions[-1].key) if partitions else ())
        if key in {row.key for row in partitions[-window:]}
    ]
    return {
        "project": name,
        "champion": serving.champion,
        "since": serving.since,
        "previous": serving.previous,
        "layer": serving.layer(serving.champion) if serving.champion else None,
        "partitions": {
            state: sum(1 for row in partitions if row.state == state) for state in ("published", "refused", "empty")
        },
        "last_partition": partitions[-1].key if partitions else None,
        "quarantined": sum(row.quarantined for row in partitions),
        "performance": [
            {"key": row.key, "version": row.version, "rows": row.rows, **row.metrics} for row in performance
        ],
        "releases": [
            {"id": row.id, "lane": row.lane, "state": row.state, "since": row.opened_at, "reason": row.reason}
            for row in releases
        ],
        "episodes": [{"id": row.id, "state": row.state, **row.diagnosis} for row in episodes],
        "decisions": [
            {"seq": d.seq, "key": d.key, "words": words}
            for d in store.decisions(name)
            if d.kind != "recalibrate" and (words := in_words(d))  # the layer in force is told above
        ][-decisions:],
        "alerts": {
            "waiting": standing.waiting,
            "failed": standing.failed,
            "problems": list(standing.problems),
            "latest": [_alert(a) for a in standing.latest],
        },
        "wanted": wanted,
    }


def _alert(stored: Any) -> str:
    return f"{stored.alert.key or ''} {stored.alert.title}: {stored.alert.text}".strip()


def _print(one: dict[str, Any]) -> None:
    champion = f"version {one['champion']} serves since {one['since']}" if one["champion"] else "no champion yet"
    console.print(f"[bold]{one['project']}[/bold]: {champion}")
    counts = ", ".join(f"{count} {state}" for state, count in one["partitions"].items() if count)
    console.print(
        f"  partitions: {counts or 'none'}, the last is {one['last_partition']}; {one['quarantined']:,} rows quarantined"
    )
    if one["layer"]:
        console.print(
            f"  calibration layer: intercept {one['layer']['intercept']:+.3f}, slope {one['layer']['slope']:.3f}"
        )
    for row in one["performance"][-4:]:
        figures = ", ".join(
            f"{name} {row[name]:.4f}" for name in ("log_loss", "auc", "mcb", "dsc", "rmse") if name in row
        )
        console.print(f"  {row['key']}: version {row['version']}, {figures} on {row['rows']:,} rows")
    for row in one["releases"]:
        console.print(f"  under way: {row['id']} ({row['lane']}) in {row['state']} since {row['since']}")
    for row in one["episodes"]:
        console.print(cleaned(f"  episode {row['id']} ({row['state']}): {row['words']}"), markup=False)
    console.print("  decisions:")
    for row in one["decisions"]:
        console.print(f"    {row['key']}  {row['words']}", markup=False, soft_wrap=True)
    alerts = one["alerts"]
    if alerts["waiting"] or alerts["failed"]:
        console.print(f"  alerts: {alerts['waiting']} stand in the store, {alerts['failed']} failed")
    for problem in alerts["problems"]:
        console.print(f"    {problem}", markup=False, soft_wrap=True)
    for line in alerts["latest"][-3:]:
        console.print(f"    {line}", markup=False, soft_wrap=True)
    for line in one["wanted"]:
        console.print(cleaned(f"  wanted: {line}"), style="yellow", markup=False)
