"""Programs that the process manager restarts again and again: counted at each start, and told to on-call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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
    history = stack / f"{program}.restarts.json"
    restarts, _ = _read(history)
    history.write_text(json.dumps({"restarts": restarts, "told": True}))


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
    sound = [found.spec for found in load_projects(settings.projects).values() if isinstance(found, Project)]
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
