"""Two versions' recent losses side by side, on the same rows: what a person sees before one takes the other's place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.alerts.words import gained
from updraft.data.columns import CLUSTER, LABEL, ROW, SCORE
from updraft.data.vectors import as_cells, as_values
from updraft.errors import DataError, UpdraftError
from updraft.loop.context import Loop, labels_of
from updraft.loop.labelled import matured
from updraft.loop.monitor import MONITOR
from updraft.loop.plan import newest_labelled
from updraft.release.bound import Bound, bound

if TYPE_CHECKING:
    import pandas as pd

NEWEST = 8
"""Partitions with known labels that are looked at, the newest ones."""


@dataclass(frozen=True)
class SideBySide:
    """What serves beside another version."""

    serving: str
    other: str
    metric: str
    partitions: tuple[str, ...] = ()
    """Those that count, in order: both versions have scored them, or can be scored on them as neither has learnt from them."""
    rows: int = 0
    serving_loss: float | None = None
    """Mean over the rows; None without evidence."""
    other_loss: float | None = None
    gain: Bound | None = None
    """Of the other version over what serves."""
    unscored: tuple[str, ...] = ()
    """Why partitions do not count that could have."""

    @property
    def other_is_worse(self) -> bool:
        """Whether the other version lost more, shown or not."""
        return self.serving_loss is not None and self.other_loss is not None and self.other_loss > self.serving_loss

    def lines(self) -> Iterator[str]:
        """For a person, with what is not known."""
        if self.serving_loss is None or self.other_loss is None or self.gain is None:
            yield (
                f"no evidence: of the newest {NEWEST} partitions with known labels there is none that versions {self.serving} and {self.other} "
                "have both scored, or could be scored on without having learnt from it"
            )
        else:
            where = (
                f"{len(self.partitions)} partitions, {self.partitions[0]} to {self.partitions[-1]}, {self.rows:,} rows"
            )
            yield f"{self.metric} on {where}:"
            yield f"  version {self.serving}, which serves: {self.serving_loss:.4f}"
            yield f"  version {self.other}: {self.other_loss:.4f}"
            gain = self.gain
            yield f"  {gained(self.serving, gain.mean, gain.lower, gain.upper, gain.clusters)}"
        yield from self.unscored

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"gain": self.gain.as_dict() if self.gain else None}


def side_by_side(loop: Loop, serving: str, other: str) -> SideBySide:
    """Compare on the newest partitions whose labels are known. What a version did not score it is scored on now, and nothing is recorded of that."""
    import numpy as np
    import pandas as pd

    metric = loop.spec.release.metric
    as_of = loop.store.seen_by(loop.name, MONITOR) or loop.store.newest_partition(loop.name)
    if as_of is None:
        return SideBySide(serving, other, metric)
    try:
        until = newest_labelled(loop.spec, as_of)
    except DataError as error:  # the schedule was changed, and no partition of the new one has come
        return SideBySide(serving, other, metric, unscored=(str(error),))
    learnt = loop.store.learnt_at(loop.name, [serving, other])
    loss = loop.spec.task_type.loss_named(metric)
    keys, frames = [], []
    failed: dict[str, str] = {}
    for row in loop.store.partitions(loop.name, until=until, newest=NEWEST):
        pair = []
        for version in (serving, other):
            try:
                pair.append(_scores(loop, version, row.key, as_of, learnt.get(version)))
            except (UpdraftError, OSError) as error:
                failed.setdefault(version, f"version {version} cannot be scored now on what it has not scored: {error}")
        if len(pair) < 2 or any(frame is None or not len(frame) for frame in pair):
            continue
        ours, theirs = (frame for frame in pair if frame is not None)
        both = ours.merge(theirs[[ROW, SCORE]], on=ROW, suffixes=("", "_other"))
        label = both[LABEL].to_numpy(float)
        losses = {
            "serving": loss(label, as_values(both[SCORE])),
            "other": loss(label, as_values(both[f"{SCORE}_other"])),
        }
        keys.append(row.key)
        frames.append(both[[CLUSTER]].assign(**losses))
    if not frames:
        return SideBySide(serving, other, metric, unscored=tuple(failed.values()))
    rows = pd.concat(frames, ignore_index=True)
    gains = (rows["serving"] - rows["other"]).groupby(rows[CLUSTER].astype(str), sort=True).mean()
    return SideBySide(
        serving,
        other,
        metric,
        tuple(keys),
        len(rows),
        float(rows["serving"].mean()),
        float(rows["other"].mean()),
        bound(gains.to_numpy(np.float64), loop.spec.release.confidence),
        tuple(failed.values()),
    )


def _scores(loop: Loop, version: str, key: str, as_of: str, learnt: str | None) -> pd.DataFrame | None:
    """ROW, CLUSTER, LABEL and SCORE as the version scored the partition, or would have; None where it may have learnt from it."""
    for prediction in loop.store.predictions(loop.name, key).values():
        if prediction.version == version:
            return matured(loop, prediction, as_of)[[ROW, CLUSTER, LABEL, SCORE]]
    if learnt is None or learnt >= key:
        return None
    scorer = loop.scorer(version, loop.store.layer(loop.name, version, before=key))
    frame = loop.feature_frame(key, scorer.features)
    scored = frame[[ROW]].assign(**{SCORE: as_cells(scorer.score_features(frame).score)})
    return labels_of(key, loop.label_files([key], as_of)[key])[[ROW, CLUSTER, LABEL]].merge(scored, on=ROW, how="inner")
