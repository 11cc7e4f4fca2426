"""What on-call hears of a partition: refused, late, rows and labels that were set aside, and that it is mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from updraft.alerts import messages, outbox
from updraft.alerts.words import moment
from updraft.data.checks import LabelCounts
from updraft.data.contract import load_contract
from updraft.data.ingest import read_checks
from updraft.data.rule_words import broken_rules, refused_by_rows
from updraft.files import canonical_hash
from updraft.loop.alerting.links import dag_url, docs_url
from updraft.loop.alerting.telling import never_fails, record
from updraft.loop.context import Loop
from updraft.loop.learners import learners_in_use
from updraft.store.records import IngestedPartition, PartitionRow


def _reasons(checks: dict[str, Any]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for name, source in checks.get("sources", {}).items():
        counted.update({f"{name}: {reason}": int(count) for reason, count in source["reasons"].items()})
    return dict(counted)


@never_fails
def rows_quarantined(loop: Loop, row: IngestedPartition) -> None:
    """Rows of a published partition were set aside."""
    total = sum(int(source["rows"]) for source in row.checks.get("sources", {}).values())
    record(
        loop,
        messages.quarantine(
            loop.name,
            key=row.key,
            rows=row.quarantined,
            of=total,
            reasons=_reasons(row.checks),
            content=row.sha256 or "",
            docs=docs_url(loop, row.key),
        ),
    )


@never_fails
def rows_outside(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Rows of the partition's own file lie outside of it: told when it is a share that matters, and far more than the last time.

    :param before: the partition published before.
    """
    for source, checks in row.checks.get("sources", {}).items():
        share, of = _outside_share(checks)
        usual, _ = _outside_share((before.checks if before else {}).get("sources", {}).get(source, {}))
        if share > loop.spec.data.refuse_above and share > 2 * usual:
            record(
                loop,
                messages.outside(
                    loop.name,
                    key=row.key,
                    source=source,
                    rows=checks["outside"],
                    timeless=checks["timeless"],
                    of=of,
                    content=row.sha256 or "",
                    docs=docs_url(loop, row.key),
                ),
            )


@never_fails
def partition_revised(loop: Loop, row: IngestedPartition, before: PartitionRow) -> None:
    """A published partition has another content now: told when a version in use learnt from what it was.

    :param before: the partition as it was published until now.
    """
    versions = learners_in_use(loop, row.key)
    if versions:
        record(
            loop,
            messages.revised(
                loop.name,
                key=row.key,
                rows=row.rows,
                rows_before=before.rows,
                versions=versions,
                content=row.sha256 or "",
                docs=docs_url(loop, row.key),
            ),
        )


@never_fails
def labels_lost(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Labels find no row: told when it is a share that matters, and far more than the last time.

    :param before: the partition published before.
    """
    labels, before_it = row.checks["labels"], (before.checks.get("labels") if before else None) or {}
    usual = LabelCounts(**before_it).lost_share if before_it else 0.0
    if LabelCounts(**labels).lost_share > max(loop.spec.data.refuse_above, 2 * usual):
        record(
            loop,
            messages.labels_lost(
                loop.name,
                key=row.key,
                labels=labels["without_row"],
                of=labels["published"],
                form=labels["form"],
                form_of_rows=labels["form_of_rows"],
                content=row.labels_sha256 or "",
                docs=docs_url(loop, row.key),
            ),
        )


@never_fails
def labels_unlisted(loop: Loop, row: IngestedPartition, before: IngestedPartition | None) -> None:
    """Labels of no known class: told when they begin, and when they are twice the share of the last time.

    :param before: the partition published before.
    """
    labels, before_it = row.checks["labels"], (before.checks.get("labels") if before else None) or {}
    usual = LabelCounts(**before_it).unlisted_share if before_it else 0.0
    if LabelCounts(**labels).unlisted_share > 2 * usual:
        unlisted = labels["unlisted"]
        record(
            loop,
            messages.labels_unlisted(
                loop.name,
                key=row.key,
                labels=unlisted,
                of=unlisted + labels["published"],
                content=row.labels_sha256 or "",
                docs=docs_url(loop, row.key),
            ),
        )


def _outside_share(checks: Mapping[str, Any]) -> tuple[float, int]:
    """Share of a file's rows that are not the partition's, and how many rows it has; of an earlier version's checks, none."""
    outside = int(checks.get("outside", 0)) + int(checks.get("timeless", 0))
    rows = int(checks.get("rows", 0)) + outside
    return (outside / rows if rows else 0.0), rows


@never_fails
def partition_refused(loop: Loop, key: str, run: str | None = None) -> None:
    """A partition was refused as a whole: the rules that refused it, as its checks say.

    :param run: of the DAG that ingests it, which a person clears when the source is mended.
    """
    checks = read_checks(loop.project, loop.settings, key)
    limit = loop.spec.data.refuse_above
    link = {"Run": dag_url(loop, "ingest", run)} if run else {"Data docs": docs_url(loop, checks.key)}
    record(
        loop,
        messages.refused(
            loop.name,
            key=checks.key,
            rules=broken_rules(load_contract(loop.project), checks, refuse_above=limit),
            by_rows=refused_by_rows(checks, refuse_above=limit),
            content=canonical_hash(dict(checks.raw))[:16],
            links=link,
        ),
    )


@never_fails
def file_late(
    loop: Loop, key: str, *, source: str, error: str, until: datetime | None, links: Mapping[str, str]
) -> None:
    """A partition's file is late.

    :param until: the next tick, until which it is waited for; None when that has passed.
    """
    told = moment(until) if until else None
    record(loop, messages.late(loop.name, key=key, source=source, error=error, until=told, links=links))


@never_fails
def partition_mended(loop: Loop, row: IngestedPartition) -> None:
    """A partition that was refused is published, or has no rows to refuse any more."""
    words = (
        f"Partition {row.key} is published: {row.rows:,} rows."
        if row.state == "published"
        else f"Partition {row.key} is {row.state}."
    )
    outbox.resolve(loop.store.engine, loop.name, messages.REFUSALS, row.key, words=words)


@never_fails
def partition_passed_over(loop: Loop, key: str, by: str, reason: str) -> None:
    """A person said that a partition stays unpublished: nothing of it is wanted any more."""
    words = f"Partition {key} is passed over by {by}: {reason}"
    tasks = ("extract_partition", "validate_partition", "publish_partition")
    incidents = [messages.task_incident(f"{loop.name}.ingest", task) for task in tasks]
    for incident in (messages.REFUSALS, *incidents):
        outbox.resolve(loop.store.engine, loop.name, incident, key, words=words, key=key)
