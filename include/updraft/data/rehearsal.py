"""A project's first steps before anything is started: one partition is ingested aside, its labels looked at, its features tried.

It is the ingestion of the DAGs, in a lake that goes with the rehearsal. So what it says of a file, a column or a row is what the DAGs
would say later, and features are tried on rows as they are published: joined, without outcomes, with pseudonyms.
"""

# ruff: noqa: S608  -- SQL is composed of names and values that data/duck.py has quoted
from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.data import sources
from updraft.data.cleaning import cleaned_rows
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, ROW
from updraft.data.duck import attempt, connection, kind_of, literal, name, parquet
from updraft.data.figures import evaluate_figures, scored_table
from updraft.data.file_reading import LARGEST
from updraft.data.ingest import extract_partition, publish_partition, validate_partition
from updraft.data.leakage import later_times, leaks, sentences
from updraft.data.mentions import some_keys
from updraft.data.partitions import partitions
from updraft.data.personal_texts import told_within
from updraft.data.readers.location import is_there, local_bytes, url_of
from updraft.data.vectors import as_cells
from updraft.data.views import CLOCKS, hidden_columns
from updraft.errors import DataError, PartitionRefused, SourceAway, TrainingError
from updraft.settings import Settings
from updraft.spec.data import LAST_DAY, LONGEST_CLASS, Label
from updraft.spec.feature_source import names_in
from updraft.spec.feature_trial import ROWS, SECONDS, try_features
from updraft.spec.figure import path_of
from updraft.spec.label import label_number, read_label
from updraft.spec.load import spec_document
from updraft.spec.model import Project
from updraft.tasks.registry import task_names
from updraft.tasks.task_type import TaskType

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    from numpy.typing import NDArray

LAST = datetime.combine(LAST_DAY, datetime.min.time(), UTC)
"""Where the first partitions of an open history are looked for."""
_CENTURY = timedelta(days=36500)
_SHOWN = 5
"""Labels, or classes, that are named."""
ENOUGH = 2_000
"""Labels of some partitions among which one class only is a mistake rather than a rare event."""


@dataclass
class Rehearsal:
    """What came of it."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be tried, and why."""


def rehearse(project: Project, settings: Settings, *, seconds: float = SECONDS) -> Rehearsal:
    """Try a sound project on one of its partitions; nothing is kept.

    :param seconds: that the feature function may take.
    """
    came_of_it = Rehearsal()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        aside = deployment_aside(settings, home)
        rows: Path | None = None
        try:
            if not (keys := _keys_with_files(project)):
                came_of_it.notes.append("features and labels are not tried: no partition has its files yet")
            elif (too_large := _too_large(project, keys[0])) is not None:
                came_of_it.notes.append(f"features and labels are not tried: {too_large}")
            else:
                came_of_it.problems += label_faults(project, aside, keys[0], came_of_it.notes)
                came_of_it.problems += _of_clusters(project, aside)
                if not came_of_it.problems:
                    came_of_it.problems += _of_columns(
                        project, aside, list(dict.fromkeys([keys[0], keys[-1]])), came_of_it.notes
                    )
                if not came_of_it.problems:
                    rows = _rows_of_one(project, aside, keys, home, came_of_it.notes)
        except SourceAway as error:
            came_of_it.notes.append(f"features and labels are not tried: {error}")
        except DataError as error:
            came_of_it.problems.append(str(error))
        if rows is not None:
            came_of_it.problems += _of_figures(project, rows)
        elif project.spec.monitoring.figures and not came_of_it.problems:
            came_of_it.notes.append("monitoring.figures are parsed and not tried: there are no rows to try them on")
        came_of_it.problems += try_features(project.folder, rows, seconds=seconds, environment=project.environment)
    return came_of_it


def deployment_aside(settings: Settings, home: Path) -> Settings:
    """A deployment of files alone in a folder that goes with what is tried there: with keys of its own, and nothing of the real one's."""
    return replace(
        settings,
        home=home,
        lake=f"file://{home / 'lake'}",
        raw="",
        store="",
        mlflow="",
        airflow="",
        audit="",
        pseudonym_connection="",
    )


