"""``updraft status``: what serves, why, what is under way, what is wanted and what comes next, in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.control import Control

from updraft.alerts import known, outbox, untold
from updraft.alerts.alert import cleaned, one_line
from updraft.cli.edge import (
    UNHEALTHY,
    console,
    errors,
    explained,
    find_project,
    loop_of,
    open_store,
    settings,
    write_json,
)
from updraft.control.estimates import read_estimates
from updraft.control.situation import read_situation
from updraft.control.timeline import telling_decisions
from updraft.errors import InputError, SpecError
from updraft.loop.accounting import accounted
from updraft.loop.accounting import in_words as accounted_in_words
from updraft.loop.context import Loop
from updraft.loop.decision_words import in_words
from updraft.loop.unpublished import Unpublished
from updraft.monitoring.figures import Figured
from updraft.spec.environments import environment_words
from updraft.spec.evidence import evidence_words, undecidable
from updraft.spec.load import project_names
from updraft.store.store import Store
from updraft.store.trouble import trouble
from updraft.tasks.registry import figure_names

_ESTIMATES = 8
"""Of the newest partitions, how many are looked at for an estimate without labels: as many as are measured ones."""


def status(
    project: Annotated[str | None, typer.Argument(help="name of one project; all when left out")] = None,
    decisions: Annotated[int, typer.Option(help="how many of the last decisions to tell")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
    watch: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="tell it again every so many seconds, until Ctrl-C"),
    ] = None,
) -> None:
    """Tell what serves, how it does, what is under way, what comes next and what was decided. Ends with 3 when a person is wanted.

    Lines that begin with "next:" name the next tick, the next training with everything that holds it back, and what becomes of each open
    release. Lines that begin with "waiting:" name a partition whose file is waited for, until when. Lines that begin with "wanted:" are for a
    person: what happened, and the next step.

    With --watch a terminal is kept as it is now; elsewhere each look is a block of its own, under its time. Ctrl-C ends it with 0.

    Example: updraft status flight_delays --decisions 20
    """
    with explained():
        if watch is not None:
            if as_json:
                raise InputError("--watch is for people: leave --json out, or ask for it anew from a script")
            _keep_telling(lambda: _look(project, decisions), watch)
            return
        looked = _look(project, decisions)
    if as_json:
        write_json(looked.projects)
    else:
        _print_all(looked)
    _print_unrecorded(looked)
    if any(standing["wanted"] for standing in looked.projects.values()):
        raise typer.Exit(UNHEALTHY)


@dataclass(frozen=True)
class _Look:
    """What one look at the store brought."""

    at: datetime
    projects: dict[str, dict[str, Any]]
    unrecorded: int
    """Alerts that could not be recorded in the store yet."""


def _look(project: str | None, decisions: int) -> _Look:
    """Look at one project, or at all."""
    with open_store() as store:
        home = settings().home
        untold.record_kept(store.engine, home)
        names = [find_project(project).name] if project else project_names(settings().projects)
        now = datetime.now(UTC)
        told = {name: describe(store, name, decisions, _loop(store, name), now, known.read(home)) for name in names}
    return _Look(now, told, untold.waiting(home))


def _keep_telling(look: Callable[[], _Look], seconds: float) -> None:
    """Look and tell until Ctrl-C. A store that is away is told, and asked again at the next look."""
    try:
        while True:
            try:
                looked = look()
            except sa.exc.DBAPIError as error:
                _begin(datetime.now(UTC), seconds)
                errors.print(trouble(error), markup=False, style="red", soft_wrap=True)
            else:
                _begin(looked.at, seconds)
                _print_all(looked)
                _print_unrecorded(looked)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _begin(at: datetime, seconds: float) -> None:
    """The head of a look: in the place of the one before on a terminal, under it elsewhere."""
    if console.is_terminal:
        console.control(Control.home(), Control.clear())
    console.print(f"{at:%Y-%m-%d %H:%M:%S} UTC, again every {seconds:g} s until Ctrl-C")


def _print_all(looked: _Look) -> None:
    for standing in looked.projects.values():
        _print(standing)


def _print_unrecorded(looked: _Look) -> None:
    if looked.unrecorded:
        folder = settings().home / untold.FOLDER
        told_apart = f"{looked.unrecorded} alerts could not be recorded in the store yet; they stand in {folder}"
        errors.print(told_apart, markup=False, style="yellow", soft_wrap=True)


def _loop(store: Store, name: str) -> Loop | None:
    """The loop of a project; None of one that is broken."""
    try:
        return loop_of(find_project(name), store)
    except SpecError:
        return None


def describe(
    store: Store,
    name: str,
    decisions: int,
    loop: Loop | None,
    now: datetime,
    slack: known.Known | None = None,
) -> dict[str, Any]:
    """Everything that `status` tells of a project, JSON-able.

    :param loop: its loop; None when its folder is broken, and then nothing is told that follows from its policy.
    :param now: of the clock.
    :param slack: what Airflow knows of Slack.
    """
    spec = loop.spec if loop else None
    situation = read_situation(loop, now) if loop else None
    kept_out = situation.kept_out if situation else None
    return {
        "project": name,
        "state": situation.state if situation else "broken",
        "reason": situation.reason
        if situation
        else f"its folder is wrong; see {name}.broken, or `updraft validate {name}`",
        "environment": loop.project.environment if loop else None,
        "environment_words": environment_words(loop.project.folder, loop.project.environment) if loop else None,
        **_serving(store, name),
        **_partitions(store, name, situation.unpublished if situation else ()),
        "kept_out": kept_out.as_dict() if kept_out else None,
        "kept_out_words": kept_out.words if kept_out and kept_out.partitions else None,
        "overdue": situation.overdue.words if situation and situation.overdue else None,
        "estimate": _estimate(loop) if loop else None,
        "evidence": evidence_words(spec) if spec else None,
        "undecidable": undecidable(spec) if spec else [],
        **_under_way(store, name),
        "next": situation.next if situation else [],
        "decisions": [
            {"seq": d.seq, "key": d.key, "words": words}
            for d in telling_decisions(store, name, decisions)
            if (words := in_words(d))
        ],
        "alerts": _alerts(store, name, slack),
        "wanted": situation.wanted if situation else [],
    }


def _serving(store: Store, name: str) -> dict[str, Any]:
    serving = store.serving(name)
    return {
        "champion": serving.champion,
        "since": serving.since,
        "previous": serving.previous,
        "layer": serving.layer(serving.champion) if serving.champion else None,
    }


def _partitions(store: Store, name: str, unpublished: Sequence[Unpublished]) -> dict[str, Any]:
    counts, last = store.partition_counts(name), store.newest_partition(name, state=None)
    return {
        "partitions": {state: counts.by_state.get(state, 0) for state in ("published", "refused", "empty")},
        "last_partition": last,
        "accounted": accounted(row) if last and (row := store.partition(name, last)) else None,
        "unpublished": [partition.as_dict() for partition in unpublished],
        "waiting": [partition.words for partition in unpublished if partition.fate == "waiting"],
        "quarantined": counts.quarantined,
    }


def _under_way(store: Store, name: str) -> dict[str, Any]:
    """How what serves does, the releases that are open, and the episodes that are not over."""
    return {
        "performance": [
            {"key": row.key, "version": row.version, "rows": row.rows, **row.metrics}
            for row in store.performance(name, newest=8)
        ],
        "figures": [asdict(row) for row in store.figures(name, newest=8)],
        "releases": [
            {"id": row.id, "lane": row.lane, "state": row.state, "since": row.opened_at, "reason": row.reason}
            for row in store.open_releases(name)
        ],
        "episodes": [
            {"id": row.id, "state": row.state, **row.diagnosis}
            for row in store.episodes(name, states=("due", "started"))
        ],
    }


def _estimate(loop: Loop) -> dict[str, Any] | None:
    """What served is expected to lose on the newest partition without labels; None where there is none."""
    estimates = read_estimates(loop, _ESTIMATES)
    if not estimates.waiting:
        return None
    told = estimates.waiting[-1].model_dump(mode="json") | {"words": estimates.words}
    return told | {"record": estimates.record.model_dump(mode="json")}


def _alerts(store: Store, name: str, slack: known.Known | None) -> dict[str, Any]:
    standing = outbox.standing(store.engine, name, connected=slack is not None and slack.connected)
    return {
        "waiting": standing.waiting,
        "failed": standing.failed,
        "problems": [*standing.problems, *([slack.words] if slack and standing.waiting else [])],
        "latest": [_alert(a) for a in standing.latest],
    }


def _alert(stored: outbox.Stored) -> str:
    alert = stored.alert
    cause = f" {one_line(alert.detail)}" if alert.detail else ""
    over = "resolved: " if stored.resolved_at is not None else ""
    return f"{alert.key or ''} {over}{alert.title}: {alert.text}{cause}".strip()


def _print_state(standing: dict[str, Any]) -> None:
    champion = (
        f"version {standing['champion']} serves since {standing['since']}"
        if standing["champion"]
        else "no champion yet"
    )
    console.print(f"[bold]{standing['project']}[/bold]: {champion}")
    console.print(cleaned(f"  {standing['state']}: {standing['reason']}"), markup=False, soft_wrap=True)
    if standing["environment_words"]:
        console.print(f"  {standing['environment_words']}", markup=False, soft_wrap=True)


def _print_losses(standing: dict[str, Any]) -> None:
    for row in standing["performance"][-4:]:
        figures = ", ".join(f"{name} {row[name]:.4f}" for name in figure_names() if name in row)
        console.print(f"  {row['key']}: version {row['version']}, {figures} on {row['rows']:,} rows")
    if (estimate := standing["estimate"]) is not None:
        told = f"  {estimate['key']}: version {estimate['version']}, {estimate['metric']} {estimate['words']}"
        console.print(told, markup=False, soft_wrap=True)


def _print(standing: dict[str, Any]) -> None:
    _print_state(standing)
    counts = ", ".join(f"{count} {state}" for state, count in standing["partitions"].items() if count)
    partitions = f"{counts}, the last is {standing['last_partition']}" if counts else "none yet"
    console.print(f"  partitions: {partitions}; {standing['quarantined']:,} rows quarantined")
    if standing["accounted"]:
        console.print(
            f"    {standing['accounted']['key']}: {accounted_in_words(standing['accounted'])}",
            markup=False,
            soft_wrap=True,
        )
    if standing["kept_out_words"]:
        console.print(f"  kept out of trainings: {standing['kept_out_words']}", markup=False, soft_wrap=True)
    if standing["layer"]:
        console.print(
            f"  calibration layer: intercept {standing['layer']['intercept']:+.3f}, slope {standing['layer']['slope']:.3f}"
        )
    _print_losses(standing)
    _print_figures(standing["figures"])
    if standing["evidence"]:
        console.print(f"  evidence is counted {standing['evidence']}", markup=False, soft_wrap=True)
    for line in standing["undecidable"]:
        console.print(f"    {line}", style="yellow", markup=False, soft_wrap=True)
    for row in standing["releases"]:
        console.print(f"  under way: {row['id']} ({row['lane']}) in {row['state']} since {row['since']}")
    for row in standing["episodes"]:
        console.print(cleaned(f"  episode {row['id']} ({row['state']}): {row['words']}"), markup=False, soft_wrap=True)
    for line in standing["waiting"]:
        console.print(cleaned(f"  waiting: {line}"), markup=False, soft_wrap=True)
    for line in standing["next"]:
        console.print(cleaned(f"  next: {line}"), markup=False, soft_wrap=True)
    console.print("  decisions:")
    for row in standing["decisions"]:
        console.print(f"    {row['key']}  {row['words']}", markup=False, soft_wrap=True)
    _print_alerts(standing["alerts"])
    for line in standing["wanted"]:
        console.print(cleaned(f"  wanted: {line}"), style="yellow", markup=False, soft_wrap=True)


def _print_figures(rows: list[dict[str, Any]]) -> None:
    """Business figures of the newest partition that has some."""
    for row in rows[-1:]:
        figures = {name: Figured(**figure) for name, figure in row["figures"].items()}
        words = ", ".join(f"{name} {figure.words}" for name, figure in figures.items())
        style = "yellow" if any(figure.breach for figure in figures.values()) else None
        words = f"  business figures of {row['key']}: {words} on {row['rows']:,} rows"
        console.print(cleaned(words), style=style, markup=False, soft_wrap=True)


def _print_alerts(alerts: dict[str, Any]) -> None:
    if alerts["waiting"] or alerts["failed"]:
        console.print(f"  alerts: {alerts['waiting']} stand in the store, {alerts['failed']} failed")
    for problem in alerts["problems"]:
        console.print(f"    {problem}", markup=False, soft_wrap=True)
    if alerts["latest"]:
        console.print("  newest alerts:")
    for line in alerts["latest"][:3]:
        console.print(f"    {line}", markup=False, soft_wrap=True)
