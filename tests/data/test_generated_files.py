"""Generated files of every kind: each row is accounted for, each value equals what was written, and no failure is a traceback.

UPDRAFT_GENERATED_FILES says how many pairs of files (40 unless it is set).
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import tempfile
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.tables import Table, day

from updraft.data.ingest import read_checks, read_partition
from updraft.errors import UpdraftError

EXAMPLES = int(os.environ.get("UPDRAFT_GENERATED_FILES", "40"))
NULL_WORDS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
SECRET = "qqsecretqq"

whole = st.integers(-(10**20), 10**20).map(str)
decimal = st.one_of(
    st.floats(allow_nan=False, allow_infinity=True, width=64).map(repr),
    st.decimals(-1000, 1000, places=2).map(str),
    st.sampled_from(
        ["1e3", "-0", "+5", ".5", "5.", "007", "1_000", "1,5", "0x1F", "Infinity", "-inf", "1e400", "1e-400"]
    ),
)
words = st.one_of(
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"), max_size=8),
    st.sampled_from(
        [
            "NO",
            "F",
            "yes",
            "true",
            "False",
            "NA",
            "null",
            f"{SECRET}@example.org",
            'a "quoted" one',
            "a;b,c\td|e",
            " a ",
        ]
    ),
)
moments = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat(sep=" ")),
    st.dates().map(str),
    st.sampled_from(["01/02/2024", "2024-13-01", "2024-01-01T00:00:00Z", "24:00", "yesterday"]),
)
missing = st.sampled_from(NULL_WORDS)
MIXES = (whole, decimal, words, moments, missing)


@st.composite
def columns(draw: st.DrawFn, rows: int) -> dict[str, list[str]]:
    """Up to three columns: cells of one kind, with some of another among them."""
    made = {}
    for place in range(draw(st.integers(1, 3))):
        main, odd = draw(st.sampled_from(MIXES)), draw(st.sampled_from(MIXES))
        share = draw(st.sampled_from([0, 0, 0, 1, 5, 20]))
        made[f"c{place}"] = [draw(odd) if draw(st.integers(1, 20)) <= share else draw(main) for _ in range(rows)]
    return made


@dataclass
class Written:
    """One file and what stands in it."""

    rows: list[dict[str, str]]
    separator: str
    end: str
    mark: bool
    packed: bool

    def content(self) -> bytes:
        text = io.StringIO()
        names = list(self.rows[0]) if self.rows else ["id", "at", "y"]
        writer = csv.DictWriter(text, names, delimiter=self.separator, lineterminator=self.end)
        writer.writeheader()
        writer.writerows(self.rows)
        content = text.getvalue().encode("utf-8-sig" if self.mark else "utf-8")
        return gzip.compress(content) if self.packed else content


@st.composite
def files_of_two_days(draw: st.DrawFn) -> list[Written]:
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    packed = draw(st.booleans())
    identities = st.one_of(whole, decimal, words.filter(lambda text: text.strip() == text and text != ""))
    files = []
    for number in (1, 2):
        count = draw(st.integers(1, 12))
        ids = draw(st.lists(identities, min_size=count, max_size=count))
        times = [
            draw(st.sampled_from(["", "2099-01-01T00:00:00Z"]))
            if draw(st.integers(1, 15)) == 1
            else f"2024-01-{number:02}T{place:02}:30:00Z"
            for place in range(count)
        ]
        labels = [draw(st.sampled_from(["0", "1", "0.5", "", "12.7"])) for _ in range(count)]
        more = draw(columns(count))
        rows = [
            {
                "id": ids[place],
                "at": times[place],
                "y": labels[place],
                **{name: cells[place] for name, cells in more.items()},
            }
            for place in range(count)
        ]
        files.append(Written(rows, separator, end, draw(st.booleans()), packed))
    return files


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def same(written: str, published: Any) -> bool:
    """Whether a published value is what was written, told without the code that reads it."""
    if is_missing(published):
        return written.strip() in NULL_WORDS
    if isinstance(published, str):
        return written == published
    if isinstance(published, bool):
        return written.strip().lower() == str(published).lower()
    if isinstance(published, int | float):
        try:
            exact = Decimal(written.strip())
        except InvalidOperation:
            return False
        return exact == published if isinstance(published, int) else float(exact) == published
    return pd.Timestamp(written.strip()).tz_localize(None) == pd.Timestamp(published).tz_localize(None)


def accounted(table: Table, number: int, file: Written) -> set[str]:
    """Hold what became of a file's rows against the file; the ids that were published."""
    table.write(number, file.content())
    ingested = table.ingest(number)
    checks = read_checks(table.project, table.settings, day(number)).sources["rows"]
    assert checks.read == len(file.rows)
    assert checks.timeless == sum(row["at"] == "" for row in file.rows)
    assert checks.outside == sum(row["at"].startswith("2099") for row in file.rows)
    assert ingested.rows + checks.quarantined + checks.outside + checks.timeless == len(file.rows)
    if ingested.url is None:
        assert ingested.rows == 0
        return set()
    published = read_partition(ingested.url)
    by_id = {row["id"]: row for row in file.rows if row["at"].startswith("2024")}
    for row in published.to_dict("records"):
        for name, text in by_id[row["id"]].items():
            if name not in ("at", "y"):
                assert same(text, row[name]), (name, text, row[name])
    return set(published["id"])


@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(files_of_two_days())
def test_every_row_is_accounted_for_and_every_value_is_what_was_written(files: list[Written]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix="csv.gz" if files[0].packed else "csv", data={"refuse_above": 1.0})
        try:
            first = accounted(table, 1, files[0])
            accounted(table, 2, files[1])
        except UpdraftError as error:
            said = str(error)
            assert "Traceback" not in said
            assert SECRET not in said
            return
        labels = read_partition(url) if (url := table.ingest(2).labels_url) else pd.DataFrame({"label": []})
        due = [
            float(row["y"])
            for row in files[0].rows
            if row["at"].startswith("2024") and row["id"] in first and row["y"] != ""
        ]
        assert sorted(labels["label"]) == sorted(due)