def _too_large(project: Project, key: str) -> str | None:
    for source_name, source in project.spec.data.sources.items():
        if source.type != "file":
            continue
        url = url_of(project, source_name, key)
        if files.is_local(url) and local_bytes(url, source=source_name) > LARGEST:
            return f"source {source_name}: {source.url} has more than {LARGEST // 2**20} MiB"
    return None


def _keys_with_files(project: Project) -> list[str]:
    """Some of the first and last partitions: those of which every source has its file."""
    with_files = [source_name for source_name, source in project.spec.data.sources.items() if source.type == "file"]
    return [
        key for key in some_keys(project.spec) if all(is_there(project, source_name, key) for source_name in with_files)
    ]


def label_faults(project: Project, aside: Settings, key: str, notes: list[str]) -> Iterator[str]:
    """What is wrong with the labels of the row source's file, which is that of the partition or of all of them.

    :param notes: takes what may be as it should.
    """
    import numpy as np

    spec = project.spec
    source, at = next(iter(spec.data.sources.items()))
    read_by = read_label(spec.data.label.expr)
    if read_by.wrong or not read_by.names:
        return  # told of the expression itself
    whole = at.type == "file" and not at.has_file_each
    expr, number = spec.data.label.expr, label_number(spec.data.label, lenient=True)
    extracted = extract_partition(_with_all_rows(project) if whole else project, aside, key)
    path = files.local_path(extracted.sources[source].url)
    with connection([path]) as con:
        table = cleaned_rows(con, project, source, path)
        line = spec_document(project.folder, project.environment).problem
        path_of_label = ("data", "label", "expr")

        def told(message: str) -> str:
            return str(line(path_of_label, f"{message} (source {source}: {at.place.replace('{key}', key)})", expr))

        query = (
            f"SELECT l, l IS NULL AND NOT missing AS text FROM "
            f"(SELECT {number} AS l, (\n{expr}\n) IS NULL AS missing FROM {table})"
        )
        rows = attempt(
            lambda: con.execute(query).fetchnumpy(),
            lambda error: DataError(told(f"cannot be evaluated: {kind_of(error)}")),
        )
        if spec.data.label.classes:
            of_classes = _LabelsOfClasses.counted(con, spec.data.label, table)
            notes += [told(message) for message in of_classes.notes(spec.data.refuse_above)]
            if problem := of_classes.problem(spec.data.refuse_above):
                yield told(problem)
                return
    texts, label = int(rows["text"].sum()), np.ma.compressed(np.ma.asarray(rows["l"], np.float64))
    if spec.data.label.classes:  # any text may be one, and what is none has been told
        texts, label = 0, label[np.isfinite(label)]
    looked_at = len(rows["text"])
    if texts:
        yield told(
            f"gives text that is no number in {texts:,} of {looked_at:,} rows; write what is to be learnt as a comparison, such as "
            "column = 'Y', or name its classes in data.label.classes, with a task that takes them"
        )
    elif not len(label):
        if looked_at and whole:
            yield told(f"gives no label in any of {looked_at:,} rows; is it the right column?")
    elif not _suits(spec.task_type, label):
        yield told(
            f"gives labels that are none of task {spec.task} (its labels are {len(np.unique(label)):,} different numbers); write a comparison, "
            f"such as column = 2, or the task that is meant: {', '.join(task_names())}"
        )
    elif (label == label[0]).all() and (whole or len(label) >= ENOUGH):
        yield told(
            f"gives the same label in all of {len(label):,} rows that have one, so there is nothing to learn; is it the right column, "
            "and the right value?"
        )


