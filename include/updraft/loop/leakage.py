"""Before a training: does a feature tell the label as nothing can that is known when the prediction is made?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, ROW
from updraft.data.leakage import COPIES, LEAST, copied, leaks, sentences
from updraft.errors import TrainingError
from updraft.jobs.plan import Plan
from updraft.loop.context import Loop, labels_of

if TYPE_CHECKING:
    import pandas as pd

PARTITIONS = 4
"""Of the window that are looked at, the newest before the holdout: a leak is in each of them."""
_SHOWN = 5


def refuse_leaks(loop: Loop, plan: Plan) -> None:
    """Refuse to learn from features that leak the label, and from a window whose holdout it has learnt from.

    The newest partitions of the window are read, and the newest one that is published, of whose rows the labels are to come.

    :raises TrainingError: naming each feature, why, and the mend.
    """
    import numpy as np
    import pandas as pd

    learnt = [key for key in plan.window if key not in plan.holdout][-PARTITIONS:]
    held_out = list(plan.holdout)[-PARTITIONS:]
    newest = [key for key in (loop.store.newest_partition(loop.name, until=plan.key),) if key is not None]
    kept_out = loop.store.kept_out(loop.name, since=min(newest, default=""), until=plan.key)
    unlabelled = [key for key in newest if key not in plan.window and key not in kept_out]
    frames = {key: _labelled(loop, key, plan.key) for key in dict.fromkeys([*learnt, *held_out, *unlabelled])}
    rows = pd.concat(list(frames.values()), ignore_index=True)
    features, label = rows.drop(columns=[ROW, EVENT_TIME, CLUSTER, LABEL]), rows[LABEL].to_numpy(float)
    partition = np.repeat(list(frames), [len(frame) for frame in frames.values()])
    told = leaks(features, label, loop.spec.task, partition=partition)
    problems = list(sentences(told, loop.spec.data.not_leaks))
    problems += _overlap([frames[key] for key in learnt], [frames[key] for key in held_out])
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise TrainingError(
            f"{loop.name}: nothing is learnt at {plan.key}, as what it would learn from holds the answer: "
            f"{'; '.join([*problems[:_SHOWN], *more])}"
        )


def _labelled(loop: Loop, key: str, as_of: str) -> pd.DataFrame:
    """Features of a partition with the labels that are known, NaN where none is."""
    features = loop.feature_frame(key)
    labels = labels_of(key, loop.label_files([key], as_of).get(key, ()))
    return features.merge(labels[[ROW, LABEL]], on=ROW, how="left")


def _overlap(learnt: Sequence[pd.DataFrame], held_out: Sequence[pd.DataFrame]) -> Iterator[str]:
    """Rows of the holdout that were learnt from: under the same key, with the same features and the same label."""
    import pandas as pd

    if not learnt or not held_out:
        return
    rest, own = (
        pd.concat(frames).drop(columns=[EVENT_TIME, CLUSTER]).dropna(subset=[LABEL]) for frames in (learnt, held_out)
    )
    if len(own) >= LEAST and (rows := copied(rest, own)) > COPIES * len(own):
        yield (
            f"{rows:,} of {len(own):,} rows of the holdout stand in the rest of the window as they are, key, features and label; deliver each "
            "row once, or let data.key name the time too where a key comes again"
        )
