"""The picture of drift for people: an Evidently report on a sample. Decisions use all rows, in :mod:`.drift`."""

from __future__ import annotations

import base64
import gzip
import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from updraft import files
from updraft.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 60
"""Distinct texts beyond which a sample shows drift where there is none."""
DRIFTED = 0.1
"""Distance (Wasserstein in standard deviations, Jensen-Shannon) from which Evidently calls a column drifted."""
NUMBERS, TEXTS = "wasserstein", "jensenshannon"
_RANDOM = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|(?<![0-9A-Za-z])[0-9a-f]{32}(?![0-9A-Za-z])")
_UNPACK = """<script>
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (one) => one.charCodeAt(0));
  const script = document.createElement("script");
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  DRAW
})();
</script>"""


def write_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    url: str,
    title: str,
    *,
    rows: int = 10_000,
    private: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write a drift report as one HTML file that needs nothing else.

    Left out are times, columns that begin with ``_``, private ones (pseudonyms say nothing in a picture), texts with
    more than 60 values and columns that are null throughout on either side.

    :param rows: the most rows that are drawn of each side, always the same ones.
    :param columns: the columns to report on (20 to 30 ms each); all when None.
    :returns: JSON-able: rows drawn of each side, distance per column, which are drifted, what is left out and why.
    :raises DataError: when a side has no rows, or no column is left.
    """
    from evidently import DataDefinition, Dataset, Report

    from updraft.monitoring.drift_table import DriftTable

    names = [str(one) for one in (reference.columns if columns is None else columns)]
    numbers, texts, left_out = _columns(reference, current, names, frozenset(private))
    if not numbers and not texts:
        raise DataError(f"{title}: no column is left to report on; left out: {left_out}")
    sides = [_sample(side, numbers, texts, rows) for side in (current, reference)]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    table = DriftTable(numbers=NUMBERS, texts=TEXTS, threshold=DRIFTED)
    snapshot = Report([table]).run(*(Dataset.from_pandas(side, definition) for side in sides))
    distances = table.distances(snapshot.context)
    files.write_bytes(url, _page(snapshot.get_html_str(as_iframe=False), title).encode())
    return {
        "rows": len(sides[0]),
        "reference_rows": len(sides[1]),
        "left_out": left_out,
        "distances": distances,
        "drifted": sorted(name for name, distance in distances.items() if distance >= DRIFTED),
    }


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


def _page(page: str, title: str) -> str:
    """Evidently's page with a title, with stable ids, and with its library (3.5 MB, the same in each) compressed.

    The data stay in clear, so that whoever looks for something that must not be published can find it.
    """
    heading = f'<h1 style="font: 500 1.5rem sans-serif; margin: 1rem 1.5rem">{html.escape(title)}</h1>'
    page = page.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
    page = re.sub(r"<body[^>]*>", lambda found: found[0] + heading, page, count=1)
    scripts = list(re.finditer(r"<script>(.*?)</script>", page, re.DOTALL))
    library = next((one for one in scripts if "window.drawDashboard=" in one[1]), None)
    draw = next((one for one in scripts if one[1].lstrip().startswith("window.drawDashboard(")), None)
    if library is None or draw is None or draw.start() < library.start():
        return _stable_ids([page])  # Evidently writes its page in another way than 0.7 does: leave it whole
    packed = base64.b64encode(gzip.compress(library[1].encode(), 6, mtime=0)).decode()
    clear = [page[: library.start()], page[library.end() : draw.start()] + _UNPACK.replace("DRAW", draw[1].strip())]
    return _stable_ids([*clear, page[draw.end() :]], f'<script type="application/gzip" id="library">{packed}</script>')


def _stable_ids(parts: Sequence[str], after_first: str = "") -> str:
    """Number the random ids in the order in which they come, so that equal data give equal bytes."""
    ids: dict[str, str] = {}

    def numbered(found: re.Match[str]) -> str:
        return ids.setdefault(found[0], f"{len(ids):0{len(found[0])}d}")

    first, *rest = (_RANDOM.sub(numbered, part) for part in parts)
    return "".join([first, after_first, *rest])
