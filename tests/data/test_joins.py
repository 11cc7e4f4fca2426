"""Joins by time against the slow and plain answer: whatever keys, ties, zones and nulls there are, never the future."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updraft.data.duck import columns_of
from updraft.data.joins import matches
from updraft.errors import DataError
from updraft.spec.source import Source

BEGIN = datetime(2024, 3, 31, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", None])
MOMENTS = st.integers(0, 12).map(lambda hours: BEGIN + timedelta(hours=hours))
NUMBERS = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
EVENTS = st.lists(st.tuples(KEYS, MOMENTS), max_size=12)
OTHERS = st.lists(st.tuples(KEYS, MOMENTS, NUMBERS), max_size=20)
HOURS = (2, 5)


CON = duckdb.connect()
CON.execute("SET TimeZone = 'UTC'")
CON.execute("SET threads = 2")


def answer(spec, events, others, *, key=pa.string(), x=pa.float64()):  # noqa: B008
    """What each event finds, by its number."""
    moment = pa.timestamp("us", "UTC")
    rows = pa.table(
        {
            "_n": pa.array(range(len(events)), pa.int64()),
            "key": pa.array([of for of, _ in events], pa.string()),
            "at": pa.array([at for _, at in events], moment),
        }
    )
    facts = {
        "key": [of for of, _, _ in others],
        "at": [at for _, at, _ in others],
        "x": [number for _, _, number in others],
    }
    types = {"key": key, "at": moment, "x": x}
    CON.register("rows", rows)
    CON.register("others", pa.table({column: pa.array(values, types[column]) for column, values in facts.items()}))
    of = columns_of(CON, "rows"), columns_of(CON, "others")
    query = matches("facts", spec, rows="rows", others="others", time="at", kinds=of)
    return {row.pop("_n"): row for row in CON.sql(query).to_arrow_table().to_pylist()}


def source(**keys):
    return Source.model_validate({"url": "x", "event_time": "at", "join": ["key"], **keys})


ASOF = source(asof={"tolerance": timedelta(hours=3)})
SUMS = source(aggregate={"x": ("count", "sum", "mean", "last")}, over=tuple(timedelta(hours=hours) for hours in HOURS))


@settings(max_examples=60, deadline=None)
@given(EVENTS, OTHERS)
def test_asof_is_the_latest_row_at_or_before_the_event(events, others) -> None:
    joined = answer(ASOF, events, others)
    for number, (key, at) in enumerate(events):
        before = [
            other
            for other in others
            if key is not None and other[0] == key and at - timedelta(hours=3) <= other[1] <= at
        ]
        if not before:
            assert number not in joined
            continue
        latest = max(moment for _, moment, _ in before)
        ties = [x for _, moment, x in before if moment == latest]
        first = min((x for x in ties if x is not None), default=None)  # nulls last
        assert joined[number]["facts_x"] == first
        assert joined[number]["facts_at"] == latest


@settings(max_examples=60, deadline=None)
@given(EVENTS, OTHERS)
def test_aggregates_take_the_rows_strictly_before_the_event_within_their_window(events, others) -> None:
    joined = answer(SUMS, events, others)
    for number, (key, at) in enumerate(events):
        row = joined.get(number)
        for hours in HOURS:
            before = [
                (moment, x) for of, moment, x in others
                if key is not None and of == key and at - timedelta(hours=hours) <= moment < at and x is not None
            ]  # fmt: skip
            values = [x for _, x in before]
            told = {name: (row or {}).get(f"facts_x_{name}_{hours}h") for name in ("count", "sum", "mean", "last")}
            assert (told["count"] or 0) == len(values)
            if not values:
                assert told["sum"] is told["mean"] is told["last"] is None
                continue
            assert told["sum"] == pytest.approx(math.fsum(values), abs=1e-6)
            assert told["mean"] == pytest.approx(math.fsum(values) / len(values), abs=1e-6)
            assert told["last"] == max(x for moment, x in before if moment == max(moment for moment, _ in before))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(KEYS, MOMENTS), min_size=1, max_size=12), OTHERS, st.randoms())
def test_the_order_of_the_rows_changes_no_bit(events, others, random) -> None:
    turned = random.sample(others, len(others))
    for spec in (ASOF, SUMS):
        assert answer(spec, events, others) == answer(spec, events, turned)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(KEYS, MOMENTS), min_size=1, max_size=12), OTHERS)
def test_what_happens_after_the_event_changes_nothing(events, others) -> None:
    last = max(at for _, at in events)
    for spec in (ASOF, SUMS):
        later = [("a", last + timedelta(seconds=1), 1e9), ("b", last + timedelta(hours=1), -1e9)]
        assert answer(spec, events, others) == answer(spec, events, others + later)


def test_moments_are_compared_and_not_wall_clocks() -> None:
    """02:30 in Oslo stands twice on the night on which the clocks are set back; the moments are an hour apart."""
    from zoneinfo import ZoneInfo

    oslo = ZoneInfo("Europe/Oslo")
    first, second = (datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=oslo) for fold in (0, 1))
    told = answer(ASOF, [("a", first), ("a", second)], [("a", second, 1.0)])
    assert list(told) == [1]


def test_keys_of_other_types_join_as_their_text_and_texts_are_not_added_up() -> None:
    assert answer(ASOF, [("7", BEGIN)], [(7, BEGIN, 1.0)], key=pa.int64())[0]["facts_x"] == 1.0
    assert (
        answer(SUMS, [("7", BEGIN)], [(7, BEGIN - timedelta(hours=1), 1.0)], key=pa.int64())[0]["facts_x_sum_2h"] == 1.0
    )
    with pytest.raises(DataError, match=r"column 'x' is VARCHAR, of which there is no sum .*state `x: number`"):
        answer(SUMS, [("a", BEGIN)], [("a", BEGIN, "1")], x=pa.string())
