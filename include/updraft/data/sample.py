"""What the contract would do to a file: a sample of the row source is ingested aside, partition by partition, and nothing of it is kept.

It is the ingestion of the DAGs with the types that the project has pinned so far, so what it says is what a delivery of this file would meet.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from updraft import files
from updraft.data import sources
from updraft.data.contract import load_contract
from updraft.data.duck import connection, first, literal, name, parquet
from updraft.data.ingest import extract_partition, publish_partition, read_checks, validate_partition
from updraft.data.partitions import Partition, end_of_history, last_begun
from updraft.data.personal_texts import told_within
from updraft.data.pinned import SchemaOf, read_schema
from updraft.data.rehearsal import deployment_aside, label_faults, rows_for_features
from updraft.data.schema import ColumnType
from updraft.data.views import hidden_columns, label_columns, private_columns
from updraft.errors import DataError, PartitionRefused, SourceMissing
from updraft.lake.places import Lake
from updraft.settings import Settings
from updraft.spec.feature_trial import try_features
from updraft.spec.model import Project

_MOMENT = timedelta(microseconds=1)
PARTITIONS = 30
"""Partitions of the sample that are tried, the newest ones."""


@dataclass(frozen=True)
class TriedPartition:
    """What ingestion would make of the sample's rows of one partition."""

    key: str
    state: str
    """``published``, ``refused``, or ``waits`` where a joined source has no file for it."""
    rows: int
    quarantined: int = 0
    published: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Rows of the sample in breach, by reason; a row may have several."""
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By broken expectation some values in breach; those of private columns as pseudonyms of this command alone."""
    refusals: tuple[str, ...] = ()
    """Why nothing of it would be published."""


@dataclass(frozen=True)
class SampleColumn:
    """How a column would be read, and what of it would be published."""

    column: str
    kind: str
    origin: str
    """``stated``, ``role`` or ``inferred``, as of a pinned type; ``new`` where this file would tell it."""
    published: str
    """``as it is``, ``as a pseudonym``, ``never`` (what is known only with the outcome), ``not read``, or ``missing`` in this file."""


@dataclass
class SampleJudged:
    """What came of a sample."""

    file: str
    rows: int = 0
    timeless: int = 0
    """Rows without a time, which are in no partition."""
    outside: int = 0
    """Rows before ``data.start`` or after ``data.end``."""
    untried: int = 0
    """Rows of older partitions than those that were tried."""
    partitions: list[TriedPartition] = field(default_factory=list)
    columns: list[SampleColumn] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What stops the file, its labels or its features as a whole."""
    notes: list[str] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        """Whether a partition would be refused."""
        return any(partition.state == "refused" for partition in self.partitions)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def judge_sample(project: Project, settings: Settings, file: str) -> SampleJudged:
    """Ingest a file aside as if the row source had delivered it: its rows decide which partitions they are in.

    :param file: path or URL of a file as the row source's are (CSV or Parquet, also packed).
    """
    url = file if "://" in file else str(Path(file).absolute())
    judged = SampleJudged(url)
    sampled = _with_source(project, url)
    with tempfile.TemporaryDirectory() as folder:
        aside = deployment_aside(settings, Path(folder))
        _copy_schema(project, settings, aside)
        try:
            tried = list(_partitions(sampled, aside, judged))
            if tried:  # of rows whose labels are still to come nothing is wrong, so that these are notes
                judged.notes += list(label_faults(sampled, aside, tried[0].key, judged.notes))
        except DataError as error:
            judged.problems.append(str(error))
            return judged
        rows = _try_all(sampled, aside, tried, judged, Path(folder))
        judged.columns += _columns(sampled, settings, aside, tried[0].key if tried else "")
        if rows is not None and not judged.problems:
            judged.problems += try_features(project.folder, rows, environment=project.environment)
    return judged


def _with_source(project: Project, url: str) -> Project:
    """The project, but that all rows of its row source come from one file."""
    source, spec = next(iter(project.spec.data.sources.items()))
    of_file: dict[str, Any] = {
        "type": "file",
        "url": url,
        "connection": None,
        "table": None,
        "query": None,
        "params": {},
        "records": "",
        "pages": None,
        "rate": None,
    }
    in_place = project.spec.data.sources | {source: spec.model_copy(update=of_file)}
    data = project.spec.data.model_copy(update={"sources": in_place})
    return project.model_copy(update={"spec": project.spec.model_copy(update={"data": data})})


def _copy_schema(project: Project, settings: Settings, aside: Settings) -> None:
    """The types that are pinned so far, and the classes, hold for the sample as for any other file."""
    pinned, own = Lake(settings.lake, project.name), Lake(aside.lake, project.name)
    copies = {pinned.schema(source): own.schema(source) for source in project.spec.data.sources}
    for url, copy in (copies | {pinned.classes: own.classes}).items():
        if files.exists(url):
            files.write_bytes(copy, files.read_bytes(url))


def _partitions(project: Project, aside: Settings, judged: SampleJudged) -> Iterator[Partition]:
    """The newest partitions that the sample has rows of, the newest first; the others' rows are counted."""
    source, spec = next(iter(project.spec.data.sources.items()))
    time, begin = name(str(spec.event_time)), datetime.combine(project.spec.data.start, datetime.min.time(), UTC)
    end = end_of_history(project.spec)
    with sources.table(project, aside.raw_zone(project.name), source, "") as path, connection([path]) as con:
        rows = parquet(str(path))
        within = f"{time} >= {literal(begin)}" + (f" AND {time} < {literal(end)}" if end else "")
        counts = first(
            con,
            f"SELECT count(*), count(*) FILTER ({time} IS NULL), count(*) FILTER ({time} IS NOT NULL AND NOT ({within})) FROM {rows}",
        )
        judged.rows, judged.timeless, judged.outside = map(int, counts)
        before = ""
        for _ in range(PARTITIONS):
            (newest,) = first(con, f"SELECT max({time}) FROM {rows} WHERE {within}{before}")
            if newest is None:
                return
            tried = last_begun(project.spec, newest.astimezone(UTC) + _MOMENT)
            yield tried
            before = f" AND {time} < {literal(tried.start)}"
        (untried,) = first(con, f"SELECT count(*) FROM {rows} WHERE {within}{before}")
        judged.untried = int(untried)