@dataclass(frozen=True)
class _LabelsOfClasses:
    """The labels of a file against ``data.label.classes``."""

    labelled: int
    unlisted: int
    """Rows whose label is none of the classes."""
    examples: tuple[str, ...]
    """Some such labels, the most frequent first."""
    absent: tuple[str, ...]
    """Classes without a row."""

    @classmethod
    def counted(cls, con: duckdb.DuckDBPyConnection, label: Label, table: str) -> _LabelsOfClasses:
        labels = f"(SELECT {label_number(label)} AS l, CAST((\n{label.expr}\n) AS VARCHAR) AS v FROM {table})"
        [(labelled, unlisted)] = con.execute(f"SELECT count(l), count(*) FILTER (isinf(l)) FROM {labels}").fetchall()
        positions = con.execute(f"SELECT DISTINCT l FROM {labels} WHERE isfinite(l)").fetchall()
        seen = {int(position) for (position,) in positions}
        examples = con.execute(
            f"SELECT v FROM {labels} WHERE isinf(l) GROUP BY v ORDER BY count(*) DESC, v LIMIT {_SHOWN + 1}"
        ).fetchall()
        absent = tuple(name for position, name in enumerate(label.classes) if position not in seen)
        return cls(labelled, unlisted, tuple(value for (value,) in examples), absent)

    def problem(self, refuse_above: float) -> str | None:
        """What is wrong, as the end of a sentence: more labels are of no class than a project puts up with."""
        return (
            f"{self._of_none()}; add them, or let expr put them under a class" if self._share > refuse_above else None
        )

    def notes(self, refuse_above: float) -> Iterator[str]:
        """What may be as it should, as ends of sentences."""
        if 0 < self._share <= refuse_above:
            yield f"{self._of_none()}; such rows are left out and counted"
        if self.absent and self.labelled > self.unlisted:
            yield f"gives no row of the class {_some(self.absent)}; until there are some, a model takes it for nearly impossible"

    @property
    def _share(self) -> float:
        return self.unlisted / self.labelled if self.labelled else 0.0

    def _of_none(self) -> str:
        return f"gives labels that are none of data.label.classes in {self.unlisted:,} of {self.labelled:,} rows: {_some(self.examples)}"


def _some(names: tuple[str, ...]) -> str:
    """The first few of some names, each cut where it is long."""
    shown = [repr(name if len(name) <= LONGEST_CLASS else f"{name[:LONGEST_CLASS]}…") for name in names[:_SHOWN]]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")


def _with_all_rows(project: Project) -> Project:
    """The project, but that labels mature so late that a partition's extract holds every row before it, each column of its type."""
    return _with_maturity(project, _CENTURY)


def _with_maturity(project: Project, matures_after: timedelta) -> Project:
    label = project.spec.data.label.model_copy(update={"matures_after": matures_after})
    data = project.spec.data.model_copy(update={"label": label})
    return project.model_copy(update={"spec": project.spec.model_copy(update={"data": data})})


def _of_clusters(project: Project, aside: Settings) -> Iterator[str]:
    """Whether the first model would learn from one unit of evidence, where a column of one file of all partitions says what that is."""
    spec = project.spec
    source, at = next(iter(spec.data.sources.items()))
    first = list(itertools.islice(partitions(spec, LAST), spec.training.first_after))
    if spec.release.cluster in CLOCKS or at.type != "file" or at.has_file_each or at.event_time is None or not first:
        return
    with sources.table(project, aside.raw_zone(project.name), source, "") as path, connection([path]) as con:
        query = (
            f"SELECT count(*), count(DISTINCT {name(spec.release.cluster)}) FROM {parquet(str(path))} "
            f"WHERE {name(at.event_time)} < {literal(first[-1].tick)}"
        )
        [(rows, clusters)] = attempt(
            lambda: con.execute(query).fetchall(),
            lambda error: DataError(f"source {source}: {at.url}: {kind_of(error)}"),
        )
    if rows and clusters <= 1:
        yield str(
            spec_document(project.folder, project.environment).problem(
                ("training", "first_after"),
                f"lets the first model learn and be judged within one value of {spec.release.cluster} (release.cluster), which is one "
                f"piece of evidence (source {source}: {at.url}, until {first[-1].key}); raise it, or choose another cluster",
                spec.training.first_after,
            )
        )


def _suits(task: TaskType, label: NDArray[np.float64]) -> bool:
    """Whether these are labels of the task; one class alone is."""
    try:
        task.label_totals(label)
    except TrainingError:
        return False
    return True


