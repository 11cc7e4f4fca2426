"""Generated files of every kind: each row is accounted for, each value equals what was written, and no failure is a traceback.

A pair is the files of two days. UPDRAFT_GENERATED_FILES says how many pairs (16, always the same, unless it is set), over all tests of this
module: UPDRAFT_GENERATED_FILES=2500 python -m pytest tests/data/test_generated_files.py --hypothesis-seed=7
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import tempfile
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.tables import Table, day
from typer.testing import CliRunner

from updraft.cli.main import app
from updraft.data.ingest import read_checks, read_partition
from updraft.errors import UpdraftError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.spec.load import load_project
from updraft.spec.model import Project
from updraft.store.store import Store

PAIRS = int(os.environ.get("UPDRAFT_GENERATED_FILES", "16"))
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


def generated(part: float) -> Any:
    """Settings of a test that takes a part of the pairs."""
    return settings(
        max_examples=max(2, round(PAIRS * part)),
        deadline=None,
        derandomize="UPDRAFT_GENERATED_FILES" not in os.environ,  # then pytest's --hypothesis-seed says which files
        phases=(Phase.generate,),  # to find a smaller example takes minutes, and is asked for by hand
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass
class Written:
    """One file and what stands in it."""

    rows: list[dict[str, str]]
    separator: str
    end: str
    mark: bool
    packed: bool
    encoding: str = "utf-8"
    quoted: bool = False

    def content(self) -> bytes:
        text = io.StringIO()
        names = list(self.rows[0]) if self.rows else ["id", "at", "y"]
        quoting = csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL
        writer = csv.DictWriter(text, names, delimiter=self.separator, lineterminator=self.end, quoting=quoting)
        writer.writeheader()
        writer.writerows(self.rows)
        encoding = "utf-8-sig" if self.mark and self.encoding == "utf-8" else _CODECS[self.encoding]
        content = text.getvalue().encode(encoding)
        return gzip.compress(content) if self.packed else content


_CODECS = {"utf-8": "utf-8", "utf-16": "utf-16", "latin-1": "latin-1", "windows-1252": "cp1252"}


def writable(text: str, encoding: str) -> str:
    """A text without the characters that an encoding has not, or that it has in common with another one's signs."""
    codec = _CODECS[encoding]
    kept = "".join(sign for sign in text if not 0x7F <= ord(sign) < 0xA0)
    return kept.encode(codec, errors="ignore").decode(codec)


def moment(draw: st.DrawFn, number: int, place: int) -> str:
    """The time of a row of a day, written in one of the ways that are read without being told."""
    hour, minute = place % 24, draw(st.sampled_from([0, 30, 59]))
    offset = draw(st.integers(-3, 3))
    local = pd.Timestamp(f"2024-01-{number:02}T{hour:02}:{minute:02}:00Z") + pd.Timedelta(hours=offset)
    ways = [
        f"2024-01-{number:02}T{hour:02}:{minute:02}:30Z",
        f"2024-01-{number:02} {hour:02}:{minute:02}",
        f"2024/1/{number} {hour:02}:{minute:02}:00",
        f"2024-01-{number:02}T{hour:02}:{minute:02}:59.123456Z",
        f"{local:%Y-%m-%dT%H:%M:%S}{offset:+03}:00",
        f"{local:%Y-%m-%d %H:%M:%S}{offset:+03}00",
        f" 2024-01-{number:02} ",
    ]
    return draw(st.sampled_from(ways))


ELSEWHERE = ("2099-01-01T00:00:00Z", "1970-01-01", "2023-12-31 23:59:59.999999", "0001-01-01", "9999-12-31")
TIMELESS = ("", "NA", " null ")


