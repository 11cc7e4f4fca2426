"""The raw zone, which holds private values in clear, has a place of its own, and what is in it does not stay for ever."""

# ruff: noqa: F401, F811  -- the fixtures of tests/data
from __future__ import annotations

import io
import os
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.data.conftest import settings, shop

from updraft import files
from updraft.backtest.run import _own
from updraft.data.ingest import extract_partition, publish_partition, validate_partition
from updraft.errors import DataError, SettingsError
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.leftovers import STALE_SECONDS, remove_leftovers
from updraft.settings import Settings
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

KEY = "2024-01-02T0000"
PRIVATE = b"anna-"
DAY = 86400


def _ingest(project, settings: Settings, key: str = KEY) -> IngestedPartition:
    for step in (extract_partition, validate_partition, publish_partition):
        row = step(project, settings, key)
    return row


def _objects(url: str) -> dict[str, bytes]:
    """Everything below a URL, by its path from there."""
    filesystem, root = files.filesystem(url)
    return {
        str(path).removeprefix(root).strip("/"): filesystem.cat_file(path)
        for path in filesystem.find(root)
        if ".parquet" in str(path) or ".json" in str(path) or ".html" in str(path)
    }


def _text(content: bytes) -> bytes:
    """What is to be read in an object, once it is unpacked."""
    return pd.read_parquet(io.BytesIO(content)).to_csv().encode() if content[:4] == b"PAR1" else content


