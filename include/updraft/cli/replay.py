"""``updraft replay``: a closed history through the real DAGs, with a progress display, and a summary at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from updraft.airflow_api import AirflowApi
from updraft.backtest.policies import EVERY_PARTITION, NEVER
from updraft.backtest.run import Beside, backtest, playing_beside
from updraft.cli.edge import console, errors, explained, find_project, open_store, settings, write_json
from updraft.errors import SettingsError
from updraft.replay.airflow import PATIENCE, AirflowClient
from updraft.replay.run import Change, Replay
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

PLAIN = (NEVER, EVERY_PARTITION)
"""The policies that the demo compares with."""


def replay(
    project: Annotated[str, typer.Argument(help="name of the project; its history must be closed (data.end)")],
    last: Annotated[int | None, typer.Option(help="only the first so many partitions")] = None,
    demo: Annotated[bool, typer.Option(help="start a change half way, and compare with a backtest at the end")] = False,
    timeout: Annotated[float, typer.Option(help="seconds that one partition may take")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for scripts")] = False,
) -> None:
    """Play a closed history through the real DAGs, partition by partition, each time waiting until the loop has settled.

    Interrupted and started again, it goes on where it was. Approvals are answered as the user `replay`, who exists as long as the replay
    runs, and recorded as such.

    Example: updraft replay flight_delays --last 12
    """
    with explained(), open_store() as store:
        chosen = find_project(project)
        if chosen.spec.data.end is None:
            raise SettingsError(
                f"{project}: an open history cannot be replayed; set data.end, or use Airflow's backfill"
            )
        client = AirflowClient(settings().airflow, _sign_in(settings()))
        started = time.monotonic()
        # What the demo compares with takes 45 trainings: they are done beside, not after.
        beside = playing_beside(chosen, settings(), PLAIN) if demo else nullcontext()
        with beside as plain:
            _play(chosen, store, client, last, plain, timeout)
            seconds = time.monotonic() - started
            summary = summarise(store, chosen, seconds)
            if plain:
                summary["pictures"] = [str(path) for path in _compare(chosen, store, plain)]
    if as_json:
        write_json(summary)
    else:
        _print(summary, settings())


def _sign_in(known: Settings) -> Callable[[], AirflowApi]:
    """How a replay comes to its access: signed with this deployment's secret, or with a password where it has none.

    :raises SettingsError: when there is neither.
    """
    from updraft.stack.access import REPLAY, sign_in  # needs psutil, which the trainer's image has not
    from updraft.stack.layout import Layout

    layout = Layout.of(known)
    if layout.secrets.exists():
        return lambda: sign_in(layout, known.airflow, REPLAY)
    if known.airflow_passwords:
        passwords = Path(known.airflow_passwords)
        return lambda: AirflowApi.login(
            known.airflow, REPLAY, json.loads(passwords.read_text())[REPLAY], patience=PATIENCE
        )
    raise SettingsError(
        f"{layout.secrets} is not there, and UPDRAFT_AIRFLOW_PASSWORDS is not set; `make up` starts an Airflow and writes "
        f"both, or make the user `{REPLAY}` in yours and name a JSON file with its password"
    )


def _play(
    project: Project, store: Store, client: AirflowClient, last: int | None, plain: Beside | None, timeout: float
) -> None:
    columns = (TextColumn("[bold]{task.fields[key]}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors) as progress:

        def say(key: str, words: str) -> None:
            progress.console.print(f"{key}  {escape(words)}", soft_wrap=True)

        player = Replay(project, store, client, say, timeout)
        keys = player.keys(last)
        if plain:
            player.change = Change(len(keys) // 2, {"max_depth": 3}, "a smaller model, started by the replay")
        bar = progress.add_task("", total=len(keys), key=keys[0])

        def done(number: int, row: IngestedPartition) -> None:
            progress.update(bar, completed=number, key=row.key)
            if plain:
                plain.go_on(row)
            if row.state != "published":
                say(row.key, f"partition {row.state}: {row.checks.get('refusals') or ''}")
            elif row.quarantined:
                say(row.key, f"{row.quarantined:,} rows quarantined, {row.rows:,} published")

        player.play(keys, done)


def summarise(store: Store, project: Project, seconds: float) -> dict[str, Any]:
    """What came of it, JSON-able."""
    name = project.name
    measured = store.performance(name)
    kinds = [decision.kind for decision in store.decisions(name)]
    loss = project.spec.task_type.headline.name
    values = [row.metrics[loss] for row in measured]
    return {
        "project": name,
        "seconds": round(seconds, 1),
        "partitions": len(store.partitions(name, state=None)),
        "loss": loss,
        "mean_loss": sum(values) / len(values) if values else None,
        "losses": {row.key: row.metrics[loss] for row in measured},
        "trainings": len(store.trainings(name)),
        "promotions": kinds.count("promote"),
        "rollbacks": kinds.count("roll_back"),
        "refused": kinds.count("refuse"),
        "recalibrations": kinds.count("recalibrate"),
        "episodes": len(store.episodes(name)),
        "champion": store.serving(name).champion,
    }


def _compare(project: Project, store: Store, beside: Beside) -> list[Path]:
    """The picture of the demo: never retrained, retrained at every partition, Updraft."""
    from updraft.backtest.picture import by_partition

    errors.print("comparing with never retraining and retraining at every partition (backtest)")
    plain = beside.played()
    if plain is None:
        keys = [row.key for row in store.partitions(project.name, state=None)]
        rows = [row for key in keys if (row := store.partition(project.name, key))]
        plain = list(backtest(project, settings(), only=PLAIN, rows=rows).played)
    headline = project.spec.task_type.headline
    loss = headline.name
    lines = {policy_run.policy: list(zip(policy_run.keys, policy_run.losses, strict=True)) for policy_run in plain}
    lines["Updraft"] = [(row.key, row.metrics[loss]) for row in store.performance(project.name)]
    kinds = {"promote": "promotion", "refuse": "refusal", "roll_back": "rollback"}
    events = [(d.key, kinds[d.kind]) for d in store.decisions(project.name, kinds=tuple(kinds))]
    path = settings().home / "demo" / f"{project.name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(by_partition(lines, events, headline.title))
    for name, line in lines.items():
        errors.print(f"  {name}: mean {loss} {sum(value for _, value in line) / len(line):.4f}")
    return [path]


def _print(summary: dict[str, Any], known: Settings) -> None:
    mean = f"{summary['mean_loss']:.4f}" if summary["mean_loss"] is not None else "none yet"
    console.print(
        f"{summary['project']}: {summary['partitions']} partitions in {summary['seconds']:.0f} s, mean {summary['loss']} {mean}"
    )
    counts = ("trainings", "promotions", "refused", "rollbacks", "recalibrations", "episodes")
    console.print("  " + ", ".join(f"{summary[name]} {name}" for name in counts))
    for path in summary.get("pictures", []):
        console.print(f"  picture   {path}", soft_wrap=True)
    console.print(f"  Airflow   {known.airflow}   (user admin, password in {known.airflow_passwords})", soft_wrap=True)
    console.print(f"  Updraft   {known.airflow}/updraft/fleet   what every model is doing, and why", soft_wrap=True)
    console.print(f"  MLflow    {known.mlflow}", soft_wrap=True)
    console.print("  and `updraft status` tells it in words")
