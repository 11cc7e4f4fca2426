"""The Evidently report of a partition says what was decided of its drift, with and without an alarm, and draws no private column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape

import pandas as pd
import pytest
from tests.support import hours

from updraft import files
from updraft.control.fleet import drift_now
from updraft.loop.context import Loop
from updraft.loop.in_process import play
from updraft.loop.report import write_partition_report
from updraft.spec.model import Drift
from updraft.store.store import Store

CALM, SHIFTED = hours.PLAYED + 2, hours.PLAYED + 3
"""Hours after the first champion: one like those that it learnt from and one that is hotter by three standard deviations."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory) -> Iterator[Loop]:
    begun, models = hours.begin(tmp_path_factory.mktemp("hours"), Store.in_memory())
    # As many false alarms as eight partitions can be calibrated for.
    drift = Drift.model_validate({"false_alarms": "150 per month", "persist": "1 of 1"})
    monitoring = begun.spec.monitoring.model_copy(update={"drift": drift})
    spec = begun.spec.model_copy(update={"monitoring": monitoring})
    loop = replace(begun, project=begun.project.model_copy(update={"spec": spec}))
    for row in hours.ticks(loop, models, range(hours.PLAYED, SHIFTED)):
        play(loop, models, row)
    events = hours.events
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hours, "events", lambda hour: hotter(events(hour), 3.0 if hour == SHIFTED else 0.0))
        play(loop, models, hours.ingested(loop, SHIFTED))
    yield loop
    loop.store.close()


def hotter(rows: pd.DataFrame, by: float) -> pd.DataFrame:
    return rows.assign(heat=rows["heat"] + by)


def written(loop: Loop, hour: int) -> tuple[str, dict[str, str], dict[str, dict[str, object]]]:
    """Of an hour's page: what stands above the pictures, the counts, and the rows of the table by column."""
    page = files.read_bytes(str(write_partition_report(loop, hours.key(hour)))).decode()
    [widget] = json.loads(re.search(r"^const dashboard = (.*);$", page, re.MULTILINE)[1])["widgets"]
    counts, table = widget["widgets"]
    head = page[page.index("<header>") : page.index("</header>")]
    counters = {counter["label"]: counter["value"] for counter in counts["params"]["counters"]}
    return head, counters, {row["column_name"]: row for row in table["params"]["data"]}


@pytest.mark.parametrize(("hour", "alarm"), [(CALM, False), (SHIFTED, True)])
def test_the_page_says_what_was_decided_and_calls_those_columns_far_that_were(loop, hour, alarm):
    decision = loop.store.decision(loop.name, "diagnose", hours.key(hour))
    drift = decision.body["drift"]
    assert drift["alarm"] is alarm, drift
    head, counts, table = written(loop, hour)
    assert ("<strong>No drift alarm.</strong>" in head) is not alarm
    assert ("<strong>Drift alarm.</strong>" in head) is alarm
    assert escape(drift["reason"]) in head
    diagnosis = decision.body["diagnosis"]
    assert (escape(diagnosis["words"]) if diagnosis else "nothing was to be done") in head
    far = {column for column, score in drift["scores"].items() if score > drift["threshold"]}
    assert bool(far) is alarm
    assert {column for column, row in table.items() if row["data_drift"] == "above"} == far
    assert counts["Above the threshold here"] == str(len(far))
    assert table[drift["column"]]["drift_score"] == round(drift["score"], 3)
    assert {row["stattest_name"] for row in table.values()} == {f"{drift['threshold']:.3f}"}


def test_the_control_room_says_the_same_of_the_newest(loop):
    now = drift_now(loop.store, loop.name)
    head, _, table = written(loop, SHIFTED)
    assert (now.key, now.alarm) == (hours.key(SHIFTED), True)
    assert escape(now.words) in head
    assert table[now.column]["data_drift"] == "above"


def test_before_drift_can_be_measured_the_page_calls_no_column_drifted(loop):
    head, counts, table = written(loop, hours.PLAYED - 1)
    assert "<strong>Drift is not measured here.</strong>" in head
    assert counts == {"Columns drawn": "2"}
    assert set(table) == {"heat", "load"}


def test_a_private_column_is_told_of_and_not_drawn(loop):
    def with_private(*columns: str) -> Loop:
        data = loop.spec.data.model_copy(update={"private": columns})
        spec = loop.spec.model_copy(update={"data": data})
        return replace(loop, project=loop.project.model_copy(update={"spec": spec}))

    head, counts, table = written(with_private("load"), CALM)
    assert set(table) == {"heat"}
    assert "Measured and not drawn: load (private): " in head
    assert (counts["Columns measured"], counts["Columns drawn"]) == ("2", "1")
    assert write_partition_report(with_private("heat", "load"), hours.key(CALM)) is None
