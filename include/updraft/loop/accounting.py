"""What became of every row and label of a partition, from what the store keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from updraft.data.columns import PARTITION
from updraft.data.key_ring import Rotation
from updraft.data.lost_labels import count_lost
from updraft.loop.context import Loop, label_file
from updraft.store.records import IngestedPartition, PartitionRow


def with_lost_labels(loop: Loop, row: IngestedPartition, rotations: Sequence[Rotation]) -> IngestedPartition:
    """The partition with the count of its labels that find no row among those that are published.

    :param rotations: of the project's key, in order.
    """
    if row.labels_url is None:
        return row
    keys = {str(key) for key in label_file(row.labels_url, row.labels_sha256)[PARTITION].unique()}
    ingested: dict[str, PartitionRow] = {**loop.store.partition_rows(loop.name, keys - {row.key}), row.key: row}
    published = {key: other for key, other in ingested.items() if other.state == "published"}
    counts = count_lost(loop.project, loop.settings, row, published, rotations)
    return replace(row, checks={**row.checks, "labels": asdict(counts)})


def accounted(row: IngestedPartition) -> dict[str, Any] | None:
    """The rows of a partition's row source and its labels by what became of them, and quarantined rows by their reasons. JSON-able.

    None of a partition whose checks the store has not.
    """
    sources: dict[str, dict[str, Any]] = row.checks.get("sources", {})
    if not sources:
        return None
    source, checks = next(iter(sources.items()))
    outside, timeless = int(checks.get("outside", 0)), int(checks.get("timeless", 0))
    dropped = int(checks.get("dropped", 0))
    quarantined, rows = int(checks.get("quarantined", 0)), int(checks.get("rows", 0))
    return {
        "key": row.key,
        "state": row.state,
        "source": source,
        "read": rows + outside + timeless,
        "published": row.rows,
        "quarantined": quarantined,
        "dropped": dropped,
        "refused": 0 if row.state == "published" else rows - quarantined - dropped,
        "outside": outside,
        "timeless": timeless,
        "reasons": dict(checks.get("reasons", {})),
        "labels": dict(row.checks.get("labels") or {}),
    }


def in_words(account: Mapping[str, Any]) -> str:
    """One line for a person."""
    parts = [
        f"{account['published']:,} published",
        f"{account['quarantined']:,} quarantined{_reasons(account['reasons'])}",
        *([f"{account['dropped']:,} dropped by a person"] if account["dropped"] else []),
        *([f"{account['refused']:,} refused with their partition"] if account["refused"] else []),
        f"{account['outside']:,} outside of the partition",
        f"{account['timeless']:,} without a time",
    ]
    labels = account["labels"]
    kinds = {
        "missing": "missing",
        "infinite": "not finite",
        "unlisted": "of no class in data.label.classes",
        "in_breach": "of rows in breach",
        "without_row": "find no row",
    }
    rows = f"{account['read']:,} rows read = {' + '.join(parts)}"
    if not labels:
        return rows
    lost = [f", {labels[kind]:,} {words}" for kind, words in kinds.items() if labels.get(kind)]
    return f"{rows}; labels: {labels['published']:,} published{''.join(lost)}{_form(labels)}"


def _reasons(reasons: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{reason}: {count:,}' for reason, count in reasons.items())})" if reasons else ""


def _form(labels: Mapping[str, Any]) -> str:
    """What tells the keys of lost labels from those of rows, where both are known."""
    if not labels.get("without_row"):
        return ""
    return f" (their keys look like {labels['form']!r}, those of the rows like {labels['form_of_rows']!r})"
