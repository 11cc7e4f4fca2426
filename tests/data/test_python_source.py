"""Rows of the project's own function: in a process of its own, as a table or not yet, and never a traceback."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from updraft.connections import Connection, GivenConnections
from updraft.data.readers.python import PythonReader
from updraft.data.readers.reader import Window
from updraft.errors import DataError, SourceAway, SourceMissing
from updraft.spec.source import Source
from updraft.spec.source_code import source_problems

WINDOW = Window("2024-01-03T0000", datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
SECRET = Connection(id="api", kind="http", host="h", password="x")


def reader(folder, body, **keys):
    text = "import pandas as pd\nimport pyarrow as pa\ndef rows(window):\n" + "".join(
        f"    {line}\n" for line in body.split("\n")
    )
    (folder / "sources.py").write_text(text)
    spec = Source.model_validate({"type": "python", "event_time": "at", **keys})
    return PythonReader("orders", spec, GivenConnections({"api": SECRET}), folder=folder)


def test_a_function_gives_a_frame_or_an_arrow_table_and_knows_window_and_connection(tmp_path) -> None:
    body = "return pd.DataFrame({'at': [window.start], 'key': [window.key], 'secret': [window.connection.password]})"
    [row] = pq.read_table(reader(tmp_path, body, connection="api").arrive(WINDOW, tmp_path)).to_pylist()
    assert row == {"at": WINDOW.start, "key": WINDOW.key, "secret": "x"}
    arrow = reader(tmp_path, "return pa.table({'at': pa.array([window.until]), 'n': [1]})")
    assert pq.read_table(arrow.arrive(WINDOW, tmp_path))["n"].to_pylist() == [1]
    assert arrow.revision(WINDOW) == arrow.revision(WINDOW)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("return None", SourceMissing, r"rows\(\) gave None: the rows from 2024-01-02T00:00:00\+00:00 until .* are not there yet"),
        ("return 7", DataError, r"gave a int; it must give a DataFrame or an Arrow table"),
        ("return pd.DataFrame({'a': [1, 'b']})", DataError, r"gave column 'a' of mixed types"),
        ("raise ValueError('secret of Ada')", DataError, r"raised ValueError \(its words are not repeated.* in line 4"),
        ("raise ConnectionError('x')", SourceAway, r"raised ConnectionError in line 4"),
        ("import subprocess; subprocess.run(['ls'])", DataError, r"raised PermissionError: a source does nothing but read"),
        ("open('/tmp/x', 'w')", DataError, r"PermissionError: a source does nothing but read: open is refused"),
        ("import os; os._exit(3)", DataError, r"ended the process with code 3"),
        ("while True: pass", SourceAway, r"did not end within 4 s \(data.sources.orders.timeout\)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_line_and_no_value(tmp_path, body, kind, words) -> None:
    wrong = reader(tmp_path, body, **({"timeout": "4s"} if "while" in body else {}))
    with pytest.raises(kind, match=words) as refused:
        wrong.arrive(WINDOW, tmp_path)
    assert "sources.py" in str(refused.value)
    assert "Ada" not in str(refused.value)


def test_the_file_is_checked_without_being_run(tmp_path) -> None:
    [missing] = source_problems(tmp_path)
    assert "no such file; it holds `def rows(window)`" in str(missing)
    (tmp_path / "sources.py").write_text("import airflow\ndef rows(): ...\n")
    told = [str(problem) for problem in source_problems(tmp_path)]
    assert "imports airflow" in told[0]
    assert "must take one argument, the window: def rows(window)" in told[1]
