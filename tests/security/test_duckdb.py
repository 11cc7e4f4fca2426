"""SQL that a project or its data bring along opens no file, no network and no other database, wherever it is run."""

# ruff: noqa: F401, F811  -- the fixtures of tests/data
from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml
from tests.data.conftest import settings, shop

from updraft.data.duck import connection, parquet
from updraft.data.extraction import check_label, extract_partition
from updraft.data.ingest import publish_partition, validate_partition
from updraft.data.mentions import check_mentions
from updraft.errors import DataError, PartitionRefused, SpecError
from updraft.settings import Settings
from updraft.spec.label import read_label
from updraft.spec.load import load_project, load_project_or_problems
from updraft.spec.model import Project

KEY = "2024-01-02T0000"
SECRET = "a-secret-of-this-machine"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.csv"
    path.write_text(f"word\n{SECRET}\n")
    return path


@pytest.fixture
def web() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"a\n1\n")

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x.csv", asked
    server.shutdown()
    thread.join()
    server.server_close()


def _attacks(secret: Path, url: str, outside: Path) -> list[str]:
    return [
        "SELECT content FROM read_text('/etc/passwd')",
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM glob('{secret.parent}/*')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        f"SELECT * FROM sniff_csv('{secret}')",
        f"SELECT * FROM read_csv('{url}')",
        f"SELECT * FROM read_parquet('{url}')",
        f"COPY (SELECT 1) TO '{outside}/out.csv'",
        f"COPY (SELECT 1) TO '{outside}/out.parquet' (FORMAT parquet)",
        f"EXPORT DATABASE '{outside}/exported'",
        f"ATTACH '{outside}/other.db'",
        "INSTALL httpfs",
        f"INSTALL '{outside}/mine.duckdb_extension'",
        "LOAD httpfs",
        f"LOAD '{outside}/mine.duckdb_extension'",
        "SET enable_external_access = true",
        "SET GLOBAL enable_external_access = true",
        "RESET enable_external_access",
        "SET allowed_directories = ['/']",
        "SET allowed_paths = ['/etc/passwd']",
        "SET autoinstall_known_extensions = true",
        "SET lock_configuration = false",
        "SET temp_directory = '/tmp'",
        "SET TimeZone = 'Europe/Oslo'",
        f"SET profile_output = '{outside}/profile'",
        "PRAGMA enable_profiling",
        "SELECT getenv('HOME')",
        "SELECT * FROM a_variable_of_this_test",
        "CREATE PERSISTENT SECRET s (TYPE http)",
    ]


def test_a_connection_reads_its_files_writes_its_folder_and_does_nothing_else(
    secret: Path, tmp_path: Path, web: tuple[str, list[str]]
) -> None:
    url, asked = web
    mine, own, outside = tmp_path / "mine.parquet", tmp_path / "own", tmp_path / "outside"
    own.mkdir()
    outside.mkdir()
    pd.DataFrame({"a": [1, 2]}).to_parquet(mine)
    a_variable_of_this_test = pd.DataFrame({"a": [SECRET]})
    with connection([mine], own) as con:
        cursors = con, con.cursor()
        for cursor in cursors:
            for attack in _attacks(secret, url, outside):
                with pytest.raises(duckdb.Error):
                    cursor.execute(attack).fetchall()
        con.execute(f"COPY (SELECT * FROM {parquet(str(mine))}) TO '{own}/out.parquet' (FORMAT parquet)")
        assert con.execute("SELECT sum(a) FROM read_parquet(?)", [str(own / "out.parquet")]).fetchall() == [(3,)]
        assert [cursor.execute("SELECT current_setting('TimeZone')").fetchall() for cursor in cursors] == [
            [("UTC",)]
        ] * 2
    assert len(a_variable_of_this_test) == 1
    assert list(outside.iterdir()) == []
    assert asked == []


def test_what_does_not_fit_into_memory_still_finds_its_folder() -> None:
    with connection() as con:
        [(folder,)] = con.execute("SELECT current_setting('temp_directory')").fetchall()
        con.execute(f"COPY (SELECT 1) TO '{folder}/spilled.csv'")
        assert os.listdir(folder) == ["spilled.csv"]


def _labels(secret: Path, url: str, outside: Path) -> list[str]:
    """Attacks through ``data.label.expr``."""
    return [
        f"(SELECT length(content) FROM read_text('{secret}'))",
        "(SELECT length(content) FROM read_text('/etc/passwd'))",
        f"EXISTS (SELECT 1 FROM read_csv('{url}'))",
        f"amount IN (SELECT 1 FROM read_csv('{url}'))",
        f"amount = ANY (SELECT 1 FROM read_csv('{url}'))",
        "(SELECT 1 FROM orders)",
        "(FROM query('SELECT 1'))",
        f"1); COPY (SELECT 1) TO '{outside}/out.csv'; SELECT (1",
        f"1) AS DOUBLE); COPY (SELECT 1) TO '{outside}/out.csv'; --",
        f"1) FROM read_csv('{url}') WHERE (1=1",
        f"1) AS DOUBLE) FROM read_text('{secret}') --",
        "1) UNION SELECT (2",
        "1) LIMIT (1",
        f"1); ATTACH '{outside}/other.db'; SELECT (1",
        "1); INSTALL httpfs; LOAD httpfs; SELECT (1",
        "1); SET enable_external_access = true; SELECT (1",
        "COLUMNS('.*') > 1",
        "#1 > 0",
        "$1 > 0",
        "sleep_ms(100000)",
        "length(current_setting('temp_directory'))",
        "getvariable('x')",
        "unnest(range(9)) = amount",
        "CASE WHEN unnest(range(9)) = amount THEN unnest(range(9)) END",
        "generate_subscripts([amount], 1) > 0",
        "nextval('x')",
        "amount" + " + amount" * 1100,
        "(" * 9000,
        "(" * 500 + "1" + ")" * 500,
        "amount > 1" + " " * 10_000,
    ]


