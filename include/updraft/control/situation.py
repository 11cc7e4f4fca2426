"""Where a project stands at one moment: its state in one word, the reason in one sentence, and what a person is wanted for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from updraft.loop.context import Loop
from updraft.loop.kept_out import KeptOutSummary, summarise_kept_out
from updraft.loop.outlook import OpenRelease, Standing, outlook, read_standing, release_outlook, training_outlook
from updraft.loop.unpublished import Unpublished, find_unpublished
from updraft.loop.watchdog import OverdueTraining, overdue_training
from updraft.spec.model import ProjectSpec
from updraft.store.records import EpisodeRow, Serving

State = Literal[
    "broken",
    "waits for you",
    "degraded",
    "starved of data",
    "remedies stopped",
    "no model yet",
    "in shadow",
    "in probation",
    "fresh",
]
"""In the order in which projects are shown: those that need a person come first."""
STATES: tuple[State, ...] = State.__args__  # type: ignore[attr-defined]
NEEDS_PERSON: frozenset[State] = frozenset(("broken", "waits for you", "degraded", "starved of data"))


@dataclass(frozen=True)
class Situation:
    """What the store knows of a project whose folder is sound, as far as it says where the project stands."""

    spec: ProjectSpec
    standing: Standing
    serving: Serving
    unpublished: tuple[Unpublished, ...]
    kept_out: KeptOutSummary
    overdue: OverdueTraining | None
    person: EpisodeRow | None
    """The newest episode, where it calls for a person."""

    @cached_property
    def next(self) -> list[str]:
        """What happens next, one line each."""
        return outlook(self.spec, self.standing)

    @property
    def late(self) -> list[Unpublished]:
        """Partitions that a person is wanted for."""
        return [partition for partition in self.unpublished if partition.fate != "waiting"]

    @property
    def wanted(self) -> list[str]:
        """What a person is wanted for, one line each; nothing when nobody is."""
        return [
            *(f"{release.row.id} waits for approval" for release in self._in("approval")),
            *(partition.words for partition in self.late),
            *([str(self.person.diagnosis["words"])] if self.person else ()),
            *self.kept_out.questions,
            *([self.overdue.words] if self.overdue else ()),
        ]

    @property
    def state(self) -> State:
        """In one word."""
        return self._told[0]

    @property
    def reason(self) -> str:
        """Why it is in that state, in one sentence."""
        return self._told[1]

    @cached_property
    def _told(self) -> tuple[State, str]:
        return next(self._reasons())

    def _reasons(self) -> Iterator[tuple[State, str]]:
        """Every state that fits with its reason, the most pressing one first."""
        for release in self._in("approval"):
            row = release.row
            why = f": {row.reason}" if row.reason else ""
            yield "waits for you", f"version {row.version} ({row.lane}) waits for your approval{why}"
        if self.person is not None:
            yield "degraded", str(self.person.diagnosis["words"])
        if self.late:
            yield "starved of data", self.late[0].words
        if self.kept_out.questions:
            yield "starved of data", f"nothing is learnt from {self.kept_out.words}"
        if self.overdue is not None:
            yield "degraded", self.overdue.words
        if self.standing.stopped is not None:
            yield "remedies stopped", training_outlook(self.spec, self.standing)
        if self.serving.champion is None:
            yield "no model yet", training_outlook(self.spec, self.standing)
        for name, state in (("shadow", "in shadow"), ("probation", "in probation")):
            for release in self._in(name):
                yield state, release_outlook(self.spec, release, self.standing)  # type: ignore[misc]
        yield "fresh", training_outlook(self.spec, self.standing)

    def _in(self, state: str) -> list[OpenRelease]:
        return [release for release in self.standing.releases if release.row.state == state]


def read_situation(loop: Loop, now: datetime) -> Situation:
    """Ask the store, by key and by range.

    :param now: of the clock.
    """
    store, spec = loop.store, loop.spec
    newest = store.episodes(spec.name, newest=1)
    return Situation(
        spec=spec,
        standing=read_standing(loop, now),
        serving=store.serving(spec.name),
        unpublished=tuple(find_unpublished(store, spec, now)),
        kept_out=summarise_kept_out(store, spec),
        overdue=overdue_training(store, spec),
        person=newest[0] if newest and newest[0].remedy == "person" else None,
    )
