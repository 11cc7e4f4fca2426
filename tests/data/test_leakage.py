"""The leakage guard: planted leaks of each kind are named, and clean data pass, the shared streams and flights among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from updraft.data.leakage import copied, later_times, leaks, sentences

STREAMS = Path(__file__).parents[3] / "shared" / "streams"
ROWS = 2_000


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def clean(rng, rows=ROWS):
    return pd.DataFrame(
        {
            "number": rng.normal(size=rows),
            "whole": rng.integers(0, 9, rows),
            "text": rng.choice(list("abcdef"), rows),
            "flag": rng.random(rows) > 0.3,
            "gaps": np.where(rng.random(rows) > 0.4, rng.normal(size=rows), np.nan),
        }
    )


def of_one(target):
    """Rows of one partition."""
    return np.full(len(target), "2024-01-01")


def binary(rng, frame):
    return (frame["number"] + rng.normal(size=len(frame)) > 0.5).to_numpy(float)


@pytest.mark.parametrize(
    ("task", "plant"),
    [
        ("binary", lambda y, rng: y),
        ("binary", lambda y, rng: np.exp(-3 * y) + rng.random(len(y)) / 1e3),
        ("binary", lambda y, rng: np.where(y == 1, "closed", "open")),
        ("binary", lambda y, rng: np.where(rng.random(len(y)) < 0.0003, 1 - y, y)),
        ("regression", lambda y, rng: y),
        ("regression", lambda y, rng: -np.exp(y)),
        ("regression", lambda y, rng: y + rng.normal(size=len(y)) / 1e3),
        ("multiclass", lambda y, rng: y),
        ("multiclass", lambda y, rng: np.array(["red", "green", "blue", "grey"])[y.astype(int)]),
        ("multiclass", lambda y, rng: 10 - 2 * y),
    ],
)
def test_a_copy_and_a_monotone_function_of_the_target_are_named(rng, task, plant):
    frame = clean(rng)
    target = {
        "binary": lambda: binary(rng, frame),
        "regression": lambda: frame["number"].to_numpy() + rng.normal(size=ROWS),
        "multiclass": lambda: np.clip(np.round(frame["number"].to_numpy() + rng.normal(size=ROWS) / 2), -1, 2) + 1,
    }[task]()
    assert leaks(frame, target, task, partition=of_one(target)) == {}
    told = leaks(frame.assign(planted=plant(target, rng)), target, task, partition=of_one(target))
    assert list(told) == ["planted"]
    assert told["planted"].startswith("tells the label alone")


@pytest.mark.parametrize("empty", [None, 0.0])
def test_what_is_filled_in_with_the_label_is_named(rng, empty):
    frame = clean(rng)
    target = binary(rng, frame)
    target[1_500:] = np.nan
    assert leaks(frame, target, "binary", partition=of_one(target)) == {}
    later = rng.normal(size=ROWS) if empty is None else rng.integers(0, 5, ROWS).astype(float)
    later[1_500:] = np.nan if empty is None else empty
    told = leaks(frame.assign(later=later), target, "binary", partition=of_one(target))
    assert list(told) == ["later"]
    assert "it comes with the label" in told["later"]


def test_what_is_one_value_in_a_whole_day_is_no_leak_of_the_day_whose_labels_are_to_come(rng):
    """A weekday, a holiday, the weather of the day: of the newest day, whose labels are not known, it is one value too."""
    day = np.repeat([f"2024-01-0{number}" for number in range(1, 9)], ROWS // 8)
    number = pd.Series(day).str[-1].astype(int)
    frame = clean(rng).iloc[: len(day)].assign(weekday=number % 7, holiday=number == 3, rain=number**2 / 7.0)
    target = binary(rng, frame)
    target[day == day[-1]] = np.nan
    assert leaks(frame, target, "binary", partition=day) == {}
    later = pd.Series(rng.integers(0, 5, len(day))).where(day != day[-1], 0)
    assert list(leaks(frame.assign(later=later), target, "binary", partition=day)) == ["later"]


def test_times_after_the_rows_own_are_named(rng):
    at = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="min", tz="UTC"))
    frame = pd.DataFrame({"before": at - pd.Timedelta("3h"), "after": at + pd.Timedelta("3h"), "text": "2030-01-01"})
    assert list(later_times(frame, at)) == ["after"]


def test_rows_of_the_holdout_that_were_learnt_from_are_counted(rng):
    frame = clean(rng)
    assert copied(frame.iloc[:1_000], frame.iloc[1_000:]) == 0
    assert copied(frame.iloc[:1_000], frame.iloc[900:]) == 100


def test_what_the_project_says_is_no_leak_is_let_through(rng):
    frame = clean(rng)
    target = binary(rng, frame)
    told = leaks(frame.assign(rule=target), target, "binary", partition=of_one(target))
    assert list(sentences(told, ("rule",))) == []
    [sentence] = sentences(told, ())
    assert "data.outcomes" in sentence
    assert "data.not_leaks" in sentence


def test_a_strong_feature_is_no_leak(rng):
    """An area under the curve of 0.99 is a fine feature: only what tells nearly every pair of rows apart is refused."""
    target = (rng.random(ROWS) < 0.2).astype(float)
    strong = pd.DataFrame({"strong": target * 3.3 + rng.normal(size=ROWS)})
    assert leaks(strong, target, "binary", partition=of_one(target)) == {}


def test_no_column_of_noise_is_named_in_2000(rng):
    """No false alarm in 2,000 columns: fewer than 0.15 % of clean columns with 95 % confidence (rule of three)."""
    told = {}
    for _ in range(40):
        frame = pd.DataFrame(rng.normal(size=(300, 50))).add_prefix("c")
        target = (rng.random(300) < rng.uniform(0.1, 0.9)).astype(float)
        target[rng.random(300) < 0.3] = np.nan
        told |= leaks(frame, target, "binary", partition=of_one(target))
    assert told == {}


@pytest.mark.skipif(not STREAMS.is_dir(), reason="no shared streams here")
@pytest.mark.parametrize(
    ("stream", "copies"), [("phishing", []), ("luxembourg", ["at3"]), ("moving_squares", []), ("interchanging_rbf", [])]
)
def test_the_streams_are_clean_but_for_the_copy_of_the_label_that_one_of_them_has(stream, copies):
    frame = pd.read_csv(STREAMS / f"{stream}.csv.gz")
    task = "binary" if frame["label"].nunique() == 2 else "multiclass"
    label = frame["label"].astype("category").cat.codes.to_numpy(float)
    assert list(leaks(frame.drop(columns=["id", "at", "label"]), label, task, partition=of_one(label))) == copies
