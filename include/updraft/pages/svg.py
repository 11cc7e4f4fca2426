"""Drawing on the server: scales, axes and shapes as SVG whose looks come from the style sheet, so that no page needs a style or a script in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From values to places on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value stands."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, number: int = 5) -> list[float]:
        """Round values within the scale, about so many (Heckbert 1990, "Nice numbers for graph labels")."""
        span = self.high - self.low
        if not math.isfinite(span) or span <= 0:
            return [self.low]
        rough = span / max(number, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def spanning(values: Iterable[float], start: float, end: float, *, room: float = 0.06, zero: bool = False) -> Scale:
    """A scale that holds all values, with a little room; of none, from 0 to 1."""
    known = [value for value in values if math.isfinite(value)]
    if zero:
        known.append(0.0)
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    beside = (high - low) * room
    return Scale(low if zero and low == 0 else low - beside, high + beside, start, end)


def element(name: str, *inside: str, **attributes: object) -> Markup:
    """An SVG element; texts inside that are no markup are escaped, as are attributes. ``_`` in a name is ``-``, and ends a reserved word."""
    written = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), _number(value))
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup("").join(escape(part) for part in inside)
    return Markup("<{name}{written}>{content}</{name}>").format(name=Markup(name), written=written, content=content)


def _number(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def drawing(width: float, height: float, label: str, parts: Iterable[Markup], kind: str = "chart") -> Markup:
    """A whole picture.

    :param label: what it shows, for those who do not see it.
    """
    return element(
        "svg",
        *parts,
        class_=kind,
        viewBox=f"0 0 {width:g} {height:g}",
        role="figure",
        aria_label=label,
        preserveAspectRatio="none" if kind == "spark" else None,
    )


def path(points: Sequence[Point]) -> str:
    """A line through points."""
    return " ".join(f"{'L' if index else 'M'}{x:.1f} {y:.1f}" for index, (x, y) in enumerate(points))


def line(points: Sequence[Point], kind: str) -> Markup:
    """A line; a single point is a dot."""
    if len(points) == 1:
        return element("circle", cx=points[0][0], cy=points[0][1], r=2.5, class_=f"{kind} dot")
    return element("path", d=path(points), class_=kind) if points else Markup("")


def runs(points: Iterable[tuple[float, float | None]]) -> Iterator[list[Point]]:
    """The stretches of points that are known."""
    run: list[Point] = []
    for x, y in points:
        if y is not None:
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run


def axis_left(scale: Scale, left: float, right: float, form: str = "g") -> list[Markup]:
    """Lines across the picture at round values, with the values at the left."""
    drawn = []
    for tick in scale.ticks():
        y = scale(tick)
        drawn.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        drawn.append(element("text", format(tick, form), x=left - 8, y=y + 3.5, class_="axis end"))
    return drawn


def axis_below(labels: Sequence[str], x: Scale, bottom: float, most: int = 6) -> list[Markup]:
    """Some of the labels of the places 0, 1, 2 and so on, as many as there is room for."""
    if not labels:
        return []
    step = max(-(-len(labels) // most), 1)
    return [
        element("text", labels[index], x=x(index), y=bottom + 16, class_=_anchor(x, index))
        for index in range(0, len(labels), step)
    ]


def _anchor(x: Scale, index: int) -> str:
    """A label in the middle below its place; at the right end it ends there."""
    return "axis end" if x(index) > x.end - 30 else "axis middle"
