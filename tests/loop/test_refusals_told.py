"""A refusal as on-call reads it: by its rule, with what can help, and marked when it is over, in Slack's words and in the data docs."""

from __future__ import annotations

import json

import pytest
from tests.support.made_project import MadeProject

from updraft import files
from updraft.alerts import outbox
from updraft.errors import PartitionRefused
from updraft.loop.alerting import partition_alerts, training_alerts
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import extract, ingest, validate
from updraft.spec.load import load_project
from updraft.store.store import Store

FIRST, SECOND = "2024-01-02T0000", "2024-01-03T0000"
BAD = "{made: {table: [{expect: table_row_count_to_be_between, max_value: 3}]}}"


@pytest.fixture
def shop(tmp_path):
    return MadeProject(tmp_path, days=10)


@pytest.fixture
def loop(shop, store_url):
    def contract(text: str) -> Loop:
        source = next(iter(load_project(shop.folder).spec.data.sources))
        (shop.folder / "expectations.yaml").write_text(text.replace("made", source))
        return Loop(load_project(shop.folder), shop.settings, store, KeptModels())

    store = Store.open(store_url)
    yield contract
    store.close()


def told(loop: Loop) -> list[outbox.Stored]:
    return list(outbox.recent(loop.store.engine, loop.name))[::-1]


def month_of(loop: Loop) -> dict[str, dict[str, object]]:
    return json.loads(files.read_bytes(f"{loop.lake.url}/docs/months/2024-01/index.json"))


def test_a_refusal_is_told_by_its_rule_and_marked_when_the_partition_is_published(loop):
    strict = loop(BAD)
    extract(strict, FIRST)
    with pytest.raises(PartitionRefused):
        validate(strict, FIRST, run="manual__2024-01-02T00:00:00+00:00")
    [refusal] = told(strict)
    rows = int(refusal.alert.title.rsplit(" rows ", 1)[1].split()[0])
    assert refusal.alert.title.endswith(f"number of rows {rows} is above 3")
    assert refusal.alert.routine is False
    assert "clear the run" in refusal.alert.needs
    assert month_of(strict)[FIRST]["state"] == "refused"

    mended = loop("{}")
    ingest(mended, FIRST)
    refusal, reply = told(mended)
    assert refusal.resolved_at is not None
    assert reply.alert.text == f"Partition {FIRST} is published: {rows} rows."
    page = files.read_bytes(f"{mended.lake.url}/docs/{FIRST}/index.html").decode()
    assert "Resolved: it was refused before" in page
    assert "table_row_count_to_be_between" in page
    assert "was refused, resolved" in files.read_bytes(f"{mended.lake.url}/docs/months/2024-01/index.html").decode()
    ingest(mended, FIRST)
    assert len(month_of(mended)[FIRST]["refused"]) == 1, "the refusal stays, once"
    assert len(told(mended)) == 2


def test_a_refusal_whose_docs_an_earlier_version_wrote_stays_as_well(loop):
    strict = loop(BAD)
    extract(strict, FIRST)
    with pytest.raises(PartitionRefused):
        validate(strict, FIRST)
    url = f"{strict.lake.url}/docs/months/2024-01/{FIRST}.json"
    earlier = files.read_json(url)
    earlier.pop("refused")
    files.write_json(url, earlier)
    ingest(loop("{}"), FIRST)
    assert "Resolved: it was refused before" in files.read_bytes(f"{strict.lake.url}/docs/{FIRST}/index.html").decode()


def test_a_partition_that_is_passed_over_is_resolved_with_who_and_why(loop):
    strict = loop(BAD)
    for key in (FIRST, SECOND):
        extract(strict, key)
        with pytest.raises(PartitionRefused):
            validate(strict, key)
    partition_alerts.partition_passed_over(strict, FIRST, "ada", "the shop was closed")

    first, second, reply = told(strict)
    assert (first.resolved_at is None, second.resolved_at is None) == (False, True)
    assert "passed over by ada: the shop was closed" in reply.alert.text
    assert first.alert.thread == second.alert.thread == reply.alert.thread


def test_a_training_that_brings_a_version_that_is_there_announces_nothing(loop):
    from updraft.store.records import TrainingRow

    here = loop("{}")
    gates = {"passed": True, "reasons": [], "against": "the base rate"}
    for run in ("first", "again"):
        row = TrainingRow(run, here.name, FIRST, None, "a" * 64, "accepted", "1", {})
        here.store.record_training(row)
        training_alerts.trained(here, run, "1", gates)
    assert len(told(here)) == 1