@st.composite
def files_of_two_days(draw: st.DrawFn) -> list[Written]:
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    packed, quoted = draw(st.booleans()), draw(st.booleans())
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", *_CODECS]))
    identities = st.one_of(whole, decimal, words.filter(lambda text: text.strip() == text and text != ""))
    files = []
    for number in (1, 2):
        count = draw(st.integers(1, 12))
        ids = draw(st.lists(identities, min_size=count, max_size=count))
        if draw(st.integers(1, 8)) == 1:
            ids[-1] = ids[0]
        times = [
            draw(st.sampled_from((*TIMELESS, *ELSEWHERE)))
            if draw(st.integers(1, 15)) == 1
            else moment(draw, number, place)
            for place in range(count)
        ]
        labels = [draw(st.sampled_from(["0", "1", "0.5", "", "12.7"])) for _ in range(count)]
        more = draw(columns(count))
        rows = [
            {
                name: writable(text, encoding)
                for name, text in {
                    "id": ids[place],
                    "at": times[place],
                    "y": labels[place],
                    **{name: cells[place] for name, cells in more.items()},
                }.items()
            }
            for place in range(count)
        ]
        files.append(
            Written(draw(st.permutations(rows)), separator, end, draw(st.booleans()), packed, encoding, quoted)
        )
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


def accounted(table: Table, number: int, rows: list[dict[str, Any]]) -> set[str]:
    """Hold what became of a day's rows, which are written already, against them; the ids that were published."""
    ingested = table.ingest(number)
    checks = read_checks(table.project, table.settings, day(number)).sources["rows"]
    timeless = [row for row in rows if row["at"] in TIMELESS]
    outside = [row for row in rows if row["at"] in ELSEWHERE]
    assert (checks.read, checks.timeless, checks.outside) == (len(rows), len(timeless), len(outside))
    assert ingested.rows + checks.quarantined + checks.outside + checks.timeless == len(rows)
    if ingested.url is None:
        assert ingested.rows == 0
        return set()
    published = read_partition(ingested.url)
    by_id = {str(row["id"]): row for row in rows if row not in timeless and row not in outside}
    for row in published.to_dict("records"):
        for name, written in by_id[row["id"]].items():
            if name not in ("at", "y"):
                same_value = same if isinstance(written, str) else same_typed
                assert same_value(written, row[name]), (name, written, row[name])
    return set(published["id"])


def refused_in_words(error: UpdraftError) -> None:
    """What a file is refused with: words, and nothing of what stands in it."""
    assert "Traceback" not in str(error)
    assert SECRET not in str(error)


@pytest.mark.timeout(7200)
@generated(0.4)
@given(files_of_two_days())
def test_every_row_is_accounted_for_and_every_value_is_what_was_written(files: list[Written]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix="csv.gz" if files[0].packed else "csv", data={"refuse_above": 1.0})
        table.source["encoding"] = files[0].encoding
        for number, file in enumerate(files, start=1):
            table.write(number, file.content())
        try:
            first = accounted(table, 1, files[0].rows)
            accounted(table, 2, files[1].rows)
        except UpdraftError as error:
            refused_in_words(error)
            return
        labels = read_partition(url) if (url := table.ingest(2).labels_url) else pd.DataFrame({"label": []})
        rows = [row for row in files[0].rows if row["at"] not in (*TIMELESS, *ELSEWHERE)]
        due = [float(row["y"]) for row in rows if row["id"] in first and row["y"] != ""]
        assert sorted(labels["label"]) == sorted(due)


# -- Parquet, whose columns have types of their own ---------------------------------------------------------------------------


def in_utc(moment: date) -> pd.Timestamp:
    """A time without a zone is in UTC."""
    return pd.to_datetime(pd.Timestamp(moment), utc=True)


def same_typed(written: Any, published: Any) -> bool:
    """Whether a published value is what a typed cell held."""
    if is_missing(written) or written is pd.NA:
        return is_missing(published)
    if isinstance(published, str):  # a column that is text since the first file
        if isinstance(written, float):
            return float(published) == written or np.float32(published) == np.float32(written) == written
        if isinstance(written, datetime):  # as a text it has no zeros at the end of its fraction
            return bool(in_utc(pd.Timestamp(published)) == in_utc(written).floor("us"))
        return str(written) == published or (isinstance(written, bool) and str(written).lower() == published)
    if isinstance(written, date):  # a timestamp too
        return bool(in_utc(published) == in_utc(written).floor("us"))
    if isinstance(written, Decimal):
        return float(written) == published
    return bool(written == published)


