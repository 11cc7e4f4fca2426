"""Partitions from which nothing is learnt: their feed was found broken."""

from __future__ import annotations

from collections.abc import Sequence

from updraft.errors import StoreError
from updraft.store.records import EpisodeRow
from updraft.store.store import Store


def kept_out(store: Store, project: str, key: str) -> frozenset[str]:
    """Published partitions up to ``key`` with a broken feed.

    One comes back when it is ingested anew with another content that is not broken (the source was mended), or when a person says that
    it is right as it is (:func:`readmit`).
    """
    broken = _broken(store, project, key)
    rows = store.partitions(project, until=key) if broken else []
    return frozenset(row.key for row in rows if row.sha256 in broken.get(row.key, {}))


def scored_broken(store: Store, project: str, key: str) -> frozenset[str]:
    """Partitions up to ``key`` whose predictions were made of a broken feed, though it may be mended by now."""
    return frozenset(_broken(store, project, key))


def readmitted_signs(store: Store, project: str, window: Sequence[str]) -> frozenset[tuple[str, str | None]]:
    """Kind and column of faults that a person said are right as they are, and that this training window has not learnt.

    That is, of partitions that are not in it; those from before it count no more.
    """
    return frozenset(
        (kind, column)
        for decision in store.decisions(project, kinds=("readmit",))
        if decision.body["partition"] >= window[0] and decision.body["partition"] not in window
        for kind, column in decision.body["signs"]
    )


def readmit(store: Store, project: str, key: str, *, by: str, reason: str) -> None:
    """Let trainings learn from a partition again that is right as it is: the world changed, not the feed. Said twice, it is one decision.

    The same sign in what follows is no fault either, until a champion has learnt from the partition.

    :raises StoreError: when the partition is not kept out.
    """
    rows = store.partitions(project)
    newest = rows[-1].key if rows else ""
    content = next((row.sha256 for row in rows if row.key == key), None)
    subject = f"{key}@{content}"
    if any(one.subject == subject for one in store.decisions(project, kinds=("readmit",))):
        return
    episode = _broken(store, project, newest).get(key, {}).get(content)
    if episode is None:
        out = sorted(kept_out(store, project, newest))
        raise StoreError(f"{project}: partition {key} is not kept out; kept out are {', '.join(out) or 'none'}")
    body = {"partition": key, "reason": reason, "by": by, "signs": episode.diagnosis["signs"]}
    store.decide(project, key=newest, kind="readmit", subject=subject, body=body)


def _broken(store: Store, project: str, key: str) -> dict[str, dict[str | None, EpisodeRow]]:
    """Episodes by partition and its content, of what was found broken and not readmitted."""
    found = [row for row in store.episodes(project) if row.remedy == "quarantine" and row.opened_at <= key]
    if not found:
        return {}
    readmitted = {decision.subject for decision in store.decisions(project, kinds=("readmit",))}
    broken: dict[str, dict[str | None, EpisodeRow]] = {}
    for row in found:
        content = row.diagnosis.get("content")
        if f"{row.opened_at}@{content}" not in readmitted:
            broken.setdefault(row.opened_at, {})[content] = row
    return broken
