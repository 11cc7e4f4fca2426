"""Rows of a web service: in pages of every kind, signed in in every way, and nothing of a window of which something is missing."""

from __future__ import annotations

import itertools
import json
import time
from datetime import UTC, datetime

import pandas as pd
import pytest
from tests.support.web_service import running_service

from updraft.connections import Connection, GivenConnections
from updraft.data import sources
from updraft.data.readers.http import HttpReader, filled
from updraft.data.readers.reader import Window
from updraft.errors import DataError, SettingsError, SourceAway, SourceBehind, SourceMissing
from updraft.spec.source import Source

WINDOW = Window("2024-01-03T0000", datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
ROWS = [{"id": n, "at": f"2024-01-0{1 + n // 24}T{n % 24:02}:00:00Z", "amount": 1.5 * n} for n in range(72)]
PAGES = {
    "number": {"by": "number", "param": "page"},
    "offset": {"by": "offset", "param": "skip"},
    "cursor": {"by": "cursor", "param": "after", "next": "next"},
    "link": {"by": "link"},
}


@pytest.fixture
def service():
    with running_service(rows=ROWS) as running:
        yield running


def reader(service, connection=None, **keys):
    spec = Source.model_validate(
        {
            "type": "http",
            "url": f"{service.url}/rows",
            "records": "data.items",
            "params": {"since": "{from}", "until": "{until}"},
            "pages": PAGES[service.by],
            "event_time": "at",
            "timeout": "20s",
            **keys,
            **({"connection": "api", "url": "/rows"} if connection else {}),
        }
    )
    connections = GivenConnections({"api": connection} if connection else {})
    return HttpReader("orders", spec, connections, kept=("at", "id"))


def ids(reader, folder):
    lines = reader.arrive(WINDOW, folder).read_text().splitlines()
    return [int(json.loads(line)["id"]) for line in lines]


def connection(service, **keys):
    host = service.url.removeprefix("http://")
    return Connection(id="api", kind="http", host=host.split(":")[0], port=int(host.split(":")[1]), **keys)


@pytest.mark.parametrize("by", list(PAGES))
@pytest.mark.parametrize("sizes", [[7], [24], [100], [5, 1, 11, 2]], ids=str)
def test_every_record_of_the_window_comes_once_however_pages_are_counted_and_cut(service, tmp_path, by, sizes) -> None:
    service.by, service.sizes = by, sizes
    assert ids(reader(service), tmp_path) == list(range(24, 48))


def test_a_server_that_is_busy_is_asked_again_when_it_says(service, tmp_path) -> None:
    service.wrong = {2: (429, {"Retry-After": "1"}), 4: 503}
    assert ids(reader(service), tmp_path) == list(range(24, 48))
    assert service.asked[2][0] - service.asked[1][0] >= 1


def test_a_server_that_asks_for_a_long_pause_is_waited_for_without_a_worker(service, tmp_path) -> None:
    service.wrong = {2: (429, {"Retry-After": "3600"})}
    began = time.monotonic()
    with pytest.raises(SourceAway, match=r"status 429"):
        reader(service).arrive(WINDOW, tmp_path)
    assert time.monotonic() - began < 10


def test_no_more_requests_are_made_in_a_second_than_the_rate(service, tmp_path) -> None:
    reader(service, rate=10).arrive(WINDOW, tmp_path)
    moments = [moment for moment, _ in service.asked]
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) > 0.08


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b'{"data": {"items": [{"id": 1', DataError, "no JSON"),
        (b"<html>sign in</html>", DataError, "no JSON"),
        (b'{"data": {"rows": []}}', DataError, "nothing at 'data.items'"),
        (b'{"data": {"items": {"id": 1}}}', DataError, "no list of records"),
        (b'{"data": {"items": [7]}}', DataError, "record 1 of page 3 is no JSON object"),
        (b'{"data": {"items": [{"a": {"b": 1}, "a_b": 2}]}}', DataError, "two values for column 'a_b'"),
        (403, DataError, "refuses with status 403"),
        (404, SourceMissing, "there is nothing at"),
        (500, SourceAway, "status 500"),
    ],
    ids=str,
)
def test_of_a_window_that_breaks_off_half_way_nothing_is_kept(service, shop, answer, kind, words) -> None:
    service.wrong = dict.fromkeys(range(3, 20), answer)
    shop.data["sources"] = with_orders_of(shop, service)
    with (
        pytest.raises(kind, match=words),
        sources.table(shop.project, shop.settings.raw_zone("shop"), "orders", WINDOW.key),
    ):
        pass
    assert not list(shop.folder.rglob("*.jsonl"))


def with_orders_of(shop, service, **keys):
    specs = {name: source.model_dump(mode="json") for name, source in shop.project.spec.data.sources.items()}
    orders = {
        "type": "http",
        "url": f"{service.url}/rows",
        "records": "data.items",
        "params": {"since": "{from}", "until": "{until}"},
        "pages": {"by": "number", "param": "page"},
        "event_time": "at",
        "timeout": "3s",
        **keys,
    }
    return {"orders": orders, **{name: spec for name, spec in specs.items() if name != "orders"}}


def test_a_service_gives_the_partition_that_a_file_gives(shop, make_orders, service) -> None:
    from updraft.data.ingest import extract_partition, publish_partition, validate_partition

    def published():
        extract_partition(shop.project, shop.settings, WINDOW.key)
        validate_partition(shop.project, shop.settings, WINDOW.key)
        row = publish_partition(shop.project, shop.settings, WINDOW.key)
        return row.sha256, row.labels_sha256, row.rows

    of_file = published()
    frame = make_orders().astype(object)
    service.rows = frame.where(frame.notna(), None).to_dict("records")
    service.sizes = [13]
    shop.data["sources"] = with_orders_of(shop, service)
    assert published() == of_file
    assert of_file[2] == 40