@st.composite
def typed_columns(draw: st.DrawFn, rows: int) -> dict[str, pd.Series]:
    """Up to four columns of a Parquet file, each of one of the types that pandas writes."""

    def cells(strategy: st.SearchStrategy[Any], *, gaps: bool = True) -> list[Any]:
        each = st.one_of(strategy, st.none()) if gaps and draw(st.booleans()) else strategy
        return draw(st.lists(each, min_size=rows, max_size=rows))

    time = st.datetimes(pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01"))
    makers = {
        "int64": lambda: pd.Series(cells(st.integers(-(2**63), 2**63 - 1), gaps=False), dtype="int64"),
        "uint64": lambda: pd.Series(cells(st.integers(0, 2**64 - 1), gaps=False), dtype="uint64"),
        "Int8": lambda: pd.Series(cells(st.integers(-128, 127)), dtype="Int8"),
        "float64": lambda: pd.Series(cells(st.floats()), dtype="float64"),
        "whole": lambda: pd.Series(cells(st.integers(-1000, 1000)), dtype="float64"),
        "float32": lambda: pd.Series(cells(st.floats(width=32)), dtype="float32"),
        "boolean": lambda: pd.Series(cells(st.booleans()), dtype="boolean"),
        "decimal": lambda: pd.Series(cells(st.decimals(-(10**6), 10**6, places=2)), dtype=object),
        "text": lambda: pd.Series(cells(words), dtype=object),
        "category": lambda: pd.Series(pd.Categorical(cells(st.sampled_from(["NO", "SE", "1", "01"])))),
        "ns": lambda: pd.Series(pd.to_datetime(pd.Series(cells(time)))).astype("datetime64[ns]"),
        "zoned": lambda: pd.to_datetime(pd.Series(cells(time)), utc=True).dt.tz_convert("Europe/Oslo"),
        "day": lambda: pd.Series(cells(st.dates(pd.Timestamp("1900-01-01").date())), dtype=object),
        "nothing": lambda: pd.Series([None] * rows, dtype=object),
    }
    return {f"c{place}": makers[draw(st.sampled_from(sorted(makers)))]() for place in range(draw(st.integers(1, 4)))}


@st.composite
def frames_of_two_days(draw: st.DrawFn) -> list[pd.DataFrame]:
    frames = []
    for number in (1, 2):
        count = draw(st.integers(1, 12))
        times = pd.date_range(f"2024-01-{number:02}", periods=count, freq="h", tz=draw(st.sampled_from(["UTC", None])))
        frame = pd.DataFrame({"id": [f"n{place}" for place in range(count)], "at": times.astype(str)})
        frame["at"] = times.as_unit(draw(st.sampled_from(["ns", "us", "ms"])))
        frame["y"] = draw(st.sampled_from([[0.0, 1.0], [0, 1], [True, False], [None, 1.0]]))[number - 1]
        frames.append(frame.assign(**draw(typed_columns(count))))
    return frames


@pytest.mark.timeout(7200)
@generated(0.2)
@given(frames_of_two_days())
def test_every_typed_value_is_what_was_written(frames: list[pd.DataFrame]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix="parquet", data={"refuse_above": 1.0})
        for number, frame in enumerate(frames, start=1):
            table.write(number, frame)
        try:
            for number, frame in enumerate(frames, start=1):
                accounted(table, number, frame.astype(object).to_dict("records"))
        except UpdraftError as error:
            refused_in_words(error)


# -- spoilt files -------------------------------------------------------------------------------------------------------------


@st.composite
def spoilt_files(draw: st.DrawFn) -> tuple[str, str, list[bytes]]:
    """A format, an encoding that is stated, and the bytes of two days of which something is wrong."""
    if draw(st.integers(1, 4)) == 1:
        suffix, encoding, contents = "parquet", "utf-8", [bytes_of(frame) for frame in draw(frames_of_two_days())]
    else:
        files = draw(files_of_two_days())
        suffix, encoding = "csv.gz" if files[0].packed else "csv", files[0].encoding
        contents = [file.content() for file in files]
    place = draw(st.integers(0, 1))
    content = contents[place]
    at = draw(st.integers(0, max(0, len(content) - 1)))
    harm = draw(st.sampled_from(["cut", "head", "overwrite", "insert", "another", "repeat", "encoding", "suffix"]))
    if harm == "encoding":
        encoding = draw(st.sampled_from(sorted(_CODECS)))
    elif harm == "suffix":
        suffix = draw(st.sampled_from(["csv", "csv.gz", "csv.zip", "parquet", "tsv", "xlsx"]))
    else:
        bits = draw(
            st.one_of(st.binary(max_size=12), st.sampled_from([b'"', b"\n", b"\0", b",", b"\r", b'""', b"\n\n"]))
        )
        contents[place] = {
            "cut": content[:at],
            "head": content[at:],
            "overwrite": content[:at] + bits + content[at + len(bits) :],
            "insert": content[:at] + bits + content[at:],
            "another": bits,
            "repeat": content + content,
        }[harm]
    return suffix, encoding, contents


def bytes_of(frame: pd.DataFrame) -> bytes:
    """A frame as Parquet."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.timeout(7200)
@generated(0.3)
@given(spoilt_files())
def test_a_spoilt_file_is_refused_in_words_or_accounted_for(spoilt: tuple[str, str, list[bytes]]) -> None:
    suffix, encoding, contents = spoilt
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix=suffix, data={"refuse_above": 1.0}, source={"encoding": encoding})
        for number, content in enumerate(contents, start=1):
            table.write(number, content)
            try:
                ingested = table.ingest(number)
            except UpdraftError as error:
                refused_in_words(error)
                continue
            checks = read_checks(table.project, table.settings, day(number)).sources["rows"]
            assert ingested.rows + checks.quarantined + checks.outside + checks.timeless == checks.read


# -- the steps of the loop, and the commands ----------------------------------------------------------------------------------


def written_project(table: Table) -> Project:
    """The project as a folder that commands read, whose features are what a person writes first: every column but the key."""
    project = table.project
    spec = {
        "name": "table",
        "owner": "me",
        "data": {**project.spec.data.model_dump(mode="json", exclude_defaults=True)},
    }
    spec["data"] |= {"end": "2024-01-03", "label": {"expr": "y", "matures_after": "1d"}, "refuse_above": 1.0}
    (project.folder / "project.yaml").write_text(yaml.safe_dump(spec))
    (project.folder / "features.py").write_text("def features(rows):\n    return rows.drop(columns=['id', 'at'])\n")
    return load_project(project.folder)


@pytest.mark.timeout(7200)
@generated(0.07)
@given(
    st.one_of(
        files_of_two_days().map(lambda files: ("csv", files[0].encoding, [f.content() for f in unpacked(files)])),
        spoilt_files(),
    )
)
def test_the_steps_of_the_loop_record_what_became_of_each_file(made: tuple[str, str, list[bytes]]) -> None:
    suffix, encoding, contents = made
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix=suffix, source={"encoding": encoding})
        for number, content in enumerate(contents, start=1):
            table.write(number, content)
        loop = Loop(written_project(table), table.settings, Store.in_memory(), KeptModels())
        for number in (1, 2):
            try:
                row = ingest(loop, day(number))
            except UpdraftError as error:
                refused_in_words(error)
                failed = loop.store.failed_ingestions("table", since="", until=day(9))
                refused = loop.store.partition(loop.name, day(number))
                assert day(number) in failed or (refused is not None and refused.state == "refused")
                continue
            [checks] = row.checks["sources"].values()
            lost = checks["quarantined"] + checks["outside"] + checks["timeless"]
            assert row.rows + lost == checks["rows"] + checks["outside"] + checks["timeless"]
        loop.store.close()


def unpacked(files: list[Written]) -> list[Written]:
    """The same files, not packed."""
    return [replace(file, packed=False) for file in files]


@pytest.mark.timeout(7200)
@generated(0.03)
@given(spoilt_files())
def test_validate_and_backtest_end_in_words(made: tuple[str, str, list[bytes]]) -> None:
    suffix, encoding, contents = made
    with tempfile.TemporaryDirectory() as folder:
        table = Table(Path(folder), suffix=suffix, source={"encoding": encoding})
        for number, content in enumerate(contents, start=1):
            table.write(number, content)
        written_project(table)
        env = {"UPDRAFT_HOME": str(table.folder / "home"), "UPDRAFT_PROJECTS": str(table.folder)}
        for command in ("validate", "backtest"):
            done = CliRunner().invoke(app, [command, "table"], env=env)
            assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
            assert "Traceback" not in done.output
            assert SECRET not in done.output
