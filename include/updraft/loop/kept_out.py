"""Partitions from which nothing is learnt: their feed was found broken.

One comes back when it is ingested anew with another content that is not broken (the source was mended), or when a person says that
it is right as it is (:mod:`updraft.loop.readmission`).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from updraft.spec.model import ProjectSpec
from updraft.store.records import KeptOut, Sign
from updraft.store.store import Store


@dataclass(frozen=True)
class LastingSign:
    """A sign that keeps out one partition after another."""

    kind: str
    column: str | None
    since: str
    """The first partition of the run."""
    partitions: int
    """Published partitions in a row, up to and with the one that it is told of."""

    @property
    def sign(self) -> Sign:
        """Kind and column."""
        return self.kind, self.column

    def asked(self, after: int) -> int | None:
        """How often a person is to have been asked about it by now; None before it has lasted.

        Asked after so many partitions in a row, and again each time as many more have come as there were.
        """
        return (self.partitions // after).bit_length() if self.partitions >= after else None

    def as_dict(self) -> dict[str, Any]:
        """For the episode that keeps the partition out."""
        return asdict(self)


@dataclass(frozen=True)
class SignCount:
    """How many partitions a sign keeps out."""

    kind: str
    column: str | None
    partitions: int
    since: str
    """The oldest of them."""

    @property
    def sign(self) -> Sign:
        """Kind and column."""
        return self.kind, self.column

    @property
    def words(self) -> str:
        """The sign and its count."""
        return f"{sign_words(self.sign)} ({self.partitions})"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def sign_words(sign: Sign) -> str:
    """A sign in a few words, such as ``nulls of temp``."""
    kind, column = sign
    return f"{kind.replace('_', ' ')} of {column}" if column is not None else f"{kind.replace('_', ' ')} (all rows)"


def readmit_command(project: str, sign: Sign, *, always: bool = True) -> str:
    """The command that says of a sign that it is no fault: of the partitions so far, or of all that come."""
    kind, column = sign
    words = ["updraft", "readmit", project, *(["--column", column] if column is not None else []), "--sign", kind]
    return shlex.join([*words, *(["--always"] if always else []), "--reason", "WHY"])


def count_signs(partitions: Sequence[KeptOut]) -> list[SignCount]:
    """The signs that keep partitions out, the most frequent first; a partition counts for each of its signs.

    :param partitions: in the order of their keys.
    """
    keys_by_sign: dict[Sign, list[str]] = {}
    for partition in partitions:
        for sign in dict.fromkeys(partition.signs):
            keys_by_sign.setdefault(sign, []).append(partition.key)
    counts = [SignCount(kind, column, len(keys), keys[0]) for (kind, column), keys in keys_by_sign.items()]
    return sorted(counts, key=lambda count: (-count.partitions, count.kind, count.column or ""))


@dataclass(frozen=True)
class KeptOutSummary:
    """Of the newest partitions, those from which nothing is learnt, and why."""

    project: str
    partitions: int
    of: int
    """Partitions that a training may look back on."""
    signs: tuple[SignCount, ...]
    commands: tuple[str, ...]
    """For each sign, what to run when the data are right as they are."""

    @property
    def words(self) -> str:
        """One line."""
        return f"{self.partitions} of the newest {self.of} partitions: {', '.join(sign.words for sign in self.signs)}"

    @property
    def questions(self) -> list[str]:
        """For a person: each sign, with what to do in either case."""
        return [
            f"nothing is learnt from {sign.partitions} of the newest {self.of} partitions, since {sign.since}: {sign_words(sign.sign)}. "
            f"If that is right as it is: {command}; if it is a fault: mend the source, and clear {self.project}.ingest of them"
            for sign, command in zip(self.signs, self.commands, strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"partitions": self.partitions, "of": self.of, "signs": [sign.as_dict() for sign in self.signs]}


def summarise_kept_out(store: Store, spec: ProjectSpec) -> KeptOutSummary:
    """Of the newest partitions that a training may learn from, those that are kept out as their feed looked broken."""
    newest = store.partitions(spec.name, state=None, newest=spec.training.window)
    kept_out = store.keeping_out(spec.name, since=newest[0].key, until=newest[-1].key) if newest else []
    signs = tuple(count_signs(kept_out))
    lasts = spec.monitoring.drift.persist.of
    commands = tuple(readmit_command(spec.name, sign.sign, always=sign.partitions >= lasts) for sign in signs)
    return KeptOutSummary(spec.name, len(kept_out), len(newest), signs, commands)


def lasting_signs(store: Store, project: str, key: str, signs: Sequence[Sign]) -> list[LastingSign]:
    """Since when each sign of a partition has kept out the partitions before it, without a gap.

    The partition before this one knows how long it had lasted by then: no tick counts a history.
    """
    before = [row.key for row in store.partitions(project, until=key, newest=2) if row.key < key]
    lasted: dict[Sign, LastingSign] = {}
    for partition in store.keeping_out(project, since=before[-1], until=before[-1]) if before else ():
        lasted = {sign: LastingSign(*sign, partition.key, 1) for sign in partition.signs}
        told = [LastingSign(**run) for run in partition.diagnosis.get("lasting", ())]
        lasted |= {run.sign: run for run in told}
    return [
        LastingSign(*sign, lasted[sign].since, lasted[sign].partitions + 1)
        if sign in lasted
        else LastingSign(*sign, key, 1)
        for sign in dict.fromkeys(signs)
    ]


def scored_broken(store: Store, project: str, key: str, since: str = "") -> frozenset[str]:
    """Partitions from ``since`` up to ``key`` whose predictions were made of a broken feed, though it may be mended by now."""
    return store.scored_broken(project, since=since, until=key)


def readmitted_signs(store: Store, project: str, window: Sequence[str]) -> frozenset[Sign]:
    """Kind and column of faults that a person said are right as they are: for good, or of partitions that this training window has not learnt.

    Those of partitions from before the window count no more, nor does what was said before the sign was taken back.
    """
    decisions = store.sign_decisions(project)
    accepted = {sign for sign, decision in decisions.items() if decision.body["accepted"]}
    taken_back = {sign: decision.seq for sign, decision in decisions.items() if sign not in accepted}
    readmitted = {
        (str(kind), column)
        for episode, seq in store.readmitted(project, since=window[0])
        if episode.opened_at not in window
        for kind, column in episode.diagnosis["signs"]
        if seq > taken_back.get((kind, column), 0)
    }
    return frozenset(accepted | readmitted)
