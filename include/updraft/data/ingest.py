"""Ingestion of one partition in three idempotent steps: extract, validate, publish.

The raw zone (``<lake>/<project>/raw``, or a URL of its own) holds private values in clear. What leaves it (partitions, labels, quarantine,
data docs, checks) holds pseudonyms. Killed anywhere, a step is run again: every object is written whole, under a
name that its content or its key decides, and ``checks.json`` is written after everything that it speaks of.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import docs
from updraft.data.checks import Checks
from updraft.data.contract import load_contract
from updraft.data.duck import arrow, connection, parquet, without_values
from updraft.data.extraction import (
    Extracted,
    ExtractedSource,
    extract_partition,
    raw_url,
    read_not_read,
    slices,
)
from updraft.data.key_ring import Rotation, key_ring
from updraft.data.pinned import keep_classes
from updraft.data.publication import Publisher, parquet_bytes, quarantine, write_pairs, write_table
from updraft.data.settled import NOTHING_SETTLED, SettledRows
from updraft.data.validation import Validator
from updraft.data.views import Views
from updraft.errors import DataError, PartitionRefused
from updraft.lake.places import Lake
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Checks",
    "Extracted",
    "ExtractedSource",
    "extract_partition",
    "publish_partition",
    "read_checks",
    "read_partition",
    "validate_partition",
]


@without_values
def validate_partition(
    project: Project,
    settings: Settings,
    key: str,
    settled: SettledRows = NOTHING_SETTLED,
    rotations: Sequence[Rotation] = (),
) -> Checks:
    """Hold the extracted sources against the contract; quarantine rows in breach, write data docs and ``checks.json``.

    Quarantine: ``<lake>/<project>/quarantine/<key>/<source>.parquet``, with ``_reasons``. Data docs:
    ``<lake>/<project>/docs/<key>/index.html``. A partition without rows passes as ``empty``.

    :param settled: rows in breach of which a person has decided.
    :param rotations: of the project's key, in order.
    :raises PartitionRefused: a table expectation fails, or too many rows are in breach; what was found is written.
    :raises SpecError: the contract is wrong.
    :raises DataError: the partition has not been extracted.
    """
    covered = slices(project, key)  # a wrong key writes nothing, not even the pseudonym key's id
    contract = load_contract(project)
    ring = key_ring(project, settings, rotations)
    with ExitStack() as stack:
        raw, digests = raw_files(stack, project, settings, key)
        con = stack.enter_context(connection(raw.values()))
        views = Views(con, project, covered)
        views.open(raw)
        checks = Validator(views, contract, ring, read_not_read(project, settings, key), settled).run(
            tuple(raw), digests
        )
        cleaned = {source: views.cleaned(source, path) for source, path in raw.items()}
        checks = replace(
            checks,
            pseudonym_key=ring.of(key).key_id if project.spec.data.private else "",
            sources={
                source: replace(of_source, cleaned=cleaned[source]) for source, of_source in checks.sources.items()
            },
        )
        lake = Lake(settings.lake, project.name)
        for source in raw:
            bad = arrow(con, f'SELECT * FROM "bad_{source}" ORDER BY _n')
            files.write_bytes(raw_url(project, settings, key, f"{source}.bad.parquet"), parquet_bytes(bad))
            url = lake.quarantine(key, source)
            if checks.sources[source].quarantined:
                files.write_bytes(url, parquet_bytes(quarantine(views, source, ring)))
            else:
                files.remove(url)  # of an earlier run, before the source or the contract was mended
    docs.write(lake, checks, row_source=next(iter(project.spec.data.sources)))
    files.write_json(raw_url(project, settings, key, "checks.json"), checks.to_dict())
    if checks.state == "refused":
        reasons = "\n  ".join(checks.refusals)
        raise PartitionRefused(
            f"{project.name}: partition {key} is refused, nothing of it is published:\n  {reasons}\n"
            f"See {lake.docs(key)}. Mend the source, and clear the run, so that it is read again; "
            f"or the contract in {project.folder}, and clear the task."
        )
    return checks


@without_values
def publish_partition(
    project: Project, settings: Settings, key: str, rotations: Sequence[Rotation] = ()
) -> IngestedPartition:
    """Join, pseudonymise and publish the good rows, and the labels that matured in (previous tick, tick]; without a profile.

    A partition that was refused or is empty publishes no rows; earlier rows' labels still mature at its tick.

    :param rotations: of the project's key, in order.
    :raises DataError: it has not been validated since it was extracted, or since the key was rotated.
    """
    covered = slices(project, key)
    checks = read_checks(project, settings, key)
    lake = Lake(settings.lake, project.name)
    ring = key_ring(project, settings, rotations)
    if checks.pseudonym_key and checks.pseudonym_key != ring.of(key).key_id:
        raise DataError(
            f"{project.name}: the pseudonym key was rotated after partition {key} was validated; validate it"
        )
    url, digest, rows, labels_url, labels_sha256 = None, None, 0, None, None
    with ExitStack() as stack:
        raw, digests = raw_files(stack, project, settings, key)
        if digests != dict(checks.raw):
            raise DataError(f"{project.name}: partition {key} was extracted again after its validation; validate it")
        bad = {
            source: stack.enter_context(files.fetched(raw_url(project, settings, key, f"{source}.bad.parquet")))
            for source in raw
        }
        con = stack.enter_context(connection([*raw.values(), *bad.values()]))
        views = Views(con, project, covered)
        views.open(raw)
        for source, path in bad.items():
            views.mark(source, f"SELECT * FROM {parquet(str(path))}")
        publisher = Publisher(views, ring)
        keep_classes(project, lake)
        if checks.state == "passed":
            table = publisher.rows()
            rows = len(table)
            if (before := ring.before(key)) is not None:
                write_pairs(lake.pseudonym_pairs(before.key_id, key), publisher.pairs(before))
            url, digest = write_table(lake.rows_stem(key), table)
        labels, counts = publisher.labels()
        if len(labels):
            labels_url, labels_sha256 = write_table(lake.labels_stem(key), labels)
    return IngestedPartition(
        key=key,
        state="published" if checks.state == "passed" else checks.state,
        url=url,
        sha256=digest,
        rows=rows,
        quarantined=checks.quarantined,
        labels_url=labels_url,
        labels_sha256=labels_sha256,
        checks=replace(checks, labels=counts).to_dict(),
        profile=None,
    )


def read_checks(project: Project, settings: Settings, key: str) -> Checks:
    """The checks of a partition.

    :raises DataError: when it has not been validated.
    """
    try:
        return Checks.from_dict(files.read_json(raw_url(project, settings, key, "checks.json")))
    except FileNotFoundError:
        raise DataError(f"{project.name}: partition {key} has not been validated; run validate_partition") from None


def read_partition(url: str) -> pd.DataFrame:
    """The rows of a published partition or labels file, by its URL.

    :raises DataError: when it is not there.
    """
    try:
        return files.read_parquet(url)
    except FileNotFoundError:
        raise DataError(f"no partition {url}; ingest it again") from None


def raw_files(
    stack: ExitStack, project: Project, settings: Settings, key: str
) -> tuple[dict[str, Path], dict[str, str]]:
    """Local paths of the raw files and their SHA-256."""
    paths, digests = {}, {}
    for source in project.spec.data.sources:
        url = raw_url(project, settings, key, f"{source}.parquet")
        if not files.exists(url):
            raise DataError(f"{project.name}: partition {key}: source {source} has not been extracted ({url})")
        paths[source] = stack.enter_context(files.fetched(url))
        digests[source] = files.sha256(paths[source].read_bytes())
    return paths, digests
