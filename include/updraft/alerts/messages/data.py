"""A partition's data: rows in quarantine, and partitions that were refused."""

from __future__ import annotations

from collections.abc import Mapping

from updraft.alerts.alert import Alert, one_line, redacted
from updraft.alerts.words import counts, share


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
        dedup=f"quarantine:{key}:{content}",
        fold="quarantine:" + ",".join(sorted(reasons)),
        title=f"{rows:,} rows in quarantine",
        text=f"{rows:,} of {of:,} rows ({share(rows, of)}) broke the data contract.",
        detail=counts(reasons),
        does="They were set aside with their reasons; the other rows were published.",
        needs="Nothing now. If this goes on, ask the owner of the source, or correct the contract.",
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
        dedup=f"outside:{key}:{content}",
        fold=f"outside:{source}",
        title=f"{lost:,} rows of {source} belong to no partition",
        text=f"{lost:,} of {of:,} rows ({share(lost, of)}) of the file of {source} lie outside of the partition, or have no time.",
        detail=f"{rows:,} outside of the partition, {timeless:,} without a time",
        does="The other rows were published.",
        needs="Look at the times in the file: a wrong year, zone or format looks like this. If the file is meant to hold other "
        "days too, nothing.",
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
        dedup=f"labels_lost:{key}:{content}",
        fold="labels_lost",
        title=f"{labels:,} labels find no row",
        text=f"{labels:,} of {of:,} labels ({share(labels, of)}) that matured are of rows that were never published.",
        detail=f"their keys look like {form}, those of the published rows like {form_of_rows}",
        does="They are kept and nothing is learnt from them, nor measured on them. The other labels count.",
        needs="Look at the key in both files: another form of it, such as 7 for 007, is another row. Write it as it was, and clear the "
        "ingest run of this partition.",
        key=key,
        links={"Data docs": docs},
    )


def late(
    project: str,
    *,
    key: str,
    source: str,
    error: str,
    until: str | None,
    links: Mapping[str, str],
) -> Alert:
    """A source's file of a partition is not there, longer after the tick than the project says.

    :param error: what is wrong: that there is no file, or that its store does not answer.
    :param until: the next tick, until which it is waited for; None when that has passed.
    """
    clear = f"clear the run of {project}.ingest for {key}"
    goes_on = f"It goes on waiting, without a worker: a file that comes before {until} is read by itself."
    return Alert(
        project=project,
        kind="failure",
        dedup=f"late:{key}",
        fold=f"late:{source}",
        title=f"File of {source} is late",
        text=f"Partition {key} has no file of {source} yet; its tick has passed longer ago than data.sources.{source}.wait allows.",
        detail=redacted(one_line(error)),
        does=goes_on if until else "The next partition has its turn, so it is not waited for any more.",
        needs=f"Ask whoever delivers it. {f'If it comes after {until}, {clear}' if until else f'When it is there, {clear}'}. If it never comes: "
        f"updraft pass-over {project} {key} --reason WHY.",
        key=key,
        links=links,
    )


def refused(
    project: str,
    *,
    key: str,
    rows: int,
    of: int,
    limit: float,
    reasons: Mapping[str, int],
    content: str = "",
    docs: str = "",
) -> Alert:
    """More rows broke the contract than the project allows: nothing of the partition was published.

    :param limit: the share that ``data.refuse_above`` allows.
    """
    return Alert(
        project=project,
        kind="quarantine",
        dedup=f"refused:{key}:{content}",
        fold="refused",
        title="Partition refused",
        text=f"{rows:,} of {of:,} rows ({share(rows, of)}) broke the data contract; {limit:.1%} are allowed.",
        detail=counts(reasons),
        does="Nothing of the partition was published, scored or trained on. The model serves on as it was.",
        needs="Mend the feed and clear the ingest run of this partition; or raise data.refuse_above if the rows are "
        "right.",
        key=key,
        links={"Data docs": docs},
    )
