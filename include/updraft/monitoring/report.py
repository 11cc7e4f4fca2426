"""The picture of drift for people: an Evidently report on a sample, which says what was decided of all rows in :mod:`.drift`."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 60
"""Distinct texts beyond which a sample shows differences where there are none."""
PURPOSE = (
    "This page shows how the columns differ, so that a person can judge where to look. Nothing is decided from it: "
    "Updraft decides by the profiles of all rows, and by what is normal for each column."
)
DISTANCE = (
    "Distance: how far a column's population stability index is from what is normal for it, in standard deviations, as Updraft decided by it. "
    "The threshold is for the farthest column, at the rate of false alarms that the project states (monitoring.drift)."
)
_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
@font-face { font-family: "Material Icons"; src: url(data:font/woff2;base64,FONT) format("woff2") }
.material-icons { font: normal 24px/1 "Material Icons"; letter-spacing: normal; text-transform: none; display: inline-block;
  white-space: nowrap; word-wrap: normal; direction: ltr; text-rendering: optimizeLegibility; -webkit-font-smoothing: antialiased }
.center-align { text-align: center }
header { font: 1rem/1.45 sans-serif; margin: 1rem 1.5rem; max-width: 60rem } h1 { font-size: 1.5rem; font-weight: 500 }
header p { margin: .5rem 0 } header .quiet { color: #555; font-size: .875rem }
</style></head>
<body><header><h1>TITLE</h1>VERDICT</header><div id="root"></div>
<script>var global = globalThis</script>
<script type="application/gzip" id="library">LIBRARY</script>
<script>
const dashboard = DASHBOARD;
const figures = FIGURES;
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (sign) => sign.charCodeAt(0));
  const script = document.createElement("script");
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  window.drawDashboard(dashboard, new Map(Object.entries(figures)), "root");
})();
</script></body></html>
"""
_NOT_IN_A_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""Signs that could end a script element, open a comment in it or break a line of it. In JSON they stand in texts alone."""


@dataclass(frozen=True)
class Verdict:
    """What Updraft decided of drift at a partition, for the page to say."""

    headline: str
    """Whether there is an alarm, in a few words."""
    words: Sequence[str] = ()
    """Why, and what was decided, a paragraph each."""
    threshold: float | None = None
    """Distance above which the farthest column counts; None where drift is not measured."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Distance of each column: of all, or of the farthest. Empty where drift is not measured."""


def write_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    url: str,
    title: str,
    verdict: Verdict,
    *,
    rows: int = 10_000,
    private: Sequence[str] = (),
) -> dict[str, Any]:
    """Write what was decided, and how the columns differ, as one HTML file that needs nothing else.

    Drawn are the columns that the verdict has a distance of (20 to 30 ms each), or all where it has none. Left out are times, columns that begin
    with ``_``, private ones (pseudonyms say nothing in a picture), texts with more than 60 values and columns that are null throughout on either
    side. Of those that have a distance the page says so.

    :param rows: the most rows that are drawn of each side, always the same ones.
    :returns: JSON-able: rows drawn of each side, columns drawn, those above the threshold, what is left out and why.
    :raises DataError: when a side has no rows, or no column is left.
    """
    from evidently import DataDefinition, Dataset, Report

    from updraft.monitoring.drift_table import DriftTable, is_above

    names = [str(name) for name in (verdict.scores or reference.columns)]
    numbers, texts, left_out = _columns(reference, current, names, frozenset(private))
    if not numbers and not texts:
        raise DataError(f"{title}: no column is left to report on; left out: {left_out}")
    sides = [_sample(side, numbers, texts, rows) for side in (current, reference)]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    drawn = sorted([*numbers, *texts])
    above = sorted(name for name, score in verdict.scores.items() if is_above(score, verdict.threshold))
    counts = {"Columns drawn": len(drawn)}
    if verdict.threshold is not None:
        counts = {"Columns measured": len(verdict.scores), "Above the threshold here": len(above), **counts}
    scores = {name: float(verdict.scores[name]) for name in drawn if name in verdict.scores}
    table = DriftTable(scores=scores, limit=verdict.threshold, counts=counts)
    snapshot = Report([table]).run(*(Dataset.from_pandas(side, definition) for side in sides))
    head = _head(verdict, left_out, len(sides[0]), len(sides[1]))
    files.write_bytes(url, _page(*table.drawing(snapshot.context), title, head).encode())
    return {
        "rows": len(sides[0]),
        "reference_rows": len(sides[1]),
        "drawn": drawn,
        "above": above,
        "left_out": left_out,
    }