@pytest.fixture(params=["folder", "bucket"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A deployment whose raw zone has a URL of its own, on this machine or in an object store."""
    if request.param == "folder":
        lake, raw = f"file://{tmp_path / 'the lake'}", f"file://{tmp_path / 'raw zone'}"
    else:
        bucket = f"{request.getfixturevalue('object_store').lake}/{uuid.uuid4().hex[:8]}"
        lake, raw = f"{bucket}/lake", f"{bucket}/raw"
    return Settings.from_env({"UPDRAFT_HOME": str(tmp_path / "home"), "UPDRAFT_LAKE": lake, "UPDRAFT_RAW": raw})


def test_every_private_value_in_clear_is_in_the_raw_zone_and_none_in_the_lake(shop, apart: Settings) -> None:
    bad = pd.read_csv(shop.folder / "orders.csv")
    bad.loc[3, "amount"] = -1
    shop.write(orders=bad)
    shop.data |= {"refuse_above": 0.5}
    row = _ingest(shop.project, apart)
    assert row.url is not None
    assert row.url.startswith(f"{apart.lake}/shop/partitions/")
    raw, lake = _objects(apart.raw), _objects(apart.lake)
    for name in ("orders.parquet", "orders.bad.parquet", "customers.parquet", "weather.parquet", "checks.json"):
        assert f"shop/{KEY}/{name}" in raw
    assert any(path.startswith("shop/sources/orders-") for path in raw)
    assert PRIVATE in _text(raw[f"shop/{KEY}/orders.parquet"])
    assert {path.split("/")[1] for path in lake} == {"partitions", "labels", "quarantine", "docs", "schema"}
    assert [path for path, content in lake.items() if PRIVATE in _text(content)] == []


def test_without_a_url_of_its_own_the_raw_zone_stays_where_it_was(shop) -> None:
    _ingest(shop.project, shop.settings)
    root = files.local_path(shop.settings.lake) / "shop" / "raw"
    assert (root / KEY / "checks.json").exists()
    assert list((root / "sources").glob("orders-*.parquet"))


def test_a_raw_zone_on_this_machine_is_its_owners_alone(shop, tmp_path: Path) -> None:
    raw = tmp_path / "apart"
    (raw / "shop").mkdir(parents=True)
    (raw / "shop").chmod(0o755)
    settings = replace(shop.settings, raw=f"file://{raw}")
    extract_partition(shop.project, settings, KEY)
    assert (raw / "shop").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("/srv/raw", "is not a URL"),
        ("s3://b/lake", "lie in each other"),
        ("s3://b/lake/raw/", "lie in each other"),
        ("s3://b", "lie in each other"),
    ],
)
def test_a_raw_zone_that_readers_of_the_lake_would_reach_is_refused(raw: str, message: str) -> None:
    with pytest.raises(SettingsError, match=rf"UPDRAFT_RAW=.*{message}"):
        Settings.from_env({"UPDRAFT_LAKE": "s3://b/lake", "UPDRAFT_RAW": raw})
    assert (
        Settings.from_env({"UPDRAFT_LAKE": "s3://b/lake", "UPDRAFT_RAW": "s3://b/lake-raw/"}).raw == "s3://b/lake-raw"
    )


def test_a_backtest_keeps_its_raw_files_apart_too() -> None:
    own = Settings.from_env({"UPDRAFT_LAKE": "s3://b/lake", "UPDRAFT_RAW": "s3://c/raw"})
    assert _own(own).raw_zone("shop") == own.of_backtests().raw_zone("shop") == "s3://c/raw/.backtest/shop"
    assert _own(replace(own, raw="")).raw_zone("shop") == "s3://b/lake/.backtest/shop/raw"


def test_raw_copies_leave_with_the_training_window_from_a_bucket_as_from_a_folder(shop, apart: Settings) -> None:
    project = shop.project
    loop = Loop(project, apart, Store.in_memory(), KeptModels())
    row = _ingest(project, apart)
    window = project.spec.training.window
    keys = [f"{day:%Y-%m-%dT%H%M}" for day in pd.date_range("2024-01-02", periods=window + 1, freq="D")]
    for key in keys:
        loop.store.record_partition("shop", replace(row, key=key))
    newest, unfinished = keys[-1], "2024-05-01T0000"
    zone = apart.raw_zone("shop")
    for key in (newest, unfinished):
        files.write_bytes(f"{zone}/{key}/orders.parquet", b"x")
    tried = apart.of_backtests().raw_zone("shop")
    files.write_bytes(f"{tried}/{KEY}/orders.parquet", b"x")
    assert remove_leftovers(loop)["raw"] == 6
    left = _objects(zone)
    assert {path for path in left if not path.startswith("sources/")} == {
        f"{KEY}/checks.json", f"{KEY}/not_read.json", f"{newest}/orders.parquet", f"{unfinished}/orders.parquet"
    }  # fmt: skip
    assert len([path for path in left if path.startswith("sources/")]) == 3
    assert remove_leftovers(loop)["raw"] == 0
    assert remove_leftovers(loop, now=time.time() + (window - 1) * DAY)["raw"] == 0
    assert list(_objects(tried)) == [f"{KEY}/orders.parquet"]
    assert remove_leftovers(loop, now=time.time() + (window + 1) * DAY)["raw"] == 4
    assert not [path for path in _objects(zone) if path.startswith("sources/")]
    assert not _objects(tried)
    _ingest(project, apart)  # made again when it is needed again


def test_pieces_of_a_killed_task_are_removed_from_a_raw_zone_apart(shop, tmp_path: Path) -> None:
    settings = replace(shop.settings, raw=f"file://{tmp_path / 'apart'}")
    piece = tmp_path / "apart" / "shop" / KEY / ".orders.parquet.half"
    piece.parent.mkdir(parents=True)
    piece.write_text("half")
    os.utime(piece, (time.time() - STALE_SECONDS - 60,) * 2)
    assert remove_leftovers(Loop(shop.project, settings, Store.in_memory(), KeptModels())) == {"aside": 1, "raw": 0}


@pytest.mark.parametrize(
    "key",
    ["2024-1-2T0000", "2024-01-02T000", "2024-01-02t0000", "２０２４-01-02T0000", "2024-01-0２T0000", " 2024-01-02T0000",
     "2024-01-02T0000 ", "2024-01-02T0000\n", "+2024-01-02T0000", "2024-01-02T00:00", "../raw/2024-01-02T0000", ""],
)  # fmt: skip
def test_a_second_spelling_of_a_key_is_refused_wherever_a_key_enters(shop, key: str) -> None:
    for step in (extract_partition, validate_partition, publish_partition):
        with pytest.raises(DataError, match="partition key"):
            step(shop.project, shop.settings, key)
    assert not files.local_path(shop.settings.lake).exists()
