"""Rows of a database, here a real PostgreSQL and SQLite's: the same partitions as from files, and one line for what goes wrong."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import psycopg2
import pyarrow.parquet as pq
import pytest
from sqlalchemy import make_url

from updraft.connections import Connection, GivenConnections
from updraft.data.readers.reader import Window
from updraft.data.readers.sql import SqlReader
from updraft.errors import DataError, SettingsError, SourceAway
from updraft.spec.source import Source

WINDOW = Window("2024-01-03T0000", datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
TYPES = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE typed (
    id bigint, at timestamptz, wall timestamp, day date, price numeric(10, 2), whole numeric(12), anything numeric, share real,
    flag boolean, name varchar(20), code char(3), person uuid, doc jsonb, mood mood, picture bytea, tags text[]
);
INSERT INTO typed VALUES
    (1, '2024-01-02 05:00:00+02', '2024-01-02 05:00', '2024-01-02', 12.30, 7, 1.5, 0.5, true, 'Ada', 'ab',
     '11111111-2222-3333-4444-555555555555', '{"a": [1, 2]}', 'good', '\\x00', '{a}'),
    (9007199254740993, '2024-01-02 06:00:00+00', NULL, NULL, 'NaN', NULL, 'NaN', 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, '2024-01-03 00:00:00+00', NULL, NULL, 1, 1, 1, 1, false, '', '', NULL, 'null', 'bad', NULL, NULL);
CREATE ROLE nobody_much LOGIN;
"""
KEPT = [
    "id",
    "at",
    "wall",
    "day",
    "price",
    "whole",
    "anything",
    "share",
    "flag",
    "name",
    "code",
    "person",
    "doc",
    "mood",
]


@pytest.fixture(scope="module")
def database(postgres_server):
    url = postgres_server.new_database()
    with psycopg2.connect(url.replace("+psycopg2", "")) as con, con.cursor() as cursor:
        cursor.execute(TYPES)
    con.close()
    yield url
    postgres_server.drop_database(url)
    with psycopg2.connect(postgres_server.url().replace("+psycopg2", "")) as con, con.cursor() as cursor:
        cursor.execute("DROP ROLE nobody_much")
    con.close()


def run(url, statement):
    con = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        with con, con.cursor() as cursor:
            cursor.execute(statement)
    finally:
        con.close()


def connection_to(url, **changes):
    parts = make_url(url)
    told = {"host": parts.host, "port": parts.port, "login": parts.username, "schema": parts.database, **changes}
    return Connection(id="shop", kind="postgres", **told)


def reader(url, connection=None, **keys):
    spec = Source.model_validate({"type": "sql", "connection": "shop", "event_time": "at", **keys})
    return SqlReader("orders", spec, GivenConnections({"shop": connection or connection_to(url)}), kept=frozenset())


def test_every_type_is_read_as_what_it_is_and_the_window_ends_before_its_tick(database, tmp_path) -> None:
    path = reader(database, table="public.typed", columns=KEPT).arrive(WINDOW, tmp_path)
    schema = {column.name: str(column.type) for column in pq.read_schema(path)}
    assert schema == {
        "id": "int64", "at": "timestamp[us, tz=UTC]", "wall": "timestamp[us]", "day": "date32[day]", "price": "decimal128(10, 2)",
        "whole": "int64", "anything": "double", "share": "double", "flag": "bool", "name": "string", "code": "string",
        "person": "string", "doc": "string", "mood": "string",
    }  # fmt: skip
    first, second = pq.read_table(path).sort_by("at").to_pylist()
    assert first["at"] == datetime(2024, 1, 2, 3, tzinfo=UTC)
    assert (first["price"], first["whole"], first["anything"]) == (Decimal("12.30"), 7, 1.5)
    assert (first["person"], first["doc"], first["mood"]) == (
        "11111111-2222-3333-4444-555555555555", '{"a": [1, 2]}', "good"
    )  # fmt: skip
    assert second["id"] == 2**53 + 1
    assert second["price"] is None


