"""Business figures, as the store has them: by partition, and each over the newest partitions."""

from __future__ import annotations

from collections.abc import Iterable

from updraft.control.view import View
from updraft.monitoring.figures import Figured
from updraft.store.records import FiguresRow


class BusinessFigure(View):
    """One figure of one partition."""

    name: str
    key: str
    value: float | None
    words: str
    """The value, or why there is none, and the limit that does not hold."""
    at_least: float | None
    at_most: float | None
    breach: bool
    rows: int
    """Scored rows with labels."""
    as_of: str
    """The tick by which all labels were known."""


class FigureSeries(View):
    """One figure over the newest partitions that have it, in order."""

    name: str
    points: tuple[BusinessFigure, ...]


def figures_of(row: FiguresRow) -> tuple[BusinessFigure, ...]:
    """Every figure of a partition, in the order of project.yaml as it was then."""
    figured = {name: Figured(**figure) for name, figure in row.figures.items()}
    return tuple(
        BusinessFigure(
            name=name,
            key=row.key,
            value=figure.value,
            words=figure.words,
            at_least=figure.at_least,
            at_most=figure.at_most,
            breach=figure.breach is not None,
            rows=row.rows,
            as_of=row.as_of,
        )
        for name, figure in figured.items()
    )


def series(rows: Iterable[FiguresRow], names: Iterable[str]) -> tuple[FigureSeries, ...]:
    """The figures that a project declares, each over some partitions; one that it declares no more is left out.

    :param rows: in order of the partitions. :param names: of the figures.
    """
    points: dict[str, list[BusinessFigure]] = {name: [] for name in names}
    for row in rows:
        for figure in figures_of(row):
            if figure.name in points:
                points[figure.name].append(figure)
    return tuple(FigureSeries(name=name, points=tuple(figures)) for name, figures in points.items() if figures)
