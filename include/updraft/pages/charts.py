"""The control room's pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from updraft.control.business import FigureSeries
from updraft.control.estimates import Estimated
from updraft.control.fleet import FleetRow
from updraft.control.project import DriftTick, Layer, ProjectView, Quality, Volume
from updraft.control.release import ReleaseView
from updraft.control.timeline import Decided
from updraft.pages.svg import Scale, axis_below, axis_left, drawing, element, line, path, runs, spanning
from updraft.pages.words import figure, short_day

WIDTH = 860.0
_LEFT, _RIGHT = 54.0, 14.0


def sparkline(row: FleetRow) -> Markup:
    """The losses of a row as a line, with what the champion lost at its promotion as a dashed one."""
    if not row.losses:
        return Markup("")
    losses = [point.loss for point in row.losses]
    known = [*losses, *([row.loss_at_promotion] if row.loss_at_promotion is not None else [])]
    x, y = Scale(0, max(len(losses) - 1, 1), 4, 146), spanning(known, 30, 4)
    points = [(x(index), y(loss)) for index, loss in enumerate(losses)]
    parts = []
    if row.loss_at_promotion is not None:
        at = y(row.loss_at_promotion)
        parts.append(element("line", x1=2, x2=148, y1=at, y2=at, class_="then"))
    parts += [line(points, "loss"), element("circle", cx=points[-1][0], cy=points[-1][1], r=2.5, class_="now")]
    then = f", {figure(row.loss_at_promotion)} at promotion" if row.loss_at_promotion is not None else ""
    return drawing(150, 34, f"{row.metric} {figure(losses[-1])} on the last partition{then}", parts, "spark")


def bar_to_threshold(score: float | None, threshold: float | None, label: str) -> Markup:
    """How far a distance is on its way to the threshold, which stands at two thirds of the bar."""
    if score is None or threshold is None:
        return Markup("")
    share = max(min(score / threshold / 1.5, 1.0), 0.0) if threshold > 0 else 1.0
    parts = [
        element("rect", x=0, y=4, width=96, height=6, rx=3, class_="rail"),
        element("rect", x=0, y=4, width=96 * share, height=6, rx=3, class_="over" if score > threshold else "fill"),
        element("line", x1=64, x2=64, y1=1, y2=13, class_="mark"),
    ]
    return drawing(96, 14, label, parts, "bar")


def loss_chart(project: ProjectView) -> Markup:
    """The loss by partition: bands are champions, triangles are decisions, which lead to their place in the list.

    A partition without a known label has a ring at its estimate, and a bar from end to end of the interval.
    """
    points = project.losses
    first = points[0].key if points else ""
    waiting = [estimate for estimate in project.estimates.waiting if estimate.key > first]
    keys = sorted({*(point.key for point in points), *(estimate.key for estimate in waiting)})
    if not keys:
        return Markup("")
    height, bottom, top = 320.0, 268.0, 22.0
    x = Scale(0, max(len(keys) - 1, 1), _LEFT, WIDTH - _RIGHT)
    y = spanning([*(point.loss for point in points), *_reach(waiting)], bottom - 8, top + 8)
    place = {key: index for index, key in enumerate(keys)}
    half = (x(1) - x(0)) / 2 if len(keys) > 1 else (WIDTH - _LEFT - _RIGHT) / 2
    parts: list[Markup] = []
    for index, champion in enumerate(project.champions):
        start, end = x(place[champion.first]) - half, x(place[champion.last]) + half
        start, end = max(start, _LEFT), min(end, WIDTH - _RIGHT)
        words = f"version {champion.version} served from {champion.first} to {champion.last}"
        parts.append(
            element(
                "g",
                element(
                    "rect", x=start, y=top - 8, width=end - start, height=bottom - top + 8, class_=f"band b{index % 2}"
                ),
                element(
                    "text", f"v{champion.version}" if end - start > 22 else "", x=start + 5, y=top + 5, class_="axis"
                ),
                element("title", words),
            )
        )
    parts += axis_left(y, _LEFT, WIDTH - _RIGHT)
    parts += axis_below([short_day(key) for key in keys], x, bottom + 14)
    then = project.row.loss_at_promotion
    if then is not None and y.low <= then <= y.high:
        at = element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(then), y2=y(then), class_="then")
        parts.append(element("g", at, element("title", f"{figure(then)} on the holdout, when the champion was proved")))
    parts.append(line([(x(place[point.key]), y(point.loss)) for point in points], "loss"))
    parts += [_ring(estimate, project, x(place[estimate.key]), y) for estimate in waiting]
    for point in points:
        words = (
            f"{point.key}: {project.row.metric} {figure(point.loss)} by version {point.version} on {point.rows:,} rows"
        )
        dot = element("circle", cx=x(place[point.key]), cy=y(point.loss), r=7, class_="hover")
        parts.append(element("g", dot, element("title", words)))
    parts += _markers(project.decisions, place, x, bottom + 6)
    return drawing(WIDTH, height, f"{project.row.metric} of each partition, by what served", parts)


def _reach(estimates: Sequence[Estimated]) -> Iterator[float]:
    """What a scale has to hold of estimates."""
    for estimate in estimates:
        yield from (value for value in (estimate.value, estimate.lower, estimate.upper) if value is not None)


def _ring(estimate: Estimated, project: ProjectView, x: float, y: Scale) -> Markup:
    """An estimate with its interval; in words on hover, with how often such estimates held."""
    parts = []
    if estimate.lower is not None and estimate.upper is not None:
        low, high = y(estimate.lower), y(estimate.upper)
        parts.append(element("rect", x=x - 3, y=high, width=6, height=low - high, rx=3, class_="interval"))
    parts.append(element("circle", cx=x, cy=y(estimate.value), r=3.5, class_="ring"))
    words = f"{estimate.key}: {estimate.metric} {estimate.words} by version {estimate.version} on {estimate.rows:,} rows, no labels yet"
    return element("g", *parts, element("title", f"{words}; {project.estimates.record.words}"))


def _markers(decisions: Sequence[Decided], place: dict[str, int], x: Scale, y: float) -> list[Markup]:
    """One triangle for each tick with decisions; the sentence of each on hover."""
    marks = []
    ordered = sorted((d for d in decisions if d.key in place), key=lambda d: d.key)
    tones = {"bad": 0, "good": 1, "asks": 2, "plain": 3}
    for key, group in groupby(ordered, key=lambda decision: decision.key):
        told = list(group)
        tone = min((decision.tone for decision in told), key=tones.__getitem__)
        at = x(place[key])
        triangle = element("path", d=f"M{at:.1f} {y:.1f} l5 9 h-10 Z", class_=f"marker {tone}")
        words = "\n".join(f"{decision.key}: {decision.words}" for decision in told)
        marks.append(element("a", triangle, element("title", words), href=f"#decision-{told[0].seq}"))
    return marks


def drift_grid(ticks: Sequence[DriftTick], columns: Sequence[str]) -> Markup:
    """A row for each column and a cell for each partition: the darker, the nearer to its threshold; beyond it in another colour."""
    if not ticks or not columns:
        return Markup("")
    left, row_height = 150.0, 20.0
    x = Scale(0, len(ticks), left, WIDTH - 60)
    cell = x(1) - x(0)
    parts: list[Markup] = []
    for number, column in enumerate(columns):
        y = 4 + number * row_height
        shown = column if len(column) <= 20 else f"{column[:19]}…"
        parts.append(element("text", shown, element("title", column), x=left - 10, y=y + 13, class_="name end"))
        for index, tick in enumerate(ticks):
            score, threshold = tick.scores.get(column), tick.threshold
            if score is None or not threshold:
                continue
            share = score / threshold
            level = "over" if share > 1 else f"h{max(min(int(share * 5), 4), 0)}"
            rect = element(
                "rect", x=x(index), y=y, width=max(cell - 1, 0.8), height=row_height - 3, class_=f"cell {level}"
            )
            words = f"{tick.key}: {column} {score:.1f} of {threshold:.1f}"
            parts.append(element("g", rect, element("title", words)))
        newest = ticks[-1]
        score = newest.scores.get(column)
        told = f"{score:.1f}" if score is not None else "–"
        parts.append(element("text", told, x=WIDTH - 52, y=y + 13, class_="name"))
    bottom = 4 + len(columns) * row_height
    labels = [short_day(tick.key) for tick in ticks]
    parts += axis_below(labels, Scale(0, len(ticks), left + cell / 2, WIDTH - 60 + cell / 2), bottom)
    return drawing(WIDTH, bottom + 24, "distance of each column from the reference, by partition", parts)


def volume_chart(volume: Sequence[Volume]) -> Markup:
    """A bar for each partition: published rows, with those in quarantine on top; paler where nothing is learnt from it."""
    if not volume:
        return Markup("")
    bottom, top = 120.0, 10.0
    x = Scale(0, len(volume), _LEFT, WIDTH - _RIGHT)
    y = spanning([row.published + row.quarantined for row in volume], bottom, top, zero=True)
    wide = max((x(1) - x(0)) * 0.78, 1.0)
    parts = axis_left(y, _LEFT, WIDTH - _RIGHT, ",.0f")
    for index, row in enumerate(volume):
        published, both = y(row.published), y(row.published + row.quarantined)
        kind = "refused" if row.state == "refused" else "out" if row.kept_out else "rows"
        told = f"{row.key}: {row.state}, {row.published:,} rows published, {row.quarantined:,} in quarantine"
        told += ", kept out of trainings" if row.kept_out else ""
        bars = [element("rect", x=x(index), y=published, width=wide, height=max(bottom - published, 0.0), class_=kind)]
        if row.quarantined:
            bars.append(element("rect", x=x(index), y=both, width=wide, height=published - both, class_="quarantined"))
        if row.state == "refused":
            bars.append(element("rect", x=x(index), y=bottom - 3, width=wide, height=3, class_="refused"))
        parts.append(element("g", *bars, element("title", told)))
    half = wide / 2
    labels = [short_day(row.key) for row in volume]
    parts += axis_below(labels, Scale(0, len(volume), _LEFT + half, WIDTH - _RIGHT + half), bottom)
    return drawing(WIDTH, 148, "rows of each partition", parts)


def calibration_chart(quality: Sequence[Quality]) -> Markup:
    """Of each partition the part of the loss that is miscalibration, as it was served: with its layer."""
    known = [(row.key, row.miscalibration) for row in quality if row.miscalibration is not None]
    if not known:
        return Markup("")
    bottom = 110.0
    x = Scale(0, max(len(known) - 1, 1), _LEFT, WIDTH - _RIGHT)
    y = spanning([value for _, value in known], bottom, 10, zero=True)
    parts = axis_left(y, _LEFT, WIDTH - _RIGHT)
    parts.append(line([(x(index), y(value)) for index, (_, value) in enumerate(known)], "loss"))
    for index, (key, value) in enumerate(known):
        dot = element("circle", cx=x(index), cy=y(value), r=7, class_="hover")
        parts.append(element("g", dot, element("title", f"{key}: miscalibration {figure(value)}")))
    parts += axis_below([short_day(key) for key, _ in known], x, bottom)
    return drawing(WIDTH, 138, "miscalibration of what was served, by partition", parts)


def layer_chart(layers: Sequence[Layer]) -> Markup:
    """The slope of the layer on the champion at each tick; 1 leaves the scores as they are. Empty of fewer than four, which show no course."""
    known = [(layer, layer.slope if layer.slope is not None else 1.0) for layer in layers]
    if len(known) < 4:
        return Markup("")
    bottom = 80.0
    x = Scale(0, max(len(known) - 1, 1), _LEFT, WIDTH - _RIGHT)
    y = spanning([*(slope for _, slope in known), 1.0], bottom, 8)
    parts = axis_left(y, _LEFT, WIDTH - _RIGHT)
    parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(1.0), y2=y(1.0), class_="then"))
    parts.append(line([(x(index), y(slope)) for index, (_, slope) in enumerate(known)], "loss"))
    for index, (layer, slope) in enumerate(known):
        shift = f", intercept {layer.intercept:+.3f}" if layer.intercept is not None else ""
        dot = element("circle", cx=x(index), cy=y(slope), r=7, class_="hover")
        parts.append(element("g", dot, element("title", f"{layer.key}: slope {slope:.3f}{shift} ({layer.words})")))
    parts += axis_below([short_day(layer.key) for layer, _ in known], x, bottom)
    return drawing(WIDTH, 108, "slope of the calibration layer on what serves", parts)


def figure_chart(series: FigureSeries) -> Markup:
    """A business figure by partition, with gaps where it has no value; dashed are its limits as they were last, red what broke one."""
    points = series.points
    bottom = 110.0
    x = Scale(0, max(len(points) - 1, 1), _LEFT, WIDTH - _RIGHT)
    limits = {
        "at_least": points[-1].at_least,
        "at_most": points[-1].at_most,
    }
    known = [value for value in (*(point.value for point in points), *limits.values()) if value is not None]
    y = spanning(known, bottom, 10)
    parts = axis_left(y, _LEFT, WIDTH - _RIGHT)
    for name, limit in limits.items():
        if limit is not None:
            at = element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(limit), y2=y(limit), class_="then")
            parts.append(element("g", at, element("title", f"{name}: {figure(limit)}")))
    for run in runs((x(index), None if point.value is None else y(point.value)) for index, point in enumerate(points)):
        parts.append(line(run, "loss"))
    for index, point in enumerate(points):
        at_value = bottom if point.value is None else y(point.value)
        dots = [element("circle", cx=x(index), cy=at_value, r=3, class_="over")] if point.breach else []
        dots.append(element("circle", cx=x(index), cy=at_value, r=7, class_="hover"))
        words = f"{point.key}: {series.name} {point.words} on {point.rows:,} rows"
        parts.append(element("g", *dots, element("title", words)))
    parts += axis_below([short_day(point.key) for point in points], x, bottom)
    return drawing(WIDTH, 138, f"{series.name} of each partition", parts)


def bound_chart(release: ReleaseView) -> Markup:
    """The bound on the mean gain as it narrowed, the gain of each cluster as a dot, and the line that has to be passed."""
    points = release.bound
    if not points:
        return Markup("")
    bottom, top = 280.0, 14.0
    reach = 1.6 * max(*(abs(point.gain) for point in points), release.margin, 1e-9)
    ends = [end for point in points for end in (point.lower, point.upper) if end is not None and abs(end) <= reach]
    x = Scale(0, max(len(points) - 1, 1), _LEFT, WIDTH - _RIGHT)
    y = spanning([release.line, *(point.gain for point in points), *ends], bottom, top)

    def within(value: float | None) -> float | None:
        return None if value is None else y(min(max(value, y.low), y.high))

    parts = axis_left(y, _LEFT, WIDTH - _RIGHT)
    band = [(x(i), within(p.lower), within(p.upper)) for i, p in enumerate(points)]
    whole = [(at, low, high) for at, low, high in band if low is not None and high is not None]
    if whole:
        around = [*((at, high) for at, _, high in whole), *((at, low) for at, low, _ in reversed(whole))]
        parts.append(element("path", d=path(around) + " Z", class_="bound"))
    at = y(release.line)
    told = f"the lower end has to pass {release.line:g}"
    parts.append(
        element("g", element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="pass"), element("title", told))
    )
    for index, point in enumerate(points):
        dot = element("circle", cx=x(index), cy=y(point.gain), r=2.5, class_="gain")
        span = f"; mean so far {figure(point.mean)}" if point.mean is not None else ""
        if point.lower is not None and point.upper is not None:
            span += f", between {figure(point.lower)} and {figure(point.upper)}"
        parts.append(
            element(
                "g", dot, element("title", f"{point.cluster}: gain {figure(point.gain)} on {point.rows:,} rows{span}")
            )
        )
    for run in runs((x(index), within(point.mean)) for index, point in enumerate(points)):
        parts.append(line(run, "loss"))
    parts += axis_below([point.cluster for point in points], x, bottom, most=5)
    return drawing(WIDTH, 312, f"the bound on the mean gain in {release.metric}, after each {release.cluster}", parts)
