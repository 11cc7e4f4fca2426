"""Releases and what serves, as they stand. :mod:`updraft.store.transitions` alone moves a release."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from updraft.errors import StoreError
from updraft.store import tables as t
from updraft.store.base import as_record
from updraft.store.chain import Chain, as_decision
from updraft.store.records import OPEN_RELEASE, Decision, ReleaseRow, ReleaseState, Serving
from updraft.store.state import RETURNS, read_champion, read_layers


def release_of(subject: str) -> str:
    """The release that a return is about: the second one's subject carries its number beside the release, after an ``@``."""
    return subject.partition("@")[0]


def _release(row: Mapping[str, Any]) -> ReleaseRow:
    return as_record(ReleaseRow, {**row, "continues": tuple(row["continues"])})


class Releases(Chain):
    """Releases of projects, and what serves."""

    def serving(self, project: str) -> Serving:
        """What serves, with the calibration layers of the champion and of what served before it."""
        with self.engine.connect() as connection:
            champion = read_champion(connection, project)
            if champion is None:
                return Serving(None, None, None, {})
            versions = [version for version in (champion.version, champion.previous) if version is not None]
            layers = {version: kept.layer for version, kept in read_layers(connection, project, versions).items()}
        return Serving(champion.version, champion.previous, champion.since, layers)

    def layer(self, project: str, version: str, *, before: str | None = None) -> dict[str, float] | None:
        """The calibration layer of a version; None is the identity.

        :param before: a key; layers that were fitted at its tick or later do not count.
        """
        with self.engine.connect() as connection:
            kept = read_layers(connection, project, [version]).get(version)
            if kept is None:
                return None
            if before is None or kept.key < before:
                return kept.layer
            # The partition comes late. Versions are recalibrated side by side, so the search goes back over some rows for each tick.
            d = t.decisions.c
            earlier = sa.select(d.body).where(
                d.project == project,
                d.kind == "recalibrate",
                d.seq < kept.seq,
                d.key < before,
                d.subject.startswith(f"{version}@", autoescape=True),
            )
            body = connection.execute(earlier.order_by(d.seq.desc()).limit(1)).scalar()
            return body["layer"] if body is not None else None

    def release(self, release: str) -> ReleaseRow:
        """One release.

        :raises StoreError: when there is none of that id.
        """
        rows = self._rows(sa.select(t.releases).where(t.releases.c.id == release))
        if not rows:
            raise StoreError(f"no release {release!r}")
        return _release(rows[0])

    def releases(self, project: str, *, states: Sequence[ReleaseState] = ()) -> list[ReleaseRow]:
        """Releases in the order of their opening."""
        query = sa.select(t.releases).where(t.releases.c.project == project)
        if states:
            query = query.where(t.releases.c.state.in_(states))
        return [
            _release(row)
            for row in self._rows(query.order_by(t.releases.c.opened_at, t.releases.c.written_at, t.releases.c.id))
        ]

    def open_releases(self, project: str) -> list[ReleaseRow]:
        """Releases that have not ended, in the order of their opening."""
        return self.releases(project, states=OPEN_RELEASE)

    def releases_counted_from(self, project: str, releases: Collection[str]) -> dict[str, str]:
        """The tick from which the evidence of some releases counts, by their id; without those that are not there."""
        r = t.releases.c
        rows = self._rows(sa.select(t.releases).where(r.project == project, r.id.in_(releases)))
        return {row["id"]: _release(row).counted_from for row in rows}

    def returns(self, project: str, release: str | None = None) -> list[Decision]:
        """The decisions by which a version serves again, of all releases or of one that was taken back or reinstated, in order."""
        d = t.decisions.c
        query = sa.select(t.decisions).where(d.project == project, d.kind.in_(RETURNS))
        if release is not None:
            query = query.where((d.subject == release) | d.subject.startswith(f"{release}@", autoescape=True))
        return [as_decision(row) for row in self._rows(query.order_by(d.seq))]

    def taken_back(self, project: str, versions: Collection[str]) -> dict[str, Decision]:
        """Those of some versions that a person took back and nobody has reinstated, each with the decision."""
        c, d = t.taken_back.c, t.decisions.c
        query = (
            sa.select(t.decisions)
            .join(t.taken_back, (c.project == d.project) & (c.seq == d.seq))
            .where(c.project == project, c.version.in_(list(versions)))
        )
        decided = [as_decision(row) for row in self._rows(query)]
        return {str(decision.body["previous"]): decision for decision in decided}
