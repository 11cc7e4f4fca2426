"""What was written of a partition is searched for raw private values: a leak of each kind is found, and clean data are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from tests.support import flights
from tests.support.made_project import MadeProject

from updraft import files
from updraft.alerts import messages, outbox
from updraft.data.private_scan import is_telling
from updraft.errors import DataError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.ingest import ingest
from updraft.loop.private_scan import check_told, check_written, secrets_or_none
from updraft.store.store import Store

KEY = "2024-01-02T0000"
PERSONS = [
    "Anna Smith",
    "NO",
    "1",
    "",
    "Ďábel Jiří-Ångström",
    "orders",
    "unknown",
    "late = 1",
    "amount",
    "o'Hara & Søn",
    "2024-01-01",
]
"""Short values, none, unicode, words of headers and of the project, what pages escape, and a date."""
RULES = "orders:\n  rows:\n    - {expect: column_values_to_be_between, column: amount, min_value: 0}\n"


def write(made, note=lambda n: f"parcel {n % 5}", mail=lambda n: f"Person{n}@Example.org"):
    rows = [
        {
            "id": 1000 + n,
            "at": f"2024-01-01T{n % 24:02}:{n // 24:02}:00Z",
            "shop": "abc"[n % 3],
            "amount": -1 if n == 7 else n % 7,
            "late": n % 2,
            "name": PERSONS[n % len(PERSONS)],
            "mail": mail(n),
            "phone": 49_301_000_000 + n,
            "note": note(n),
        }
        for n in range(60)
    ]
    pd.DataFrame(rows).to_csv(made.file(1), index=False)


def project(folder):
    made = MadeProject(folder, 1)
    made.write(lambda spec: spec["data"].update(private=["name", "mail", "phone"], refuse_above=0.2))
    (made.folder / "expectations.yaml").write_text(RULES)
    write(made)
    return made


@pytest.fixture(scope="module")
def ugly(tmp_path_factory):
    """A project whose only partition is published; with what is looked for in it."""
    made = project(tmp_path_factory.mktemp("ugly"))
    loop = Loop(made.project, made.settings, Store.in_memory(), KeptModels())
    row = ingest(loop, KEY)  # which is the silence on clean data
    yield SimpleNamespace(loop=loop, row=row, secrets=secrets_or_none(loop, KEY), features=loop.features_file(row)[0])
    loop.store.close()


def planted(path, change):
    """The lake is left as it was: a file with a leak is removed by the check that finds it."""
    before = path.read_bytes()
    change(path)
    return before


def table(path, column, value):
    frame = pd.read_parquet(path)
    frame[column] = frame[column].astype(object)
    frame.loc[len(frame) - 1, column] = value
    frame.to_parquet(path)


def test_nothing_is_found_in_what_is_clean(ugly):
    assert ugly.row.rows == 59
    assert ugly.row.quarantined == 1
    check_written(ugly.loop, ugly.row, ugly.secrets, features=ugly.features)
    check_told(ugly.loop, KEY, ugly.secrets)


@pytest.mark.parametrize(
    ("place", "column", "value", "found"),
    [
        ("rows", "mail", "Person3@Example.org", "orders.mail"),
        ("rows", "name", "NO", "orders.name"),  # where pseudonyms belong, no value is too short
        ("rows", "name", "a new one", "stands in"),
        ("rows", "note", "please call ANNA SMITH at noon", "orders.name"),
        ("rows", "note", "to:ďábel jiří-ångström.", "orders.name"),
        ("rows", "note", "+49301000017", "orders.phone"),
        ("features", "shop", "person3@example.org", "orders.mail"),
        ("quarantine", "_misfits", "id: person59@example.org", "orders.mail"),
    ],
)
def test_a_leak_in_a_table_is_found_and_its_file_removed(ugly, place, column, value, found):
    url = {"rows": ugly.row.url, "features": ugly.features, "quarantine": ugly.loop.lake.quarantine(KEY, "orders")}[
        place
    ]
    path = files.local_path(url) if "://" in url else url
    before = planted(path, lambda path: table(path, column, value))
    with pytest.raises(DataError, match=f"column {column}") as told:
        check_written(ugly.loop, ugly.row, ugly.secrets, features=ugly.features)
    assert found in str(told.value)
    assert str(url) in str(told.value)
    assert value not in str(told.value)
    assert path.exists() == (place == "rows")  # what is published already stays; what is not goes
    path.write_bytes(before)


def test_a_leak_in_a_page_is_found_as_html_writes_it(ugly):
    page = files.local_path(ugly.loop.lake.docs(KEY))
    before = planted(page, lambda page: page.write_text(page.read_text() + "<p>o&#39;Hara &amp; Søn</p>"))
    with pytest.raises(DataError, match=r"orders.name stands in .*docs.*line"):
        check_written(ugly.loop, ugly.row, ugly.secrets, features=None)
    assert not page.exists()
    page.write_bytes(before)


@pytest.mark.parametrize("what", ["checks", "profile"])
def test_a_leak_in_what_the_store_keeps_is_found(ugly, what):
    value = {**getattr(ugly.row, what), "more": [{"examples": ["anna smith"]}]}
    with pytest.raises(DataError, match=rf"orders.name stands in the {what} of the store \(more.examples\)"):
        check_written(ugly.loop, replace(ugly.row, **{what: value}), ugly.secrets, features=None)


def test_a_leak_in_a_log_is_found_as_json_writes_it(ugly, tmp_path):
    log = tmp_path / "attempt=1.log"
    log.write_text(json.dumps({"event": "Published 59 rows"}) + "\n")
    check_told(ugly.loop, KEY, ugly.secrets, [log])
    with log.open("a") as file:
        file.write(json.dumps({"event": "row of Ďábel Jiří-Ångström"}) + "\n")
    with pytest.raises(DataError, match=r"attempt=1.log \(line 2\)"):
        check_told(ugly.loop, KEY, ugly.secrets, [log])


def test_a_leak_in_an_alert_is_found(ugly):
    alert = messages.outside("shop", key=KEY, source="orders", rows=1, timeless=0, of=9)
    outbox.record(ugly.loop.store.engine, alert)
    check_told(ugly.loop, KEY, ugly.secrets)
    outbox.record(ugly.loop.store.engine, replace(alert, dedup="another", fold=None, detail="of Anna Smith"))
    with pytest.raises(DataError, match=r"stands in alert outside \(detail\)"):
        check_told(ugly.loop, KEY, ugly.secrets)


def test_a_value_within_another_word_is_none(ugly):
    assert ugly.secrets.in_text("Joanna Smithers and xperson3@example.org") is None
    assert ugly.secrets.in_text("orders are late = 1, amount unknown, on 2024-01-01, NO") is None
    assert ugly.secrets.in_text("(person3@example.org)") == "orders.mail"


def test_what_is_found_by_chance_is_not_looked_for():
    assert not any(map(is_telling, ["no", "12345678", "2024-01-01", "2024-01-01 05:00:00", "unknown", "short"]))
    assert all(map(is_telling, ["n14228", "123456789", "+49 30 1234567", "anna smith"]))


def test_free_text_that_holds_a_private_value_stops_publication(tmp_path):
    made = project(tmp_path)
    write(made, note=lambda n: "for person9@example.org" if n == 30 else "")
    loop = Loop(made.project, made.settings, Store.in_memory(), KeptModels())
    with pytest.raises(
        DataError, match=r"private column orders.mail stands in .*partitions.*\(column note\).*nothing .* is published"
    ):
        ingest(loop, KEY)
    assert loop.store.partition_row(loop.name, KEY) is None
    lake = files.local_path(loop.lake.url)
    assert not list((lake / "partitions").glob("*"))
    failed = loop.store.failed_ingestions(loop.name, since=KEY, until=KEY)[KEY]
    assert "person9" not in failed.words.lower()
    made.write(lambda spec: spec.update(privacy={"scan": {"not_searched": ["mail"]}}))
    loop = Loop(made.project, made.settings, loop.store, KeptModels())
    assert ingest(loop, KEY).state == "published"
    loop.store.close()


def test_no_value_is_found_in_the_flights(tmp_path):
    project, settings = flights.flights(), flights.settings(tmp_path)
    loop = Loop(project, settings, Store.in_memory(), KeptModels())
    row = ingest(loop, "2013-01-07T0500")
    assert row.rows > 4_000
    secrets = secrets_or_none(loop, row.key)
    assert len(secrets.cells) > 1_000
    with pytest.raises(DataError, match=r"flights.tailnum stands in the checks"):
        check_written(loop, replace(row, checks={"example": next(iter(secrets.by_word))}), secrets, features=None)
    loop.store.close()
