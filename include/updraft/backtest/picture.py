"""The backtest as a table and as pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from updraft.backtest.run import Played

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#8c8c8c", "#d62728", "#ff9896", "#ffbb78", "#c5b0d5", "#9467bd", "#1f77b4", "#2ca02c", "#98df8a", "#bcbd22")
"""One for each policy, in order; those of the literature come last."""
MARKERS = {"promotion": ("^", "#2ca02c"), "refusal": ("x", "#d62728"), "rollback": ("v", "#d62728")}


def frontier(played: Sequence[Played], loss: str) -> bytes:
    """PNG: mean loss against the number of trainings."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    most = max((len(policy_run.trainings) for policy_run in played), default=0)
    names: dict[
        tuple[int, float], list[str]
    ] = {}  # policies that did the same stand at one place, and their names one below the other
    for policy_run, colour in zip(played, cycle(COLOURS), strict=False):
        place = (len(policy_run.trainings), round(policy_run.mean, 6))
        names.setdefault(place, []).append(policy_run.policy)
        axes.scatter(*place, color=colour, s=70, zorder=3)
    for place, policies in names.items():
        to_the_left = 2 * place[0] > most  # a name that begins at the right edge would go beyond it
        axes.annotate(
            "\n".join(policies),
            place,
            textcoords="offset points",
            xytext=(-8 if to_the_left else 8, 4),
            ha="right" if to_the_left else "left",
            va="bottom" if len(policies) == 1 else "top",
            fontsize=9,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trainings")
    axes.set_ylabel(f"mean {loss} by partition")
    axes.grid(alpha=0.3)
    axes.margins(x=0.15)
    return _png(figure)


def by_partition(
    lines: Mapping[str, Sequence[tuple[str, float]]], events: Sequence[tuple[str, str]], loss: str
) -> bytes:
    """PNG: loss by partition, a line for each policy, with markers on the last line for what happened.

    :param lines: name -> (partition key, loss), in order.
    :param events: (partition key, kind) as in :data:`MARKERS`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), dpi=120, layout="constrained")
    axes: Axes = figure.subplots()
    keys = sorted({key for line in lines.values() for key, _ in line})
    place = {key: i for i, key in enumerate(keys)}
    shades = ("#9a9a9a", "#e3a08c", "#1f77b4")
    for (name, line), shade in zip(lines.items(), shades, strict=False):
        mean = sum(value for _, value in line) / len(line)
        axes.plot(
            [place[key] for key, _ in line],
            [value for _, value in line],
            color=shade,
            label=f"{name} ({mean:.4f})",
            linewidth=1.8,
        )
    last = dict(list(lines.values())[-1])
    told = set()
    for key, kind in events:
        after = [other for other in keys if other >= key and other in last]
        if kind in MARKERS and after:
            marker, colour = MARKERS[kind]
            label = kind if kind not in told else None
            axes.scatter(place[after[0]], last[after[0]], marker=marker, color=colour, s=60, zorder=4, label=label)
            told.add(kind)
    axes.set_xticks(range(0, len(keys), 4), [key[:10] for key in keys[::4]], rotation=40, ha="right", fontsize=8)
    axes.set_ylabel(loss)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