def test_a_service_that_does_not_count_pages_is_refused_and_not_asked_for_ever(service, tmp_path) -> None:
    with pytest.raises(DataError, match=r"gives page 2 as page 1 again"):
        reader(service, pages={"by": "number", "param": "seite"}).arrive(WINDOW, tmp_path)


def test_a_window_without_records_is_waited_for_unless_the_source_says_that_it_is_quiet(service, tmp_path) -> None:
    service.rows = []
    with pytest.raises(SourceBehind, match="no record from 2024-01-02"):
        reader(service).arrive(WINDOW, tmp_path)
    assert reader(service, wait="0s").arrive(WINDOW, tmp_path).read_text() == ""


def test_what_tells_that_records_came_is_the_first_page(service) -> None:
    service.rows = []
    with pytest.raises(SourceBehind):
        reader(service).revision(WINDOW)
    empty = reader(service, wait="0s").revision(WINDOW)
    service.rows = ROWS
    assert reader(service).revision(WINDOW) not in (empty, "")
    assert len(service.asked) == 3


@pytest.mark.parametrize(
    ("secret", "keys"),
    [
        ("Authorization: Basic YWRhOmxvdmVsYWNl", {"login": "ada", "password": "lovelace"}),
        ("Authorization: Bearer lovelace", {"password": "lovelace"}),
        ("X-Key: lovelace", {"password": "lovelace", "extra": {"auth": "header", "header": "X-Key"}}),
    ],
)
def test_a_request_is_signed_in_as_the_connection_says(service, tmp_path, secret, keys) -> None:
    service.secret = secret
    assert ids(reader(service, connection(service, **keys)), tmp_path) == list(range(24, 48))
    with pytest.raises(DataError, match=r"status 401; check the secret of its connection") as refused:
        reader(service, connection(service, password="babbage")).arrive(WINDOW, tmp_path)
    assert "babbage" not in str(refused.value)


def test_a_token_that_ends_half_way_is_asked_for_anew(service, tmp_path) -> None:
    service.token_lasts = 0.5
    service.wrong = {2: (429, {"Retry-After": "1"})}
    extra = {"auth": "client_credentials", "token_url": f"{service.url}/token"}
    signed = connection(service, login="ada", password="lovelace", extra=extra)
    assert ids(reader(service, signed), tmp_path) == list(range(24, 48))
    assert len(service.tokens) > 1
    wrong = connection(service, login="ada", password="babbage", extra=extra)
    with pytest.raises(DataError, match=r"no token: .*status 401"):
        reader(service, wrong).arrive(WINDOW, tmp_path)


def test_secrets_go_to_no_other_server(service, tmp_path) -> None:
    service.by = "cursor"
    service.wrong = {1: b'{"data": {"items": [{"id": 1}]}, "next": "http://127.0.0.2:9/steal"}'}
    with pytest.raises(DataError, match=r"127\.0\.0\.2 is another server than 127\.0\.0\.1"):
        reader(service, connection(service, password="x"), pages={"by": "link", "next": "next"}).arrive(
            WINDOW, tmp_path
        )


def test_a_server_that_is_not_there_is_waited_for(service, tmp_path) -> None:
    with pytest.raises(SourceAway, match="does not answer: ConnectError"):
        reader(service, url="http://127.0.0.1:9/rows", timeout="2s").arrive(WINDOW, tmp_path)


def test_a_connection_that_nobody_knows_is_told_by_its_name(service, tmp_path) -> None:
    spec = Source.model_validate({"type": "http", "url": "/rows", "connection": "shop_api"})
    with pytest.raises(SettingsError, match=r"no connection 'shop_api'; add it in Airflow .* AIRFLOW_CONN_SHOP_API"):
        HttpReader("orders", spec, GivenConnections({})).arrive(WINDOW, tmp_path)


def test_the_window_is_written_as_a_service_wants_it() -> None:
    assert filled("{from}..{until}", WINDOW) == "2024-01-02T00:00:00Z..2024-01-03T00:00:00Z"
    assert filled("{from:unix}/{until:%d.%m.%Y}/{key}", WINDOW) == "1704153600/03.01.2024/2024-01-03T0000"


def test_numbers_keep_their_digits_and_what_is_nested_becomes_columns(service, shop) -> None:
    service.wrong = {
        1: b'{"data": {"items": [{"id": 12345678901234567, "at": "2024-01-02T00:00:00Z", "day": "d", "customer": {"id": "007", "name": null},'
        b' "tags": ["a", 1.50], "amount": 1.10, "returned_after": true}]}}'
    }
    shop.data["sources"] = with_orders_of(shop, service, wait="0s")
    service.rows = []
    shop.data["key"] = ["id"]
    specs = {"orders": shop.data["sources"]["orders"]}
    shop.data["sources"] = specs
    with sources.table(shop.project, shop.settings.raw_zone("shop"), "orders", WINDOW.key) as path:
        [row] = pd.read_parquet(path).to_dict("records")
    assert row["id"] == "12345678901234567"
    assert row["customer_id"] == "007"
    assert (row["customer_name"], row["amount"], row["returned_after"]) == (None, "1.10", "true")
    assert row["tags"] == '["a", 1.5]'