def _head(verdict: Verdict, left_out: Mapping[str, str], rows: int, reference_rows: int) -> str:
    """What stands above the pictures, as HTML.

    :param rows: of the partition, as drawn.
    :param reference_rows: of what it is held against, as drawn.
    """
    sample = f"Drawn are {rows:,} rows of the partition and {reference_rows:,} of what it is held against."
    measured = [
        f"{name} ({why}): {verdict.scores[name]:.3f}" for name, why in left_out.items() if name in verdict.scores
    ]
    quiet = [f"{PURPOSE} {sample}"]
    quiet += [DISTANCE] if verdict.threshold is not None else []
    quiet += [f"Measured and not drawn: {', '.join(measured)}."] if measured else []
    paragraphs = [f"<p><strong>{html.escape(verdict.headline)}</strong></p>"]
    paragraphs += [f"<p>{html.escape(words)}</p>" for words in verdict.words]
    paragraphs += [f'<p class="quiet">{html.escape(words)}</p>' for words in quiet]
    return "".join(paragraphs)


def _columns(
    reference: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], private: frozenset[str]
) -> tuple[list[str], list[str], dict[str, str]]:
    from pandas.api import types

    if not len(reference) or not len(current):
        raise DataError(f"a report needs rows on both sides; there are {len(reference)} and {len(current)}")
    numbers: list[str] = []
    texts: list[str] = []
    left_out: dict[str, str] = {}
    for name in names:
        if name.startswith("_"):
            continue
        if name not in current.columns or name not in reference.columns:
            left_out[name] = "not on both sides"
        elif name in private:
            left_out[name] = "private"
        elif reference[name].isna().all() or current[name].isna().all():
            left_out[name] = "null throughout"
        elif types.is_datetime64_any_dtype(reference[name]):
            left_out[name] = "a time"
        elif types.is_numeric_dtype(reference[name]) and not types.is_bool_dtype(reference[name]):
            numbers.append(name)
        elif reference[name].nunique() > MOST_CATEGORIES:
            left_out[name] = f"more than {MOST_CATEGORIES} texts"
        else:
            texts.append(name)
    return numbers, texts, left_out


def _sample(side: pd.DataFrame, numbers: list[str], texts: list[str], rows: int) -> pd.DataFrame:
    drawn = side.sample(rows, random_state=0) if len(side) > rows else side
    drawn = drawn[[*numbers, *texts]].reset_index(drop=True)
    kinds = {**dict.fromkeys(numbers, "float64"), **dict.fromkeys(texts, "object")}
    return drawn.astype(kinds)


def _page(dashboard: dict[str, Any], figures: dict[str, Any], title: str, head: str) -> str:
    """One page with Evidently's library (3.5 MB, the same in each) compressed. Equal data give equal bytes.

    Names and values come from a feed: whoever writes it must not write the page. So they are texts to each language that
    reads them: to HTML, to JavaScript, and to Plotly, which takes a text for a kind of HTML of its own. The rows of
    Evidently's table are written by React as they are. The data stand in clear, so that whoever looks for something
    that must not be published can find it.
    """
    from updraft.monitoring.drift_table import icon_font, library

    numbered = {old: f"figure-{number}" for number, old in enumerate(figures)}
    drawn = {numbered[key]: {**figure, "params": _for_plotly(figure["params"])} for key, figure in figures.items()}
    parts = {
        "TITLE": html.escape(title),
        "VERDICT": head,
        "FONT": icon_font(),
        "LIBRARY": base64.b64encode(gzip.compress(library().encode(), 6, mtime=0)).decode(),
        "DASHBOARD": _for_script(_with_stable_ids(dashboard, numbered)),
        "FIGURES": _for_script(_with_stable_ids(drawn, numbered)),
    }
    # In one pass: a part that holds the word of another one is not looked into.
    return re.sub("|".join(parts), lambda word: parts[word[0]], _HTML)


def _for_script(value: Any) -> str:
    """A JSON value as an expression of JavaScript that may stand inside a script element of HTML."""
    return json.dumps(value).translate(_NOT_IN_A_SCRIPT)


def _for_plotly(value: Any) -> Any:
    """A figure whose texts read as they are: Plotly makes tags of ``<b>``, and links of ``<a href=…>``."""
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, list):
        return [_for_plotly(item) for item in value]
    return {key: _for_plotly(item) for key, item in value.items()} if isinstance(value, dict) else value


def _with_stable_ids(value: Any, numbered: dict[str, str]) -> Any:
    """The value with its random ids numbered in the order in which they come; ``numbered`` grows."""
    if isinstance(value, list):
        return [_with_stable_ids(item, numbered) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: numbered.setdefault(item, f"widget-{len(numbered)}")
        if key == "id" and isinstance(item, str)
        else _with_stable_ids(item, numbered)
        for key, item in value.items()
    }
