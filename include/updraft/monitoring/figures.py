"""Business figures of a partition: what each expression of ``monitoring.figures`` comes to, and which limits it breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from updraft.data.figures import evaluate_figures
from updraft.spec.figure import Figure

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Figured:
    """One figure of one partition, with the limits that it was held against."""

    value: float | None
    why: str | None
    """Why there is no value, as the end of a sentence; None when there is one."""
    at_least: float | None
    at_most: float | None

    @property
    def breach(self) -> str | None:
        """Which limit does not hold, as the end of a sentence; None when all do. A limit holds for no figure that has no value."""
        if self.at_least is None and self.at_most is None:
            return None
        if self.value is None:
            return f"{self.why}, so its limit cannot be held"
        if self.at_least is not None and self.value < self.at_least:
            return f"is {_apart(self.value, self.at_least)}, below at_least: {_apart(self.at_least, self.value)}"
        if self.at_most is not None and self.value > self.at_most:
            return f"is {_apart(self.value, self.at_most)}, above at_most: {_apart(self.at_most, self.value)}"
        return None

    @property
    def words(self) -> str:
        """The value, or why there is none, and the limit that does not hold, for a line that begins with the figure's name."""
        return self.breach or self.why or shown(self.value)

    def as_dict(self) -> dict[str, Any]:
        """As the store keeps it."""
        return asdict(self)


def _apart(value: float, other: float) -> str:
    """As it is shown, or with more digits where the other one would look the same."""
    return shown(value) if shown(value) != shown(other) else f"{value:.12g}"


def shown(value: float | None) -> str:
    """A figure for people: with separators of thousands and four significant digits; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def compute_figures(
    figures: Mapping[str, Figure], published: pa.Table, scored: pa.Table, classes: Sequence[str]
) -> dict[str, Figured]:
    """Every figure of a partition, by name.

    :param published: ROW and the columns that the expressions read, or more.
    :param scored: of the rows whose labels are known, see :func:`updraft.data.figures.scored_table`.
    :param classes: of the label; none where it is a number.
    """
    if not len(scored):
        return {name: _figured(figure, None, "has no scored row with a label") for name, figure in figures.items()}
    evaluated = evaluate_figures({name: figure.expr for name, figure in figures.items()}, published, scored, classes)
    return {name: _figured(figures[name], outcome.value, outcome.why) for name, outcome in evaluated.items()}


def _figured(figure: Figure, value: float | None, why: str | None) -> Figured:
    return Figured(value, why, figure.at_least, figure.at_most)
