"""A partition's data: rows in quarantine, and partitions that were refused."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence

from updraft.alerts.alert import Alert
from updraft.alerts.words import counts, share

REFUSALS = "refused"
"""The incident of a project's refused partitions."""
_RULES = 10
"""Broken rules that are told; the data docs have all of them."""
_READ_AGAIN = "clear the run (clearing validate_partition alone does not read the source again)"


def pass_over_command(project: str, key: str) -> str:
    """What a person runs when a partition stays as it is."""
    return shlex.join(["updraft", "pass-over", project, key, "--reason", "WHY"])


def quarantine(
    project: str, *, key: str, rows: int, of: int, reasons: Mapping[str, int], content: str = "", docs: str = ""
) -> Alert:
    """Some rows broke the contract and were set aside; the rest was published.

    :param rows: rows set aside, of ``of`` rows.
    :param reasons: check to number of rows (a row may break several); 0 for a check on the partition as a whole.
    :param content: hash of the partition; a partition ingested again with other content is another event.
    """
    return Alert(
        project=project,
        kind="quarantine",
        entry="quarantine",
        dedup=f"quarantine:{key}:{content}",
        fold=f"quarantine:{key}:{','.join(sorted(reasons))}",
        title=f"{rows:,} rows in quarantine",
        text=f"{rows:,} of {of:,} rows ({share(rows, of)}) broke the data contract.",
        detail=counts(reasons),
        does="They were set aside with their reasons; the other rows were published.",
        key=key,
        links={"Data docs": docs},
    )


def outside(
    project: str, *, key: str, source: str, rows: int, timeless: int, of: int, content: str = "", docs: str = ""
) -> Alert:
    """More rows of a partition's file than before belong to no partition, or to another one.

    :param rows: rows whose time lies outside of the partition.
    :param timeless: rows without a time.
    :param of: all rows of the file.
    """
    lost = rows + timeless
    return Alert(
        project=project,
        kind="quarantine",
        entry="outside",
        dedup=f"outside:{key}:{content}",
        fold=f"outside:{key}:{source}",
        title=f"{lost:,} rows of {source} belong to no partition",
        text=f"{lost:,} of {of:,} rows ({share(lost, of)}) of the file of {source} lie outside of the partition, or have no time.",
        detail=f"{rows:,} outside of the partition, {timeless:,} without a time",
        does="The other rows were published.",
        needs=f"Look at the times in the file: a wrong year, zone or format looks like this. Mend it, then {_READ_AGAIN}. If the file is "
        "meant to hold other days too, nothing.",
        key=key,
        links={"Data docs": docs},
    )


def labels_lost(
    project: str, *, key: str, labels: int, of: int, form: str, form_of_rows: str, content: str = "", docs: str = ""
) -> Alert:
    """Labels whose row is in no published partition: what came later has other keys than what came first.

    :param labels: labels without a row, of ``of`` labels.
    :param form: what the key of one of them looks like, without what it says.
    :param form_of_rows: the same of a row that was published.
    """
    return Alert(
        project=project,
        kind="quarantine",
        entry="labels_lost",
        dedup=f"labels_lost:{key}:{content}",
        fold=f"labels_lost:{key}",
        title=f"{labels:,} labels find no row",
        text=f"{labels:,} of {of:,} labels ({share(labels, of)}) that matured are of rows that were never published.",
        detail=f"their keys look like {form}, those of the published rows like {form_of_rows}",
        does="They are kept and nothing is learnt from them, nor measured on them. The other labels count.",
        needs="Look at the key in both files: another form of it, such as 7 for 007, is another row. Write it as it was, and clear the "
        "ingest run of this partition.",
        key=key,
        links={"Data docs": docs},
    )


def revised(
    project: str, *, key: str, rows: int, rows_before: int, versions: Sequence[str], content: str = "", docs: str = ""
) -> Alert:
    """A partition was published anew with other content, and versions that are in use learnt from what it was.

    :param rows: of the partition now; ``rows_before`` it had.
    :param versions: those that serve, served before or are being proved.
    """
    named = ", ".join(versions)
    return Alert(
        project=project,
        kind="quarantine",
        entry="revised",
        dedup=f"revised:{key}:{content}",
        fold=f"revised:{key}",
        title="A partition was published anew with other content",
        text=f"It has {rows:,} rows now, and had {rows_before:,}. What it was before is in the window of version {named}.",
        does="The next training reads it as it is now; what has been scored and learnt stays as it is.",
        needs="Nothing, if the change is small. If what was delivered first was wrong, train now: "
        f"`updraft lineage {project} VERSION` says of every partition of a version whether it has changed since.",
        key=key,
        links={"Data docs": docs},
    )


def labels_unlisted(project: str, *, key: str, labels: int, of: int, content: str = "", docs: str = "") -> Alert:
    """Labels that are none of the classes that the project names.

    :param labels: of ``of`` labels that matured.
    """
    return Alert(
        project=project,
        kind="quarantine",
        entry="labels_unlisted",
        dedup=f"labels_unlisted:{key}:{content}",
        fold=f"labels_unlisted:{key}",
        title=f"{labels:,} labels are of no known class",
        text=f"{labels:,} of {of:,} labels ({share(labels, of)}) that matured are none of data.label.classes.",
        does="They are left out: nothing is learnt from them, nor measured on them. The other labels count.",
        needs="If they are written wrongly, mend the source and clear the ingest run of this partition. If a new class has come, begin a "
        "project of another name that lists it, or let data.label.expr put it under a class that there is.",
        key=key,
        links={"Data docs": docs},
    )


def refused(
    project: str, *, key: str, rules: Sequence[str], by_rows: bool, content: str = "", links: Mapping[str, str]
) -> Alert:
    """The contract does not hold for a partition: nothing of it was published.

    :param rules: each rule that refused it, with what was observed and what is allowed; the one to tell first comes first.
    :param by_rows: whether too many rows broke the contract, so that ``data.refuse_above`` is a way out.
    :param content: hash of what was read; the same content refused again is the same event.
    """
    cause = hashlib.sha256("\n".join(rules).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    more = len(rules) - 1
    told = [*rules[:_RULES], *([f"and {len(rules) - _RULES} more"] if len(rules) > _RULES else [])]
    limit = ", or data.refuse_above," if by_rows else ""
    return Alert(
        project=project,
        kind="quarantine",
        entry="refused",
        dedup=f"refused:{key}:{cause}:{content}",
        fold=f"refused:{key}:{cause}",
        incident=REFUSALS,
        part=key,
        title=f"Refused: {rules[0]}" + (f" (and {more} more)" if more else ""),
        text=f"Partition {key} was refused as a whole.",
        detail="\n".join(told),
        does="Nothing of the partition was published, scored or trained on. The model serves on as it was.",
        needs=f"Mend the source, then {_READ_AGAIN}. If the data are right as they are, correct the rule in expectations.yaml{limit} and clear "
        f"validate_partition. If they stay as they are: {pass_over_command(project, key)}",
        key=key,
        links=links,
    )
