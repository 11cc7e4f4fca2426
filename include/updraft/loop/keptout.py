"""Partitions from which nothing is learnt: their feed was found broken."""

from __future__ import annotations

from updraft.errors import StoreError
from updraft.store.store import Store


def kept_out(store: Store, project: str, key: str) -> frozenset[str]:
    """Published partitions up to ``key`` with a broken feed.

    One comes back when it is ingested anew with another content (the source was mended), or when a person says that it is right
    as it is (:func:`readmit`).
    """
    broken = _broken(store, project, key)
    return frozenset(
        row.key
        for row in (store.partitions(project, until=key) if broken else ())
        if row.key in broken and row.sha256 == broken[row.key]
    )


def scored_broken(store: Store, project: str, key: str) -> frozenset[str]:
    """Partitions up to ``key`` whose predictions were made of a broken feed, though it may be mended by now."""
    return frozenset(_broken(store, project, key))


def _broken(store: Store, project: str, key: str) -> dict[str, str | None]:
    """Content by partition, of those that were found broken and not readmitted."""
    found = {
        row.opened_at: row.diagnosis.get("content")
        for row in store.episodes(project)
        if row.remedy == "quarantine" and row.opened_at <= key
    }
    if not found:
        return {}
    readmitted = {decision.subject for decision in store.decisions(project, kinds=("readmit",))}
    return {one: content for one, content in found.items() if f"{one}@{content}" not in readmitted}


def readmit(store: Store, project: str, key: str, *, by: str, reason: str) -> None:
    """Let trainings learn from a partition again that is right as it is: the world changed, not the feed. Said twice, it is one decision.

    :raises StoreError: when the partition is not kept out.
    """
    newest = store.partitions(project)
    out = kept_out(store, project, newest[-1].key) if newest else frozenset()
    content = next((row.sha256 for row in newest if row.key == key), None)
    subject = f"{key}@{content}"
    said = [one for one in store.decisions(project, kinds=("readmit",)) if one.subject == subject]
    if key not in out and not said:
        raise StoreError(f"{project}: partition {key} is not kept out; kept out are {', '.join(sorted(out)) or 'none'}")
    body = {"partition": key, "reason": reason, "by": by}
    store.decide(project, key=newest[-1].key, kind="readmit", subject=subject, body=body)
