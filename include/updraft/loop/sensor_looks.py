"""What the deferred sensors ask, and the note that they have seen a tick.

At one tick several things may become due at once: a probation ends, a change is proved, a training is called for. What they lead to depends on
their order, so it is fixed: releases in the order of their opening, then remedies. A sensor that stopped looking (its run failed, its DAG is
paused) holds the others back for one tick at most.
"""

from __future__ import annotations

from typing import Literal

from updraft.loop.context import Loop
from updraft.loop.monitor import MONITOR
from updraft.loop.release import next_step
from updraft.loop.stopping import stopped_remedies
from updraft.store.records import EpisodeRow, ReleaseRow
from updraft.store.transitions import Act

Question = Literal["remedy", "release"]


def sensor_name(question: Question, subject: str = "") -> str:
    """Name under which a sensor notes what it has seen."""
    return f"{question}:{subject}" if subject else question


def due_episode(loop: Loop) -> EpisodeRow | None:
    """The oldest episode whose remedy is to be started; none while a person has stopped the remedies."""
    due = [row for row in loop.store.episodes(loop.name, states=("due",)) if row.remedy == "retrain"]
    return due[0] if due and stopped_remedies(loop.store, loop.name) is None else None


def ask(loop: Loop, question: Question, subject: str = "") -> tuple[str | None, bool]:
    """(tick that was seen, whether there is something to do). When there is not, the tick is noted as seen by this sensor."""
    name = sensor_name(question, subject)
    seen = loop.store.seen(loop.name, (MONITOR, name))
    key = seen.get(MONITOR)
    act = _remedy(loop, key) if question == "remedy" else _release(loop, key, seen, subject)
    if act is False and key is not None and seen.get(name) != key:
        loop.store.mark_seen(loop.name, name, key)
    return key, bool(act)


def _remedy(loop: Loop, key: str | None) -> bool | None:
    """True: start it; False: nothing is due; None: it is due, but releases come first at this tick."""
    episode = due_episode(loop)
    if episode is None:
        return False
    return None if episode.opened_at == key and _undecided(loop, key, None) else True


def _release(loop: Loop, key: str | None, seen: dict[str, str], subject: str) -> bool | None:
    row = loop.store.release(subject)
    if row.state in ("closed", "approval"):
        return True  # concluded already: by somebody else, or before the task was cleared
    if key is not None and seen.get(sensor_name("release", subject)) == key:
        return False  # nothing came since the last look
    if next_step(loop, subject).act is Act.WAIT:
        return False
    return None if key is not None and _undecided(loop, key, row) else True


def _undecided(loop: Loop, key: str, before: ReleaseRow | None) -> bool:
    """Whether an open release, of those opened before another, may still conclude something at this tick."""
    releases = loop.store.open_releases(loop.name)
    if not releases:
        return False
    newest = loop.store.partitions(loop.name, until=key, newest=2)
    last = newest[0].key if len(newest) > 1 else ""
    seen = loop.store.seen(loop.name, [sensor_name("release", row.id) for row in releases])
    for row in releases:
        if before is not None and row.id == before.id:
            break
        if row.state == "approval":
            verdict = loop.store.decision(loop.name, "verdict", row.id)
            if key == (verdict.key if verdict else row.opened_at):
                return True  # a person was asked at this very tick
            continue
        looked = seen.get(sensor_name("release", row.id), "")
        if looked < key and (looked >= last or row.opened_at >= last):
            return True
    return False


def void(loop: Loop, release: str) -> str | None:
    """Why a person need not be asked about a release any more: it was closed meanwhile. None while there is something to answer."""
    row = loop.store.release(release)
    return None if row.state != "closed" else f"{row.outcome}, {row.reason}"
