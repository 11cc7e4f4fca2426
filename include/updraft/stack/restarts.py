"""Programs that the process manager restarts again and again: counted at each start, told to on-call, and told to be over.

Beside the history of each program stand two marks: ``PROGRAM.told`` while on-call knows that it keeps dying, and ``PROGRAM.runs``, since when
it runs. The program's own start writes the latter and takes it away, and a task of Airflow takes away the former.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

MINUTES = 10
RESTARTS = 2
"""So many within :data:`MINUTES` are told to nobody: a program that was killed is back at once."""


@dataclass(frozen=True)
class Series:
    """Restarts that follow each other closely."""

    times: int
    first: datetime

    @property
    def words(self) -> str:
        """For the program's log."""
        return f"restarted {self.times} times within {MINUTES} minutes, since {self.first:%H:%M:%S} UTC"


def asked_for(stack: Path, program: str) -> Path:
    """The mark of a start that somebody asked for, such as by `make up`: it is no restart. The start removes it.

    :param stack: the folder of the stack's process files.
    """
    return stack / f"{program}.asked"


def count(stack: Path, program: str, now: float) -> Series | None:
    """Count a start. The series that it belongs to when that is to be told, which is once until the program has lived well again.

    :param now: seconds since 1970.
    """
    history, mark = stack / f"{program}.restarts.json", asked_for(stack, program)
    (stack / f"{program}.runs").unlink(missing_ok=True)
    if mark.exists():
        mark.unlink()
        history.unlink(missing_ok=True)
        return None
    before, told = _read(history)
    restarts = [*(moment for moment in before if 0 <= now - moment < MINUTES * 60), now]
    told = told and len(restarts) > 1
    to_tell = len(restarts) > RESTARTS and not told
    history.write_text(json.dumps({"restarts": restarts, "told": told}))
    return Series(len(restarts), datetime.fromtimestamp(restarts[0], UTC)) if to_tell else None


def note_told(stack: Path, program: str) -> None:
    """The series was told."""
    (stack / f"{program}.told").touch()
    history = stack / f"{program}.restarts.json"
    restarts, _ = _read(history)
    history.write_text(json.dumps({"restarts": restarts, "told": True}))


def note_running(stack: Path, program: str, now: float) -> None:
    """The program starts now, with everything there that it waits for.

    :param now: seconds since 1970.
    """
    (stack / f"{program}.runs").write_text(str(now))


def lived_well(stack: Path, now: float) -> list[str]:
    """Programs of which on-call was told and that have run for :data:`MINUTES` since. Where no stack runs there are none.

    :param now: seconds since 1970.
    """
    told = sorted(mark.stem for mark in stack.glob("*.told"))
    return [program for program in told if (since := _runs_since(stack, program)) and now - since >= MINUTES * 60]


def _runs_since(stack: Path, program: str) -> float | None:
    try:
        return float((stack / f"{program}.runs").read_text())
    except (FileNotFoundError, ValueError):  # it is being started, or a crash cut the file off
        return None


def tell_mended(engine: sa.Engine, home: Path, now: datetime) -> list[str]:
    """Mark what was told of programs that have lived well since as resolved; the projects that it was about.

    What was told is in the store by then: whoever calls this has recorded what was kept beside it.

    :raises SQLAlchemyError: when the store is away: the next one does it.
    :raises OSError: when a mark cannot be taken away.
    """
    programs = lived_well(home / "stack", now.timestamp())
    if not programs:
        return []
    from updraft.alerts import messages, outbox

    told: dict[str, None] = {}
    for alert in outbox.standing_open(engine, entry="restarts"):
        for program in programs:
            if alert.incident == messages.restarts_incident(program):
                words = f"{program} has run for {MINUTES} minutes without a restart."
                outbox.resolve(engine, alert.project, alert.incident, None, words=words, now=now)
                told[alert.project] = None
    for program in programs:
        (home / "stack" / f"{program}.told").unlink(missing_ok=True)
    return list(told)


def tell(series: Series, program: str, env: Mapping[str, str], log: Path) -> None:
    """Keep an alert for each channel, which the next task records and sends: the store may be what keeps dying.

    :param env: variables that name the deployment.
    :raises UpdraftError: when the deployment's settings are wrong.
    :raises OSError: when the alert cannot be written.
    """
    from updraft.alerts import messages, untold
    from updraft.alerts.audience import one_per_channel
    from updraft.settings import Settings
    from updraft.spec.load import load_projects, project_names
    from updraft.spec.model import Project

    settings = Settings.from_env(env)
    sound = [
        project.spec
        for project in load_projects(settings.projects, settings.environment).values()
        if isinstance(project, Project)
    ]
    names = [spec.name for spec in one_per_channel(sound)] or project_names(settings.projects)[:1]
    first = f"{series.first:%Y-%m-%d %H:%M:%S} UTC"
    for name in names:
        alert = messages.restarts(name, program=program, times=series.times, minutes=MINUTES, first=first, log=str(log))
        untold.keep(settings.home, alert)


def _read(history: Path) -> tuple[list[float], bool]:
    try:
        noted = json.loads(history.read_text())
        return [float(moment) for moment in noted["restarts"]], bool(noted["told"])
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # none yet, or one that was cut off by a crash
        return [], False
