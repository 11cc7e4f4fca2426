"""The evidence as a picture: the bound on the gain as it narrowed, and the line that it had to pass."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from updraft.release.bound import confidence_sequence
from updraft.release.verdict import ClusterGain, gains_of, why_unbounded

if TYPE_CHECKING:
    from updraft.spec.model import Release


def evidence_picture(clusters: Sequence[ClusterGain], policy: Release, *, title: str) -> bytes:
    """A PNG: each cluster's gain as a dot, the running mean, the bound as a band, −margin as a line.

    :param clusters: in time order; positive gains are good for the newer model. None give an empty frame that says so.
    """
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    gains = np.array([gain for _, gain in gains_of(clusters)])
    figure = Figure(figsize=(8, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.axhline(-policy.margin, color="#b3261e", linewidth=1, label=f"line to pass ({0.0 - policy.margin:g})")
    if len(gains):
        bounds = confidence_sequence(gains, policy.confidence)
        count = np.arange(1, len(gains) + 1)
        known = np.array([np.isfinite(ends.lower) for ends in bounds])
        axes.plot(count, gains, "o", markersize=3, color="#9aa0a6", label=f"gain of one {policy.cluster}")
        axes.plot(count, [ends.mean for ends in bounds], color="#174ea6", label="mean so far")
        if known.any():
            lower, upper = (np.array([getattr(ends, end) for ends in bounds])[known] for end in ("lower", "upper"))
            axes.fill_between(
                count[known], lower, upper, color="#174ea6", alpha=0.15, label="bound, valid at every look"
            )
            reach = 2 * float(np.abs(gains).max()) + policy.margin
            axes.set_ylim(max(lower.min(), -reach), min(upper.max(), reach))
        else:
            why = f"no bound yet from {len(gains)} {policy.cluster}s: {why_unbounded(len(gains))}"
            axes.text(0.5, 1.0, why, ha="center", va="top", transform=axes.transAxes, fontsize="small")
        axes.set_xlim(0.5, max(len(gains), 2) + 0.5)
    else:
        axes.text(0.5, 0.5, "no matured rows to compare yet", ha="center", va="center", transform=axes.transAxes)
    axes.set(xlabel=f"{policy.cluster}s", ylabel=f"gain in {policy.metric}", title=title)
    axes.legend(loc="best", fontsize="small", frameon=False)
    written = io.BytesIO()
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()