def test_a_type_that_no_model_learns_from_is_refused_by_name(database, tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"no model learns from picture \(bytea\), tags \(text\[\]\); name the columns to keep"
    ):
        reader(database, table="typed").arrive(WINDOW, tmp_path)


def test_a_query_takes_the_bounds_as_parameters(database, tmp_path) -> None:
    query = "SELECT id, at, 'a:b'::text AS note FROM typed WHERE at >= :from AND at < :until -- the window\n"
    path = reader(database, query=query).arrive(WINDOW, tmp_path)
    assert sorted(pq.read_table(path)["id"].to_pylist()) == [1, 2**53 + 1]
    path = reader(database, query="SELECT count(*) AS n, date_trunc('day', at) AS at FROM typed GROUP BY 2").arrive(
        WINDOW, tmp_path
    )
    assert pq.read_table(path)["n"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"table": "orders"}, r'the database refuses: relation "orders" does not exist'),
        (
            {"table": "typed", "event_time": "moment"},
            r"has no column 'moment' \(data.sources.orders.event_time\); its columns are id",
        ),
        ({"table": "typed", "columns": ["at", "prise"]}, r"has no column 'prise' \(data.sources.orders.columns\)"),
        (
            {"table": "typed", "event_time": "name", "columns": ["id"]},
            r"event_time 'name' is of type character varying, and no time",
        ),
        ({"query": "SELECT at, id / 0 AS x FROM typed"}, r"refuses: DivisionByZero \(its words are not repeated"),
        ({"query": "SELEC 1"}, r"the database refuses: syntax error at or near"),
        ({"query": "SELECT id, at, name::int AS x FROM typed"}, r"refuses: InvalidTextRepresentation \(its words"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_one_line_and_no_value_of_a_row_with_it(database, tmp_path, keys, words) -> None:
    with pytest.raises(DataError, match=words) as refused:
        reader(database, **keys).arrive(WINDOW, tmp_path)
    assert "\n" not in str(refused.value)
    assert "Ada" not in str(refused.value)
    assert not isinstance(refused.value, SourceAway)


def test_who_may_not_read_is_refused_and_a_database_that_is_down_is_waited_for(database, tmp_path) -> None:
    with pytest.raises(DataError, match="permission denied for table typed") as refused:
        reader(database, connection_to(database, login="nobody_much"), table="typed").arrive(WINDOW, tmp_path)
    assert not isinstance(refused.value, SourceAway)
    with pytest.raises(SourceAway, match="the database does not answer"):
        reader(database, connection_to(database, port=1), table="typed").arrive(WINDOW, tmp_path)
    with pytest.raises(SourceAway, match="does not answer"):
        reader(database, connection_to(database, schema="elsewhere"), table="typed").newest(WINDOW.start)
    with pytest.raises(SettingsError, match="no connection 'shop'"):
        SqlReader(
            "orders", Source.model_validate({"type": "sql", "connection": "shop", "table": "typed"}),
            GivenConnections({}), kept=frozenset(),
        ).arrive(WINDOW, tmp_path)  # fmt: skip


def test_a_query_that_takes_too_long_is_ended_there(database, tmp_path) -> None:
    query = "SELECT id, at, pg_sleep(5)::text AS slept FROM typed"
    with pytest.raises(SourceAway, match=r"did not give the rows within 1 s; make an index on at"):
        reader(database, query=query, timeout="1s").arrive(WINDOW, tmp_path)


def test_nothing_can_be_written_through_a_source(database, tmp_path) -> None:
    run(database, "CREATE OR REPLACE FUNCTION wipe() RETURNS text LANGUAGE sql AS 'DELETE FROM typed RETURNING name'")
    with pytest.raises(DataError, match="refuses: ReadOnlySqlTransaction"):
        reader(database, query="SELECT id, at, wipe() AS x FROM typed").arrive(WINDOW, tmp_path)


def test_a_changed_row_is_another_revision_and_a_row_elsewhere_is_none(database) -> None:
    orders = reader(database, table="typed", columns=KEPT)
    before = orders.revision(WINDOW)
    assert orders.revision(WINDOW) == before
    run(database, "UPDATE typed SET name = 'Eve' WHERE id = 3")
    assert orders.revision(WINDOW) == before
    run(database, "UPDATE typed SET price = 12.31 WHERE id = 1")
    assert orders.revision(WINDOW) != before
    run(database, "UPDATE typed SET price = 12.30 WHERE id = 1")


def test_how_far_a_table_reaches_is_asked_without_its_rows(database) -> None:
    orders = reader(database, table="typed")
    assert orders.newest(datetime(2024, 1, 3, tzinfo=UTC)) == (True, None)
    assert orders.newest(datetime(2024, 1, 4, tzinfo=UTC)) == (False, datetime(2024, 1, 3, tzinfo=UTC))


def test_a_wall_clock_is_asked_for_widely_and_read_in_its_zone(database, tmp_path) -> None:
    path = reader(database, table="typed", columns=["id"], event_time="wall", time_zone="America/New_York").arrive(
        WINDOW, tmp_path
    )
    assert pq.read_table(path)["id"].to_pylist() == [1]
    west = Window("", datetime(2024, 1, 2, 13, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
    path = reader(database, table="typed", columns=["id"], event_time="wall", time_zone="America/New_York").arrive(
        west, tmp_path
    )
    assert pq.read_table(path)["id"].to_pylist() == []


def test_another_database_tells_its_types_by_the_table(tmp_path) -> None:
    con = sqlite3.connect(tmp_path / "shop.db")
    con.execute('CREATE TABLE "Order Lines" (id INTEGER, at DATETIME, amount REAL, note TEXT)')
    rows = [
        (1, "2024-01-01 23:59:59", 1.0, "a"),
        (2, "2024-01-02 00:00:00", 2.0, None),
        (3, "2024-01-03 00:00:00", 3.0, "c"),
    ]
    con.executemany(
        'INSERT INTO "Order Lines" VALUES (?, ?, ?, ?)', [(n, f"{at}.000000", x, t) for n, at, x, t in rows]
    )
    con.commit()
    con.close()
    own = Connection(id="shop", kind="sqlite", schema=str(tmp_path / "shop.db"))
    spec = Source.model_validate({"type": "sql", "connection": "shop", "event_time": "at", "table": "Order Lines"})
    lines = SqlReader("orders", spec, GivenConnections({"shop": own}), kept=frozenset())
    assert pq.read_table(lines.arrive(WINDOW, tmp_path)).to_pylist() == [
        {"id": 2, "at": datetime(2024, 1, 2), "amount": 2.0, "note": None}  # noqa: DTZ001
    ]
    assert lines.revision(WINDOW) == lines.revision(WINDOW)
    with pytest.raises(DataError, match="there is no such table or view"):
        SqlReader(
            "orders", spec.model_copy(update={"table": "x"}), GivenConnections({"shop": own}), kept=frozenset()
        ).revision(WINDOW)


def test_a_table_gives_the_partition_that_a_file_gives(shop, make_orders, database, monkeypatch) -> None:
    """Labels of earlier partitions, pseudonyms and joins included; through a connection of the environment."""
    from sqlalchemy import create_engine

    from updraft.data.ingest import extract_partition, publish_partition, validate_partition

    def published(key):
        extract_partition(shop.project, shop.settings, key)
        validate_partition(shop.project, shop.settings, key)
        row = publish_partition(shop.project, shop.settings, key)
        return row.sha256, row.labels_sha256, row.rows

    keys = ("2024-01-02T0000", "2024-01-03T0000")
    of_file = [published(key) for key in keys]
    name = f"orders_{uuid.uuid4().hex[:8]}"
    frame = make_orders()
    engine = create_engine(database)
    frame.assign(at=pd.to_datetime(frame["at"])).to_sql(name, engine, index=False)
    engine.dispose()
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", database.replace("+psycopg2", ""))
    specs = {source: spec.model_dump(mode="json") for source, spec in shop.project.spec.data.sources.items()}
    specs["orders"] = {"type": "sql", "connection": "shop_db", "table": name, "event_time": "at"}
    shop.data["sources"] = specs
    assert [published(key) for key in keys] == of_file
