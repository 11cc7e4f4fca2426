"""The flights that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support import flights

from updraft import files


def test_a_copied_history_is_whole_where_it_was_copied_to_and_nothing_is_ingested_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, one, two = (tmp_path / name for name in ("shared", "one", "two"))
    for folder in (shared, one, two):
        folder.mkdir()
    monkeypatch.setenv("UPDRAFT_TESTS_SHARED", str(shared))
    first = flights.ingested(one, 1)
    kept = {path: path.stat().st_mtime_ns for path in one.rglob("*.parquet")}
    assert kept
    [row] = flights.ingested(one, 1)
    assert [row] == first
    assert {path: path.stat().st_mtime_ns for path in one.rglob("*.parquet")} == kept
    [other] = flights.ingested(two, 1)
    assert str(shared) not in repr(other.__dict__)
    assert row.url is not None
    assert row.sha256 is not None
    assert other.url is not None
    assert other.sha256 is not None
    assert other.url == row.url.replace(str(one), str(two))
    assert other.sha256 == row.sha256
    assert files.read_verified(other.url, other.sha256) == files.read_verified(row.url, row.sha256)
