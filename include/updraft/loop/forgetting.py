"""A person is forgotten: rows leave everything that Updraft keeps of a project, by writing files anew without them.

First it is decided, with the mark of the person; from then on ingestion leaves the rows out. Then each partition is written anew: the new files
are there before a decision names them beside the hashes of the old ones, the store follows, and the old files go. The published partition is the last
to change, as its rows tell which others are meant: killed anywhere, the same command goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.data import docs
from updraft.data.checks import Checks
from updraft.data.columns import PARTITION, ROW
from updraft.data.extraction import slices
from updraft.data.forgotten import mark_of, marks_of, of_persons
from updraft.data.key_ring import MADE, marker
from updraft.data.snapshots import forget_content
from updraft.data.views import private_columns
from updraft.errors import InputError
from updraft.lock import exclusive
from updraft.loop.context import Loop
from updraft.loop.forgotten import FORGET, REWRITTEN
from updraft.loop.rotated import keys_of, rotations
from updraft.monitoring.profiles import profile
from updraft.store.records import IngestedPartition

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Replaced:
    """A file that was written anew without a person."""

    what: str
    """``partition``, ``labels``, ``predictions`` or ``features``, with the partition or the role."""
    url: str
    """Of the old file."""
    was: str
    """SHA-256 of the old file."""
    md5: str
    """Of the old file: under it DVC keeps its copies."""
    becomes: str | None
    """SHA-256 of the new file; None where nothing takes its place before it is needed."""


@dataclass(frozen=True)
class Forgotten:
    """What became of, or would become of, the rows of some persons."""

    project: str
    column: str
    persons: int
    partitions: tuple[str, ...]
    rows: int
    labels: int
    predictions: int
    quarantined: int
    versions: tuple[str, ...]
    """Versions that learnt from these partitions: nothing takes that out of a model."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def forget(loop: Loop, column: str, values: Sequence[str], *, by: str, reason: str, dry_run: bool = False) -> Forgotten:
    """Forget the persons whose rows have one of some values in a column of the row source; run again, it goes on where it was.

    :param column: as the row source has it; private or not, it has to be published, which an outcome is not.
    :param dry_run: whether rows are counted, and nothing is written.
    :raises InputError: when no published partition has the column.
    """
    forgetting = _Forgetting(loop, column, frozenset(values))
    forgetting.check()
    if dry_run:
        return forgetting.counted()
    with exclusive(loop.lake.at("quarantine")):  # who settles rows in quarantine reads the raw zone too
        marks = marker(loop.name, loop.settings)
        for value in values:
            mark = mark_of(marks, column, value)
            body = {"column": column, "mark": mark, "by": by, "reason": reason, **MADE}
            newest = loop.store.newest_partition(loop.name, state=None) or ""
            loop.store.decide(loop.name, key=newest, kind=FORGET, subject=f"{column[:60]} {mark}", body=body)
        told = forgetting.counted()
        forgetting.carry_out()
    return told


