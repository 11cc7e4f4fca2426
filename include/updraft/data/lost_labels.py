"""Labels whose row is in no published partition: of a row that was published under another key, or never."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from updraft import files
from updraft.data.checks import LabelCounts
from updraft.data.columns import PARTITION, ROW
from updraft.data.duck import connection
from updraft.data.extraction import slices
from updraft.data.ingest import raw_files
from updraft.data.key_ring import Rotation, key_ring
from updraft.data.publication import Publisher
from updraft.data.views import Views, private_columns
from updraft.settings import Settings
from updraft.spec.model import Project
from updraft.store.records import IngestedPartition, PartitionRow

PRIVATE = "private"
"""Stands for the form of a private part of a key."""
_LONGEST = 40


def form_of(value: object) -> str:
    """What a part of a key looks like, without what it says: ``007`` is ``999``, ``Ab-1`` is ``Aa-9``."""
    signs = (
        "9" if sign.isdigit() else "A" if sign.isupper() else "a" if sign.isalpha() else sign for sign in str(value)
    )
    form = "".join(signs)
    return form if len(form) <= _LONGEST else form[:_LONGEST] + "…"


def count_lost(
    project: Project,
    settings: Settings,
    row: IngestedPartition,
    published: Mapping[str, PartitionRow],
    rotations: Sequence[Rotation] = (),
) -> LabelCounts:
    """What became of the labels of a partition that has just been published, with those that find no row.

    :param row: as :func:`updraft.data.ingest.publish_partition` gives it.
    :param published: partitions that are published, by key; labels of rows of other ones are not lost, but early or refused with them.
    :param rotations: of the project's key, in order.
    """
    import pandas as pd

    counts = LabelCounts(**row.checks["labels"])
    if row.labels_url is None:
        return counts
    labels = files.read_parquet(row.labels_url, row.labels_sha256, columns=[ROW, PARTITION])
    lost: dict[str, pd.Series] = {}
    for key, rows in labels.groupby(PARTITION)[ROW]:
        other = published.get(str(key))
        if other is not None and other.url is not None:
            known = files.read_parquet(other.url, other.sha256, columns=[ROW])[ROW]
            without = rows[~rows.isin(known)]
            if len(without):
                lost[str(key)] = without
    if not lost:
        return counts
    key, rows = next(iter(lost.items()))
    own = project.spec.data.key
    shown = files.read_parquet(str(published[key].url), published[key].sha256, columns=list(own)).head(1)
    return replace(
        counts,
        without_row=sum(map(len, lost.values())),
        form=_form(project, _key_of(project, settings, row.key, int(rows.iloc[0]), rotations)),
        form_of_rows=_form(project, tuple(shown.iloc[0]) if len(shown) else None),
    )


def _form(project: Project, key: tuple[object, ...] | None) -> str:
    own = project.spec.data.key
    private = private_columns(project, next(iter(project.spec.data.sources)), own)
    return ", ".join(
        PRIVATE if column in private else form_of(part) for column, part in zip(own, key or (), strict=False)
    )


def _key_of(
    project: Project, settings: Settings, key: str, row: int, rotations: Sequence[Rotation]
) -> tuple[object, ...] | None:
    with ExitStack() as stack:
        raw, _ = raw_files(stack, project, settings, key)
        con = stack.enter_context(connection(raw.values()))
        views = Views(con, project, slices(project, key))
        views.open(raw)
        return Publisher(views, key_ring(project, settings, rotations)).key_of(row)
