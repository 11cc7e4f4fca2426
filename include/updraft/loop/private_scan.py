"""After each publication: no raw private value stands in what was published, reported, told or logged of the partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from updraft import files
from updraft.alerts import outbox
from updraft.data.private_scan import MOST_BYTES, Leak, Secrets, leak_in_parquet, secrets_of
from updraft.errors import DataError
from updraft.loop.context import Loop
from updraft.store.records import IngestedPartition

_ALERTS = 20
"""The newest ones of the project that are looked at."""


def secrets_or_none(loop: Loop, key: str) -> Secrets | None:
    """What is looked for in a partition; None where no column is private."""
    if not loop.spec.data.private:
        return None
    secrets = secrets_of(loop.project, loop.settings, key)
    return secrets if secrets.cells else None


def check_written(loop: Loop, row: IngestedPartition, secrets: Secrets, *, features: str | None) -> None:
    """Refuse a partition in whose files or checks a raw private value stands, and remove these files.

    :param row: as it is about to be recorded.
    :param features: URL of its file of features.
    :raises DataError: naming file and column, and no value.
    """
    leaks = [*_in_files(loop, row, secrets, features), *_in_record(row, secrets)]
    if not leaks:
        return
    before = loop.store.partition(loop.name, row.key)
    in_use = {url for url in ((before.url, before.labels_url) if before else ()) if url is not None}
    for leak in leaks:
        if "://" in leak.place and leak.place not in in_use:
            files.remove(leak.place)
            files.remove(f"{leak.place}.sha256")
    raise _error(loop, row.key, leaks, "nothing of the partition is published, and these files are removed")


def check_told(loop: Loop, key: str, secrets: Secrets, logs: Sequence[Path] = ()) -> None:
    """The same of what on-call was told of a partition, and of files of logs.

    :raises DataError: naming the alert or the file, and no value.
    """
    leaks = [leak for leak in _in_alerts(loop, key, secrets) if leak is not None]
    for path in logs:
        if path.is_file():
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - MOST_BYTES, 0))
                leak = secrets.in_lines(str(path), file.read().decode(errors="replace"))
            leaks += [leak] if leak is not None else []
    if leaks:
        raise _error(loop, key, leaks, "the partition is published; remove what holds the value")


def _error(loop: Loop, key: str, leaks: Sequence[Leak], what_became: str) -> DataError:
    told = "; ".join(leak.words for leak in leaks)
    return DataError(
        f"{loop.name}: partition {key}: {told}: {what_became}. The value is not told here. Make the column that holds it private, leave it out, "
        "or, where the private column's values are no secret there, name it in privacy.scan.not_searched; then clear the run"
    )


def _in_files(loop: Loop, row: IngestedPartition, secrets: Secrets, features: str | None) -> Iterator[Leak]:
    quarantined = [loop.lake.quarantine(row.key, source) for source in loop.spec.data.sources]
    pairs = [f"{root}/{row.key}.parquet" for root in _pairs(loop)]
    for url in (row.url, row.labels_url, features, *quarantined, *pairs):
        if url is not None and files.exists(url) and (leak := leak_in_parquet(secrets, loop.project, url)) is not None:
            yield leak
    page = loop.lake.docs(row.key)
    if files.exists(page):
        content = files.read_bytes(page)[-MOST_BYTES:].decode(errors="replace")
        if (leak := secrets.in_lines(page, content)) is not None:
            yield leak


def _pairs(loop: Loop) -> list[str]:
    root = loop.lake.at("pseudonyms")
    return [f"{root}/{key_id}" for key_id in files.names_below(root)]


def _in_record(row: IngestedPartition, secrets: Secrets) -> Iterator[Leak]:
    for what, value in (("checks", row.checks), ("profile", row.profile)):
        if (leak := secrets.in_json(f"the {what} of the store", value)) is not None:
            yield leak


def _in_alerts(loop: Loop, key: str, secrets: Secrets) -> Iterator[Leak | None]:
    for stored in outbox.recent(loop.store.engine, loop.name, limit=_ALERTS):
        if stored.alert.key == key:
            yield secrets.in_json(f"alert {stored.alert.entry or stored.alert.kind}", asdict(stored.alert))