def _try_all(
    project: Project, aside: Settings, tried: list[Partition], judged: SampleJudged, folder: Path
) -> Path | None:
    """Try the partitions in their order; a file with rows of the first that would be published, for the feature function."""
    rows: Path | None = None
    for partition in reversed(tried):
        try:
            outcome, url = _try(project, aside, partition.key)
        except DataError as error:
            judged.problems.append(str(error))
            return None
        judged.partitions.append(outcome)
        if url is not None and rows is None:
            rows = rows_for_features(url, folder)
            judged.notes += told_within(files.read_parquet(str(rows)), hidden_columns(project.spec.data))
    return rows


def _try(project: Project, aside: Settings, key: str) -> tuple[TriedPartition, str | None]:
    """What becomes of one partition, and URL of what would be published of it."""
    source = next(iter(project.spec.data.sources))
    try:
        extract_partition(project, aside, key)
    except SourceMissing as error:
        return TriedPartition(key, "waits", 0, refusals=(str(error),)), None
    try:
        checks = validate_partition(project, aside, key)
    except PartitionRefused:
        checks = read_checks(project, aside, key)
    row = publish_partition(project, aside, key)
    of_rows = checks.sources[source]
    outcome = TriedPartition(
        key,
        row.state,
        of_rows.rows,
        of_rows.quarantined,
        row.rows,
        dict(of_rows.reasons),
        {check.expectation: check.examples for check in of_rows.checks if check.examples},
        tuple(checks.refusals),
    )
    return outcome, row.url if row.rows else None


def _columns(project: Project, settings: Settings, aside: Settings, key: str) -> list[SampleColumn]:
    """Each column of the sample, and those of the schema that it lacks."""
    source, spec = next(iter(project.spec.data.sources.items()))
    if not key:
        return []
    before = read_schema(Lake(settings.lake, project.name), source)
    lake = Lake(aside.lake, project.name)
    now, schema = read_schema(lake, source), SchemaOf(project, load_contract(project), source, lake)
    there = sources.columns(project, source, key)
    hidden = set(private_columns(project, source, there))
    never = {*project.spec.data.outcomes, *label_columns(project, there)}
    columns = []
    for column in there:
        kind = schema.named(column) or now.get(column)
        read = not spec.columns or kind is not None
        published = (
            "never" if column in never else "as a pseudonym" if column in hidden else "as it is" if read else "not read"
        )
        columns.append(SampleColumn(column, kind.kind if kind else "text", _origin(kind, column, before), published))
    return [
        *columns,
        *(
            SampleColumn(column, kind.kind, kind.origin, "missing")
            for column, kind in before.items()
            if column.lower() not in {name.lower() for name in there}
        ),
    ]


def _origin(kind: ColumnType | None, column: str, before: Mapping[str, ColumnType]) -> str:
    if kind is None or (kind.origin == "inferred" and column not in before):
        return "new"
    return kind.origin