def test_no_label_that_is_more_than_an_expression_of_its_row_is_validated_or_evaluated(
    shop, secret: Path, tmp_path: Path, web: tuple[str, list[str]]
) -> None:
    url, asked = web
    outside = tmp_path / "outside"
    outside.mkdir()
    attacks = _labels(secret, url, outside)
    with connection() as con:
        for expr in attacks:
            assert read_label(expr).wrong, expr
            shop.data["label"] = {"expr": expr, "matures_after": "12h"}
            with pytest.raises(DataError, match=r"data\.label\.expr"):
                check_label(con, shop.project, "(SELECT 1 AS amount)", {"amount": "INTEGER"})
    for expr in (attacks[0], attacks[7]):
        shop.data["label"] = {"expr": expr, "matures_after": "12h"}
        with pytest.raises(DataError, match=r"data\.label\.expr") as refused:
            extract_partition(shop.project, shop.settings, KEY)
        assert SECRET not in str(refused.value)
        (shop.folder / "project.yaml").write_text(_project_file(shop.folder, expr))
        spec = load_project_or_problems(shop.folder).spec
        mentions = check_mentions(shop.folder, spec)
        assert [problem.key for problem in mentions.problems] == ["data.label.expr"], expr
        assert SECRET not in str(mentions.problems)
    assert list(outside.iterdir()) == []
    assert asked == []


def test_a_label_that_was_changed_after_the_extraction_is_refused_before_it_is_evaluated(shop, secret: Path) -> None:
    extract_partition(shop.project, shop.settings, KEY)
    validate_partition(shop.project, shop.settings, KEY)
    shop.data["label"] = {"expr": f"(SELECT length(content) FROM read_text('{secret}'))", "matures_after": "12h"}
    with pytest.raises(DataError, match="has a query in it"):
        publish_partition(shop.project, shop.settings, KEY)


@pytest.mark.parametrize(
    "expr", ["returned_after < 5 -- late", "returned_after\n<\n5", "/* late */ returned_after < 5"]
)
def test_comments_and_lines_of_a_label_are_its_authors_business(shop, expr: str) -> None:
    shop.data["label"] = {"expr": expr, "matures_after": "12h"}
    for step in (extract_partition, validate_partition, publish_partition):
        row = step(shop.project, shop.settings, KEY)
    assert row.labels_url is not None


def test_the_arguments_of_an_expectation_are_values_and_no_sql(
    shop, secret: Path, tmp_path: Path, web: tuple[str, list[str]]
) -> None:
    url, asked = web
    outside = tmp_path / "outside"
    outside.mkdir()
    texts = [
        f"') OR (SELECT length(content) FROM read_text('{secret}')) > 0 --",
        f"'); COPY (SELECT 1) TO '{outside}/out.csv'; --",
        f"' OR EXISTS (SELECT 1 FROM read_csv('{url}')) --",
    ]
    kind = {"column": "kind"}
    shop.contract["orders"]["rows"] = [
        {"expect": "column_values_to_not_be_in_set", **kind, "value_set": texts},
        *({"expect": "column_values_to_not_match_regex", **kind, "regex": re.escape(text)} for text in texts),
    ]
    shop.contract["orders"]["table"] = [{"expect": "column_to_exist", "column": text} for text in texts]
    extract_partition(shop.project, shop.settings, KEY)
    with pytest.raises(PartitionRefused, match="there is no such column"):
        validate_partition(shop.project, shop.settings, KEY)
    assert list(outside.iterdir()) == []
    assert asked == []


@pytest.mark.parametrize(
    "value", [{"$PARAMETER": "now()"}, [1, {"$PARAMETER": "x"}], [[1], [2]], "column_as_table"], ids=str
)
def test_an_argument_that_is_neither_a_value_nor_a_list_of_values_is_refused(shop, value: object) -> None:
    shop.contract["orders"]["rows"] = [
        {"expect": "column_values_to_be_in_set", "column": "kind", "value_set": value},
    ]
    from updraft.data.contract import load_contract

    with pytest.raises(SpecError, match=r"orders\.rows\[0\]"):
        load_contract(shop.project)


def _project_file(folder: Path, expr: str) -> str:
    source = {"type": "file", "url": f"file://{folder / 'orders.csv'}", "event_time": "at"}
    data = {"schedule": "0 0 * * *", "start": "2024-01-01", "end": "2024-01-07", "sources": {"orders": source}}
    (folder / "features.py").write_text("def features(rows):\n    return rows[['amount']]\n")
    return yaml.safe_dump({"name": "shop", "owner": "me", "data": {**data, "key": ["id"], "label": {"expr": expr}}})


def _project(shop, **data: object) -> Project:
    text = yaml.safe_load(_project_file(shop.folder, "amount > 5"))
    text["data"] |= data
    (shop.folder / "project.yaml").write_text(yaml.safe_dump(text))
    return load_project(shop.folder)


def test_the_settings_of_a_deployment_are_out_of_reach_of_a_project(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDRAFT_SECRET", SECRET)
    settings: Settings = shop.settings
    project = _project(shop, label={"expr": "length(getenv('UPDRAFT_SECRET')) > amount", "matures_after": "12h"})
    with pytest.raises(DataError, match="getenv") as refused:
        extract_partition(project, settings, KEY)
    assert SECRET not in str(refused.value)
