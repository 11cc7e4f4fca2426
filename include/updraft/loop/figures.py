"""Business figures of the partitions whose labels are all known from a tick on."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from updraft import files
from updraft.data.columns import LABEL, ROW, SCORE
from updraft.data.figures import scored_table
from updraft.data.partitions import KEY_FORMAT, keys_before, last_begun, tick_of
from updraft.errors import Transient
from updraft.loop.context import Loop
from updraft.loop.labelled import matured
from updraft.monitoring.figures import compute_figures
from updraft.spec.figure import read_figure
from updraft.store.records import FiguresRow, PredictionRow

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)


def record_figures(loop: Loop, key: str, as_of: str) -> tuple[FiguresRow, ...]:
    """Compute and record the figures of the partitions that :func:`completed_by` names, each once: what was recorded stays.

    One that nobody scored has none.

    :param key: of the tick; :param as_of: of the newest tick that was monitored, this one or a later one.
    """
    rows = []
    for target in completed_by(loop, key, as_of):
        prediction = loop.store.predictions(loop.name, target).get("champion")
        if prediction is None:
            continue
        try:
            row = _of_partition(loop, prediction, as_of)
        except Transient:
            raise
        except Exception:  # a damaged file, no memory: what is decided at this tick does not wait for a figure
            log.exception(
                "%s: business figures of %s could not be computed; clear this task to try again", loop.name, target
            )
            continue
        rows.append(loop.store.record_figures(loop.name, row))
    return tuple(rows)


def completed_by(loop: Loop, key: str, as_of: str) -> list[str]:
    """The published partitions all of whose labels are known with the tick of ``key``, in order.

    Every tick at which labels of theirs mature has been ingested, the last of them since the published partition before this tick. One that was
    refused brings labels as well, but `monitor` does not run there; one that comes late completes those that waited for it.
    """
    matures_after, last = loop.spec.data.label.matures_after, min(as_of, _last_tick_of_labels(loop, key))
    newest = [row.key for row in loop.store.partitions(loop.name, until=key, newest=2) if row.key < key]
    # What matured by the tick of the partition before ended with it, or before.
    since = tick_of(newest[-1]) if newest else tick_of(key) - timedelta(minutes=1)
    least = (since - matures_after).strftime(KEY_FORMAT)
    rows = loop.store.partitions(loop.name, since=min(least, key), until=last, state=None)
    ingested = {row.key for row in rows}
    published = [row.key for row in rows if row.state == "published" and row.key <= key]
    matured_now = [target for target in published if since < tick_of(target) + matures_after <= tick_of(last)]
    return [
        target
        for target in matured_now
        if all(tick in ingested for tick in _ticks_back(loop, _last_tick_of_labels(loop, target), target))
    ]


def _last_tick_of_labels(loop: Loop, key: str) -> str:
    """The first tick by which all labels of a partition have matured."""
    return last_begun(loop.spec, tick_of(key) + loop.spec.data.label.matures_after).key


def _ticks_back(loop: Loop, last: str, first: str) -> Iterator[str]:
    """The keys of the schedule's ticks from one back to another one."""
    yield last
    yield from takewhile(lambda key: key >= first, keys_before(loop.spec, last))


def _of_partition(loop: Loop, prediction: PredictionRow, as_of: str) -> FiguresRow:
    import numpy as np

    figures, classes = loop.spec.monitoring.figures, loop.spec.data.label.classes
    rows = matured(loop, prediction, as_of)
    scored = scored_table(rows[ROW], rows[LABEL].to_numpy(np.float64), rows[SCORE], classes)
    figured = compute_figures(figures, _published(loop, prediction.key), scored, classes)
    return FiguresRow(
        prediction.key,
        as_of,
        prediction.version,
        len(rows),
        {name: figure.as_dict() for name, figure in figured.items()},
    )


def _published(loop: Loop, key: str) -> pa.Table:
    """ROW and the columns that the figures read, of the types that they were published with."""
    import pyarrow.parquet as pq

    row = loop.published(key)
    names = {name for figure in loop.spec.monitoring.figures.values() for name in read_figure(figure.expr).names}
    content = files.read_verified(str(row.url), row.sha256) if row.sha256 else files.read_bytes(str(row.url))
    file = pq.ParquetFile(io.BytesIO(content))
    columns = [column for column in file.schema_arrow.names if column == ROW or column.lower() in names]
    return file.read(columns=columns)
