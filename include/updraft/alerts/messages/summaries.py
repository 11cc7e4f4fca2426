"""What is said about other alerts: that they are over, what a week of routine held, what stood while there was no Slack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from updraft.alerts.alert import Alert, Kind, one_line
from updraft.alerts.runbook.of_alerts import ALERTS

LINES = 12
"""Notable lines of a summary at most."""
_COUNTED_ONLY = ("quarantine", "trained")
"""Entries of which a digest tells how many there were, and no line for each."""


def resolved(
    project: str, *, kind: Kind, title: str, last: int, thread: str | None, words: str, key: str | None
) -> Alert:
    """Something that was told is over.

    :param title: of the alert that told it; :param last: the store's id of the newest such alert, which names the event.
    :param words: how it ended.
    """
    return Alert(
        project=project,
        kind=kind,
        entry="resolved",
        dedup=f"resolved:{last}",
        title=f"Resolved: {title}",
        text=words,
        thread=thread,
        key=key,
    )


def digest(project: str, *, since: date, until: date, alerts: Sequence[Alert]) -> Alert:
    """What was routine in the week that ended, and before as far as it was not told.

    :param since: the day of the oldest alert. :param until: the first day that it does not cover, a Monday: there is one digest for it.
    """
    monday = until - timedelta(days=7)
    week = monday.isocalendar()
    covered = f"Week {week.week} of {week.year}" if since >= monday else f"From {since} to {until - timedelta(days=1)}"
    lines = [alert.summary() for alert in alerts if alert.entry not in _COUNTED_ONLY]
    return Alert(
        project=project,
        kind="summary",
        entry="digest",
        dedup=f"digest:{until.isoformat()}",
        title=f"{covered}: {_number(len(alerts))}, nothing to do",
        text="\n".join(f"• {line}" for line in _counted(alerts)),
        detail="\n".join(_at_most(lines)),
    )


def backlog(project: str, *, first: int, old: Sequence[Alert], follow: int, unmended: Sequence[Alert]) -> Alert:
    """What stood in the store before Slack could be reached.

    :param first: the store's id of the oldest of them, which names the event.
    :param old: those that are not sent any more; :param follow: how many are sent after this.
    :param unmended: of the old ones, those of what is not mended.
    """
    still = f" Not mended: {len(unmended)}, listed below." if unmended else ""
    lines = [alert.summary() for alert in (unmended or old)]
    return Alert(
        project=project,
        kind="summary",
        entry="backlog",
        dedup=f"backlog:{first}:{len(old)}:{follow}",
        title=f"{_number(len(old) + follow)} stood in the store",
        text=f"Slack could not be reached, or was connected only now. {len(old)} are too old to be sent, {follow} follow.{still}\n"
        + "\n".join(f"• {line}" for line in _counted(old)),
        detail="\n".join(_at_most(lines)),
        needs="Look at what is not mended; `updraft status` says what is wanted now." if unmended else "",
    )


def _number(alerts: int) -> str:
    return f"{alerts} alert{'s' * (alerts != 1)}"


def _counted(alerts: Sequence[Alert]) -> list[str]:
    """How many there were of each kind, most first."""
    counted = Counter(_called(alert) for alert in alerts)
    return [f"{count} × {called}" for called, count in counted.most_common()]


def _called(alert: Alert) -> str:
    return ALERTS[alert.entry].title if alert.entry in ALERTS else alert.title


def _at_most(lines: Sequence[str]) -> list[str]:
    shown = [one_line(line)[:200] for line in lines[:LINES]]
    return [*shown, *([f"and {len(lines) - LINES} more, in the store"] if len(lines) > LINES else [])]
