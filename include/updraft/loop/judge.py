"""Is a freshly trained model good enough to go on? Its proof against what served, on the holdout partitions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from updraft.data.columns import CLUSTER, LABEL, PARTITION, ROW, SCORE
from updraft.data.vectors import as_cells, as_values
from updraft.evaluation.gates import GateResult, judge_gates
from updraft.jobs.plan import Plan
from updraft.loop.context import Loop
from updraft.loop.kept_out import scored_broken
from updraft.loop.labelled import matured, proved
from updraft.monitoring.calibration import cross_fitted
from updraft.scoring.scorer import Scores

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows of the holdout with what the candidate's proof and the champion said of them."""

    rows: pd.DataFrame
    """PARTITION, ROW, CLUSTER, LABEL, ``candidate`` and ``champion`` (scores; NaN where the champion did not score)."""
    gates: GateResult

    def as_dict(self) -> dict[str, Any]:
        """For the training's row and the decision."""
        return self.gates.as_dict()

    def unless(self, reason: str | None) -> Comparison:
        """Refused for a reason beside the gates, if there is one."""
        return self if reason is None else replace(self, gates=replace(self.gates, passed=False, reasons=(reason,)))


def compare(loop: Loop, plan: Plan, holdout: pd.DataFrame) -> pd.DataFrame:
    """Put the champion's served scores beside the candidate's, row by row.

    The candidate is recalibrated across the holdout partitions where the project recalibrates what serves, as it would be in service.
    """
    import numpy as np
    import pandas as pd

    task, parts = loop.spec.task_type, proved(holdout)
    recalibrates = loop.spec.monitoring.remedies.recalibrate is not None
    layers = cross_fitted(task, parts) if recalibrates else [task.calibration.layer(None)] * len(parts)
    frames, broken = [], scored_broken(loop.store, loop.name, plan.key, plan.window[0])
    for part, layer in zip(parts, layers, strict=True):
        frame = holdout[holdout[PARTITION] == part.key].sort_values(ROW, ignore_index=True)[
            [PARTITION, ROW, CLUSTER, LABEL]
        ]
        frame = frame.assign(candidate=as_cells(Scores.of(task, layer, part.margin).score))
        served = loop.store.predictions(loop.name, part.key).get("champion")
        if served is None or part.key in broken:  # it was served on other features than the candidate is judged on
            frames.append(frame.assign(champion=np.nan))
            continue
        scores = matured(loop, served, plan.key)[[ROW, SCORE]].rename(columns={SCORE: "champion"})
        frames.append(frame.merge(scores, on=ROW, how="left"))
    return pd.concat(frames, ignore_index=True)


def judge_candidate(loop: Loop, plan: Plan, holdout: pd.DataFrame) -> Comparison:
    """Hold the candidate against the project's gates; the first model against the base rate."""
    rows = compare(loop, plan, holdout)
    compared = rows["champion"].notna()
    against = rows if not compared.any() else rows[compared]
    gates = loop.spec.gates
    by = gates.slices.by if gates.slices else ()
    grouped_by = gates.fairness.by if gates.fairness else ()
    result = judge_gates(
        label=against[LABEL].to_numpy(float),
        candidate=as_values(against["candidate"]),
        champion=as_values(against["champion"]) if compared.any() else None,
        cluster=against[CLUSTER].astype(str).to_numpy(object),
        slices=_looked_up(loop, against, by, as_text=True),
        groups=_looked_up(loop, against, grouped_by, as_text=False),
        gates=gates,
        task=loop.spec.task_type,
    )
    return Comparison(rows, result)


def _looked_up(
    loop: Loop, rows: pd.DataFrame, columns: tuple[str, ...], *, as_text: bool
) -> dict[str, NDArray[np.object_]]:
    """Published columns of some rows, in their order.

    :param as_text: whether values are wanted as text, which tells no null from a word.
    """
    import numpy as np

    looked_up = {column: np.full(len(rows), None, dtype=object) for column in columns}
    for key in dict.fromkeys(rows[PARTITION]) if columns else ():
        published = loop.lookup(str(key), columns).set_index(ROW)
        mask = (rows[PARTITION] == key).to_numpy()
        for column, values in looked_up.items():
            of_rows = published[column].astype(str if as_text else object)
            values[mask] = of_rows.reindex(rows.loc[mask, ROW]).to_numpy(object)
    return looked_up
