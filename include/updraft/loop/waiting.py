"""What the deferred sensors ask, and the note that they have seen a tick."""

from __future__ import annotations

from typing import Literal

from updraft.loop.context import Loop
from updraft.loop.monitor import MONITOR
from updraft.loop.rollout import look
from updraft.store.records import EpisodeRow

Question = Literal["remedy", "release"]


def sensor_name(question: Question, subject: str = "") -> str:
    """Name under which a sensor notes what it has seen."""
    return f"{question}:{subject}" if subject else question


def due_episode(loop: Loop) -> EpisodeRow | None:
    """The oldest episode whose remedy is to be started."""
    due = [row for row in loop.store.episodes(loop.name, states=("due",)) if row.remedy == "retrain"]
    return due[0] if due else None


def ask(loop: Loop, question: Question, subject: str = "") -> tuple[str | None, bool]:
    """(tick that was seen, whether there is something to do). When there is not, the tick is noted as seen by this sensor."""
    seen = loop.store.seen(loop.name)
    key = seen.get(MONITOR)
    name = sensor_name(question, subject)
    if (
        question == "release"
        and seen.get(name) == key
        and key is not None
        and loop.store.release(subject).state != "closed"
    ):
        return key, False  # nothing came since the last look
    act = due_episode(loop) is not None if question == "remedy" else look(loop, subject).act != "wait"
    if not act and key is not None:
        loop.store.mark_seen(loop.name, name, key)
    return key, act
