"""The pictures of a model card, as PNG bytes. Drawn without pyplot, whose global state is not safe between threads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEW, OLD, MUTED = "#0b6e99", "#d9822b", "#8a99a8"  # told apart by people who see no red or green
BINS = 10


def calibration(label: NDArray[np.float64], score: NDArray[np.float64], mean_label: str) -> bytes:
    """Mean label against mean score in ten bins of equal size; bars: two standard errors of independent rows.

    :param mean_label: what a bin's mean label is called.
    """
    means, outcomes, errors = calibration_bins(label, score)
    figure, axes = _axes()
    low, high = float(min(means.min(), outcomes.min())), float(max(means.max(), outcomes.max()))
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, label="as predicted")
    axes.errorbar(
        means, outcomes, yerr=2 * errors, color=NEW, marker="o", markersize=4, linewidth=1.2, label="observed"
    )
    axes.set_xlabel("mean score")
    axes.set_ylabel(mean_label)
    axes.legend(frameon=False)
    return _png(figure)


def calibration_bins(
    label: NDArray[np.float64], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean score, mean label and its standard error by bin; equal scores may be split between neighbours."""
    import numpy as np

    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    means = np.array([score[part].mean() for part in parts])
    outcomes = np.array([label[part].mean() for part in parts])
    errors = np.array([label[part].std() / np.sqrt(len(part)) for part in parts])
    return means, outcomes, errors


def learning(curve: Sequence[float], rounds: int) -> bytes:
    """Validation loss after each round, and where it was cut."""
    figure, axes = _axes()
    axes.plot(range(1, len(curve) + 1), curve, color=NEW, linewidth=1.5)
    axes.axvline(rounds, color=MUTED, linewidth=1, linestyle="--")
    axes.annotate(
        f"{rounds} rounds", (rounds, max(curve)), textcoords="offset points", xytext=(-4, -4), ha="right", va="top"
    )
    axes.set_xlabel("round")
    axes.set_ylabel("validation loss")
    return _png(figure)


def importances(importance: Mapping[str, float], meaning: str, most: int = 20) -> bytes:
    """Share by feature, largest first; ``meaning`` says of what."""
    largest = sorted(importance.items(), key=lambda item: -item[1])[:most]
    figure, axes = _axes(height=max(3.0, 0.24 * len(largest) + 0.8))
    axes.barh([name for name, _ in largest], [share for _, share in largest], color=NEW)
    axes.invert_yaxis()
    axes.set_xlabel(meaning)
    return _png(figure)


def losses(pairs: Mapping[str, tuple[float, float | None]], metric: str, most: int = 30) -> bytes:
    """Loss of the new model and of the champion by name; when there are many, those where the new one does worst."""
    shown = dict(pairs)
    if len(shown) > most:
        worst = sorted(shown, key=lambda name: -(shown[name][0] - (shown[name][1] or 0.0)))[:most]
        shown = {name: value for name, value in shown.items() if name in worst}
    names, rows = list(shown), range(len(shown))
    figure, axes = _axes(height=max(2.0, 0.24 * len(shown) + 0.9))
    for row, (new, old) in zip(rows, shown.values(), strict=True):
        if old is not None:
            axes.plot([old, new], [row, row], color=MUTED, linewidth=1.5, zorder=1)
    olds = [(row, old) for row, (_, old) in zip(rows, shown.values(), strict=True) if old is not None]
    if olds:
        axes.scatter([old for _, old in olds], [row for row, _ in olds], color=OLD, s=22, label="champion", zorder=2)
    axes.scatter([new for new, _ in shown.values()], list(rows), color=NEW, s=28, label="this model", zorder=3)
    axes.set_yticks(list(rows), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(metric)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # beside the points, never on them
    return _png(figure)


def _axes(height: float = 3.2) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6ebf0", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names and categories are texts: two $ in one make no formula of it
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # equal pictures are equal bytes
    return buffer.getvalue()