def _rows_of_one(project: Project, aside: Settings, keys: list[str], folder: Path, notes: list[str]) -> Path | None:
    """A file with rows of the first partition that has some and keeps the contract; of those before it, a note says why not."""
    for key in keys:
        try:
            path = _published(project, aside, key, folder)
        except PartitionRefused as error:
            notes += [line.strip() for line in str(error).splitlines()[:-1]]
            continue
        if path is not None:
            return path
    notes.append(f"features are not tried: no partition of {', '.join(keys)} has rows that keep the contract")
    return None


def _published(project: Project, aside: Settings, key: str, folder: Path) -> Path | None:
    """A file with some rows of a partition as the feature function gets them; None when it has no rows."""
    extract_partition(project, aside, key)
    validate_partition(project, aside, key)
    row = publish_partition(project, aside, key)
    if row.url is None or not row.rows:
        return None
    return rows_for_features(row.url, folder)


def _of_columns(project: Project, aside: Settings, keys: list[str], notes: list[str]) -> Iterator[str]:
    """Columns that features.py reads and that tell the label as nothing does that is known before it; of the partitions that are tried.

    :param notes: takes the columns that hold what looks like texts of persons.
    """
    import numpy as np
    import pandas as pd

    spec = project.spec
    now = _with_maturity(
        project, timedelta(seconds=1)
    )  # so that a partition's own tick publishes the labels that its file has
    frames = {}
    for key in keys:
        try:
            extract_partition(now, aside, key)
            validate_partition(now, aside, key)
        except PartitionRefused:
            continue
        row = publish_partition(now, aside, key)
        if row.url is not None and row.labels_url is not None:
            labels = files.read_parquet(row.labels_url)[[ROW, LABEL]]
            frames[key] = files.read_parquet(row.url).merge(labels, on=ROW, how="left")
    if not frames:
        return
    rows = pd.concat(list(frames.values()), ignore_index=True)
    notes += told_within(rows, hidden_columns(spec.data))
    named = names_in(project.folder)
    if pseudonyms := sorted(hidden_columns(spec.data) & named & set(rows.columns)):
        notes.append(
            f"features.py reads {', '.join(pseudonyms)}, whose values are pseudonyms (data.private): a feature that is one changes its values "
            "when the key is rotated, and a model that learnt from it meets values that it never saw; a count by it stays"
        )
    source = spec.data.sources[next(iter(spec.data.sources))]
    columns = rows[[column for column in rows.columns if column in named and column != source.event_time]]
    partition = np.repeat(list(frames), [len(frame) for frame in frames.values()])
    told = later_times(columns, rows[EVENT_TIME])
    told |= leaks(columns, rows[LABEL].to_numpy(float), spec.task, partition=partition)
    yield from sentences(told, spec.data.not_leaks)


def rows_for_features(url: str, folder: Path) -> Path:
    """A file with some rows of a published partition as the feature function gets them."""
    rows = files.read_parquet(url).drop(columns=[ROW, EVENT_TIME, CLUSTER])
    path = folder / "rows.parquet"
    rows.head(ROWS).to_parquet(path)
    return path


def _of_figures(project: Project, rows: Path) -> Iterator[str]:
    """What is wrong with ``monitoring.figures`` on some published rows, with a score and a label that are made up.

    :param rows: file of the rows, as the feature function gets them.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    figures, classes = project.spec.monitoring.figures, project.spec.data.label.classes
    if not figures:
        return
    table = pq.read_table(rows)
    row = pd.Series(np.arange(len(table), dtype=np.uint64))
    score = as_cells(np.full((len(table), len(classes)), 1 / len(classes)) if classes else np.full(len(table), 0.5))
    evaluated = evaluate_figures(
        {name: figure.expr for name, figure in figures.items()},
        table.append_column(ROW, pa.array(row.to_numpy())),
        scored_table(row, np.zeros(len(table)), pd.Series(score), classes),
        classes,
    )
    document = spec_document(project.folder, project.environment)
    for figure, outcome in evaluated.items():
        if outcome.failed:
            yield str(document.problem(path_of(document, figure), str(outcome.why), figures[figure].expr))