@dataclass(frozen=True)
class _Forgetting:
    loop: Loop
    column: str
    values: frozenset[str]

    def check(self) -> None:
        """:raises InputError: when nothing published has the column."""
        newest = self.loop.store.newest_partition(self.loop.name)
        if newest is None:
            raise InputError(f"{self.loop.name}: no partition is published yet; remove the rows from the source")
        row = self.loop.published(newest)
        columns = list(files.read_parquet(str(row.url), row.sha256).columns)
        if self.column not in columns:
            named = ", ".join(name for name in columns if not name.startswith("_"))
            raise InputError(
                f"{self.loop.name}: column {self.column!r} is not published, so it tells nobody's rows; there are {named}"
            )

    @cached_property
    def published_values(self) -> frozenset[str]:
        """The values as they stand in what is published: pseudonyms of every key that is left."""
        source = next(iter(self.loop.spec.data.sources))
        if self.column not in private_columns(self.loop.project, source, [self.column]):
            return self.values
        rings = keys_of(self.loop).all
        return frozenset(str(pseudonyms.pseudonym(self.column, value)) for pseudonyms in rings for value in self.values)

    def counted(self) -> Forgotten:
        """What would leave."""
        store, name, keys = self.loop.store, self.loop.name, []
        rows = labels = predictions = 0
        for key, gone in self._affected():
            keys.append(key)
            rows += len(gone)
            labels += sum(len(self._labels_of(frame, key, gone)) for _, frame in self._label_frames(key))
            for made in store.predictions(name, key).values():
                predictions += int(files.read_parquet(made.url, made.sha256)[ROW].isin(gone).sum())
        quarantined = sum(
            int(of_persons(frame[self.column], self.published_values).sum()) for _, frame in self._quarantined()
        )
        learnt = {*keys, *self._rewritten_before()}
        versions = tuple(
            training.version
            for training in store.trainings(name)
            if training.version is not None and learnt & set(training.result.get("window", ()))
        )
        return Forgotten(
            name, self.column, len(self.values), tuple(sorted(learnt)), rows, labels, predictions, quarantined, versions
        )

    def carry_out(self) -> None:
        """Write everything anew that holds a row of theirs, and remove what held it."""
        for key, gone in self._affected():
            self._rewrite(key, gone)
        for decision in self.loop.store.decisions(self.loop.name, kinds=(REWRITTEN,)):  # of a run that was killed, too
            self._remove_old([Replaced(**replaced) for replaced in decision.body["replaced"]])
        for url, frame in self._quarantined():
            kept = frame[~of_persons(frame[self.column], self.published_values)]
            if len(kept) < len(frame):
                files.write_parquet(url, kept)
        self._scrub_examples()
        for url, frame in self._pairs():
            kept = frame[~frame["after"].isin(self.published_values)]
            if len(kept) < len(frame):
                files.write_parquet(url, kept)
        lake, settings = self.loop.lake, self.loop.settings
        for url in (
            settings.raw_zone(self.loop.name),
            settings.of_backtests().raw_zone(self.loop.name),
            f"{settings.of_backtests().lake}/{self.loop.name}",
        ):
            files.remove(url)  # copies of sources: what is still needed is made again, without them
        for key in self._rewritten_before():
            files.remove(lake.report(key).rsplit("/", 1)[0])

    def _affected(self) -> Iterator[tuple[str, frozenset[int]]]:
        """Published partitions with rows of theirs, and the rows, in order."""
        for row in self.loop.store.partitions(self.loop.name):
            frame = (
                files.read_parquet(str(row.url), row.sha256, columns=[ROW, self.column])
                if self._has_column(row.url)
                else None
            )
            if frame is None:
                continue
            gone = frame[ROW][of_persons(frame[self.column], self.published_values)]
            if len(gone):
                yield row.key, frozenset(map(int, gone))

    def _has_column(self, url: str | None) -> bool:
        import pyarrow.parquet

        with files.fetched(str(url)) as path:
            return self.column in pyarrow.parquet.read_schema(path).names

    def _rewritten_before(self) -> list[str]:
        """Partitions from which the rows of these persons were taken, now or by a run that was killed."""
        kept = marker(self.loop.name, self.loop.settings)
        marks = {mark for value in self.values for mark in marks_of(kept, self.column, value)}
        decisions = self.loop.store.decisions(self.loop.name, kinds=(REWRITTEN,))
        return [decision.body["partition"] for decision in decisions if marks & set(decision.body["marks"])]

    def _label_frames(self, key: str) -> Iterator[tuple[IngestedPartition, pd.DataFrame]]:
        """The files of labels that may hold those of a partition's rows."""
        for row in self.loop.store.partitions(self.loop.name, since=key, state=None):
            if all(part.key != key for part in slices(self.loop.project, row.key)):
                return
            whole = self.loop.store.partition(self.loop.name, row.key)
            if whole is not None and whole.labels_url is not None:
                yield whole, files.read_parquet(whole.labels_url, whole.labels_sha256)

    @staticmethod
    def _labels_of(frame: pd.DataFrame, key: str, gone: frozenset[int]) -> pd.DataFrame:
        return frame[(frame[PARTITION].astype(str) == key) & frame[ROW].isin(gone)]

    def _rewrite(self, key: str, gone: frozenset[int]) -> None:
        """Write a partition, its labels and its predictions without some rows."""
        loop, store, name = self.loop, self.loop.store, self.loop.name
        replaced: list[Replaced] = []
        labels: list[IngestedPartition] = []
        for row, frame in self._label_frames(key):
            kept = frame.drop(self._labels_of(frame, key, gone).index)
            if len(kept) < len(frame):
                url, sha256 = files.write_parquet_named_by_content(loop.lake.labels_stem(row.key), kept)
                replaced.append(_replaced(f"labels {row.key}", str(row.labels_url), sha256))
                labels.append(replace(row, labels_url=url, labels_sha256=sha256))
        predictions = []
        for role, made in store.predictions(name, key).items():
            frame = files.read_parquet(made.url, made.sha256)
            kept = frame[~frame[ROW].isin(gone)]
            if len(kept) < len(frame):
                stem = loop.lake.predictions_stem(key, role, made.version)
                url, sha256 = files.write_parquet_named_by_content(stem, kept)
                replaced.append(_replaced(f"predictions {role}", made.url, sha256))
                predictions.append(replace(made, url=url, sha256=sha256, rows=len(kept)))
        before = store.partition(name, key)
        assert before is not None
        frame = files.read_parquet(str(before.url), before.sha256)
        kept = frame[~frame[ROW].isin(gone)]
        url, sha256 = files.write_parquet_named_by_content(loop.lake.rows_stem(key), kept)
        replaced.append(_replaced("partition", str(before.url), sha256))
        replaced += [_replaced("features", features, None) for features in self._features(key, before.sha256)]
        self._decide(key, replaced, len(gone))
        for row in labels:
            store.record_partition(name, row)
        for made in predictions:
            store.replace_predictions(name, made)
        now = store.partition(name, key) or before  # its labels may be among those that were replaced
        after = replace(now, url=url, sha256=sha256, rows=len(kept))
        features_sha256 = loop.features.sha256
        summary = profile(files.read_parquet(*loop.features_file(after)))
        store.follow_content(name, key, str(before.sha256), sha256)
        store.record_partition(name, replace(after, profile={"features_sha256": features_sha256, **summary.as_dict()}))

    def _features(self, key: str, sha256: str | None) -> Iterator[str]:
        """Files of features of a partition's old content, by whichever feature function."""
        root = self.loop.lake.at("features")
        for code in files.names_below(root):
            url = f"{root}/{code}/{key}-{(sha256 or '')[:8]}.parquet"
            if files.exists(url):
                yield url

    def _decide(self, key: str, replaced: Iterable[Replaced], rows: int) -> None:
        """The chain keeps that files were written anew, with the hashes of both: what was recorded of the old ones stays provable."""
        kept = marker(self.loop.name, self.loop.settings)
        marks = sorted(mark_of(kept, self.column, value) for value in self.values)
        body = {
            "partition": key,
            "marks": marks,
            "rows": rows,
            "replaced": [asdict(file) for file in replaced],
        }
        subject = f"{key} {files.canonical_hash([body['replaced'], marks])[:32]}"
        newest = self.loop.store.newest_partition(self.loop.name, state=None) or key
        self.loop.store.decide(self.loop.name, key=newest, kind=REWRITTEN, subject=subject, body=body)

    def _remove_old(self, replaced: Sequence[Replaced]) -> None:
        for file in replaced:
            files.remove(file.url)
            files.remove(f"{file.url}.sha256")
            forget_content(self.loop.settings, self.loop.name, md5=file.md5, sha256=file.was)

    def _quarantined(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Files of rows in quarantine that have the column."""
        root = self.loop.lake.at("quarantine")
        for key in files.names_below(root):
            for source in self.loop.spec.data.sources:
                url = self.loop.lake.quarantine(key, source)
                if files.exists(url) and self.column in (frame := files.read_parquet(url)).columns:
                    yield url, frame

    def _pairs(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Files that say which pseudonym was which before a rotation."""
        for rotation in rotations(self.loop):
            root = self.loop.lake.pseudonym_pairs_of(rotation.before)
            for file in files.names_below(root):
                yield f"{root}/{file}", files.read_parquet(f"{root}/{file}")

    def _scrub_examples(self) -> None:
        """Examples of values in breach are shown to people, and kept with the checks of a partition: theirs go."""
        row_source = next(iter(self.loop.spec.data.sources))
        for row in self.loop.store.partitions(self.loop.name, state=None):
            whole = self.loop.store.partition(self.loop.name, row.key)
            if whole is None or not whole.checks.get("sources"):
                continue
            checks = Checks.from_dict(whole.checks)
            scrubbed = checks.without_examples(self.values | self.published_values)
            if scrubbed != checks:
                docs.write(self.loop.lake, scrubbed, row_source=row_source)
                self.loop.store.record_partition(self.loop.name, replace(whole, checks=scrubbed.to_dict()))


def _replaced(what: str, url: str, becomes: str | None) -> Replaced:
    content = files.read_bytes(url)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Replaced(what, url, files.sha256(content), digest, becomes)
