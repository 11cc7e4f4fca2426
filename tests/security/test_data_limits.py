"""A source that is made to fill the machine is refused, with file and limit, before it does."""

# ruff: noqa: F401, F811  -- the fixtures of tests/data
from __future__ import annotations

import gzip
import json
import struct
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.data.conftest import settings, shop

from updraft import files
from updraft.data import limits
from updraft.data.ingest import extract_partition, validate_partition
from updraft.errors import DataError, PartitionRefused
from updraft.lake.places import Lake
from updraft.spec import features
from updraft.spec.features import FeatureCode, compute

KEY = "2024-01-02T0000"
MEBIBYTE = 2**20


def _extract(shop, file: str) -> None:
    shop.data["sources"] = {"orders": {"type": "file", "url": str(shop.folder / file), "event_time": "at"}}
    shop.contract = {}
    extract_partition(shop.project, shop.settings, KEY)


def _largest(folder: Path) -> int:
    return max((path.stat().st_size for path in folder.rglob("*") if path.is_file()), default=0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose limit is 8 MiB, and its folder of temporary files."""
    monkeypatch.setattr(limits, "FILE_BYTES", 8 * MEBIBYTE)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def _zip_that_lies(path: Path, content: bytes, told: int) -> None:
    """A zip whose headers tell another size than what is in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("orders.csv", content)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", len(content)), struct.pack("<I", told)))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb_is_refused_while_it_unpacks(
    shop, small: Path, monkeypatch: pytest.MonkeyPatch, method: int
) -> None:
    written: list[int] = []
    copy = limits.copy

    def watched(packed, file, what) -> None:
        try:
            copy(packed, file, what)
        finally:
            written.append(file.tell())

    monkeypatch.setattr(limits, "copy", watched)
    with zipfile.ZipFile(shop.folder / "bomb.csv.zip", "w", method) as archive:
        archive.writestr("orders.csv", b"\0" * (64 * MEBIBYTE))
    assert (shop.folder / "bomb.csv.zip").stat().st_size < MEBIBYTE
    with pytest.raises(DataError, match=r"bomb\.csv\.zip holds more than 0\.0078125 GiB"):
        _extract(shop, "bomb.csv.zip")
    assert written[0] <= limits.FILE_BYTES


def test_a_zip_is_not_believed_what_it_says_of_its_size(shop, small: Path) -> None:
    _zip_that_lies(shop.folder / "lies.csv.zip", b"\0" * (64 * MEBIBYTE), 10)
    with pytest.raises(DataError, match=r"lies\.csv\.zip (holds more than|is no zip file, or a broken one)"):
        _extract(shop, "lies.csv.zip")
    assert _largest(small) <= limits.FILE_BYTES


def test_a_gzip_bomb_is_refused_while_it_unpacks(shop, small: Path) -> None:
    (shop.folder / "bomb.csv.gz").write_bytes(gzip.compress(b"\0" * (64 * MEBIBYTE)))
    with pytest.raises(DataError, match=r"bomb\.csv\.gz holds more than"):
        _extract(shop, "bomb.csv.gz")
    many = gzip.compress(b"\0" * MEBIBYTE) * 64  # of many parts
    (shop.folder / "many.csv.gz").write_bytes(many)
    with pytest.raises(DataError, match=r"many\.csv\.gz holds more than"):
        _extract(shop, "many.csv.gz")
    assert list(small.rglob("*.csv")) == []


def test_a_server_that_sends_without_end_is_left_at_the_limit(shop, small: Path) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            with suppress(OSError):  # the other side hangs up
                for _ in range(64):
                    self.wfile.write(b"x" * MEBIBYTE)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shop.data["sources"] = {
            "orders": {"type": "file", "url": f"http://127.0.0.1:{server.server_port}/o.csv", "event_time": "at"}
        }
        shop.contract = {}
        with pytest.raises(DataError, match=r"o\.csv holds more than"):
            extract_partition(shop.project, shop.settings, KEY)
        server.shutdown()
    assert list(small.iterdir()) == []


def test_an_object_beyond_the_limit_is_refused_and_one_within_it_is_read(shop, small: Path, object_store) -> None:
    base = f"{object_store.lake}/sources"
    files.write_bytes(f"{base}/large.csv", b"x" * (9 * MEBIBYTE))
    files.write_bytes(f"{base}/orders.csv", (shop.folder / "orders.csv").read_bytes())
    sources = {"orders": {"type": "file", "url": f"{base}/large.csv", "event_time": "at"}}
    shop.contract = {}
    shop.data["sources"] = sources
    with pytest.raises(DataError, match=r"large\.csv holds more than"):
        extract_partition(shop.project, shop.settings, KEY)
    sources["orders"]["url"] = f"{base}/orders.csv"
    assert extract_partition(shop.project, shop.settings, KEY).sources["orders"].rows > 0


def test_a_plain_file_beyond_the_limit_is_refused(shop, small: Path) -> None:
    with (shop.folder / "large.csv").open("wb") as file:
        file.truncate(9 * MEBIBYTE)
    with pytest.raises(DataError, match=r"large\.csv holds more than"):
        _extract(shop, "large.csv")


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"id,at\n1,2024-01-01T00:00:00Z\n" * 999)[:-20], b"\x1f\x8b\x08" + b"\0" * 20],
)
def test_a_broken_archive_is_told_as_one(shop, content: bytes) -> None:
    (shop.folder / "broken.csv.gz").write_bytes(content)
    with pytest.raises(
        DataError, match=r"broken\.csv\.gz (is no gz file, or a broken one|ends before its gz archive does)"
    ):
        _extract(shop, "broken.csv.gz")


@pytest.mark.parametrize(
    "name", ["../../outside.csv", "/etc/outside.csv", "..", "a/../../outside.csv", "..\\outside.csv", "C:\\outside.csv"]
)
def test_a_member_that_leads_out_of_its_zip_is_refused(shop, name: str) -> None:
    with zipfile.ZipFile(shop.folder / "o.csv.zip", "w") as archive:
        archive.writestr(name, "id,at\n1,2024-01-01T00:00:00Z\n")
    with pytest.raises(DataError, match=r"o\.csv\.zip holds a file named .*, which leads out of the zip"):
        _extract(shop, "o.csv.zip")


def test_a_zip_with_a_password_is_told_as_one(shop) -> None:
    with zipfile.ZipFile(shop.folder / "o.csv.zip", "w") as archive:
        archive.writestr("o.csv", "id,at\n")
    data = bytearray((shop.folder / "o.csv.zip").read_bytes())
    data[6] |= 1  # of the file
    data[data.index(b"PK\x01\x02") + 8] |= 1  # of the directory
    (shop.folder / "o.csv.zip").write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"cannot be unpacked: .*password"):
        _extract(shop, "o.csv.zip")


def test_a_table_of_too_many_columns_is_refused_before_their_types_are_looked_for(shop) -> None:
    names = ["id", "at", *(f"c{n}" for n in range(1_000_000))]
    (shop.folder / "wide.csv").write_text(",".join(names) + "\n")
    with pytest.raises(DataError, match=r"wide\.csv has more than 2000 columns"):
        _extract(shop, "wide.csv")
    table = pa.table({name: pa.array([], pa.int64()) for name in names[: limits.COLUMNS + 1]})
    pyarrow.parquet.write_table(table, shop.folder / "wide.parquet")
    with pytest.raises(DataError, match=r"wide\.parquet has more than 2000 columns"):
        _extract(shop, "wide.parquet")


def test_a_small_parquet_of_many_rows_is_refused_unread(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROWS", 1_000_000)
    at = pa.array([pd.Timestamp("2024-01-01", tz="UTC")] * 1_000, pa.timestamp("us", "UTC"))
    schema = pa.schema({"at": at.type})
    with pyarrow.parquet.ParquetWriter(shop.folder / "many.parquet", schema) as writer:
        for _ in range(20):
            writer.write_table(pa.table({"at": pa.chunked_array([at] * 100)}))
    with pytest.raises(DataError, match=r"many\.parquet has 2000000 rows, more than 1000000"):
        _extract(shop, "many.parquet")


@pytest.mark.parametrize("kind", ["text", "list"])
def test_a_cell_without_end_is_told_by_column_and_not_by_value(shop, kind: str) -> None:
    word = "secret-" * 20_000
    cell = word if kind == "text" else [word]
    at = [pd.Timestamp("2024-01-01", tz="UTC")]
    pd.DataFrame({"id": [1], "at": at, "note": [cell]}).to_parquet(shop.folder / "long.parquet")
    with pytest.raises(
        DataError, match=r"long\.parquet: column 'note' has a cell of \d+ bytes, more than 100000"
    ) as told:
        _extract(shop, "long.parquet")
    assert "secret" not in str(told.value)


def _compute(shop, frame: pd.DataFrame) -> pd.DataFrame:
    code = FeatureCode(lambda rows: frame.set_index(rows.index), "0" * 64, shop.folder / "features.py", b"")
    return compute(shop.project, code, pd.DataFrame({"a": range(len(frame))}))


def test_features_hold_no_more_than_a_model_can(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_CATEGORIES", 10)
    few, many = [f"k{n % 10}" for n in range(50)], [f"k{n}" for n in range(50)]
    _compute(shop, pd.DataFrame({"k": few}))
    for values in (pd.Series(many), pd.Series(many, dtype="category"), pd.Series(many, dtype="string")):
        with pytest.raises(DataError, match=r"features\.py: .*'k' with 50 distinct texts, more than 10"):
            _compute(shop, pd.DataFrame({"k": values}))
    with pytest.raises(DataError, match="with a text of 1001 characters, more than 1000"):
        _compute(shop, pd.DataFrame({"k": ["x" * 1_001]}))
    with pytest.raises(DataError, match="gave 2001 columns, more than 2000"):
        _compute(shop, pd.DataFrame({f"c{n}": [1] for n in range(2_001)}))


@pytest.mark.parametrize("expectation", ["column_sum_to_be_between", "column_mean_to_be_between"])
def test_a_measure_that_is_no_number_refuses_the_partition_and_is_told(shop, expectation: str) -> None:
    orders = pd.read_csv(shop.folder / "orders.csv").assign(weight=1e308)
    orders.to_csv(shop.folder / "orders.csv", index=False)
    shop.contract["orders"]["table"].append({"expect": expectation, "max_value": 500, "column": "weight"})
    extract_partition(shop.project, shop.settings, KEY)
    with pytest.raises(PartitionRefused, match=rf"{expectation}\(weight.*inf"):
        validate_partition(shop.project, shop.settings, KEY)
    checks = checks_in_json(shop)
    [check] = [each for each in checks["sources"]["orders"]["checks"] if "weight" in each["expectation"]]
    assert (check["success"], check["observed"]) == (False, "inf")
    assert "inf" in files.read_bytes(Lake(shop.settings.lake, "shop").docs(KEY)).decode()


def checks_in_json(shop) -> dict[str, Any]:
    """The checks of the partition, which hold no word that is no JSON."""

    def not_json(word: str) -> None:
        raise AssertionError(f"checks.json holds {word}, which is no JSON")

    url = f"{shop.settings.raw_zone('shop')}/{KEY}/checks.json"
    return json.loads(files.read_bytes(url), parse_constant=not_json)


@pytest.mark.parametrize("cell", [float("inf"), float("-inf")])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_value_that_is_no_number_is_a_breach_of_its_row_and_reaches_no_measure(
    shop, cell: float, suffix: str
) -> None:
    orders = pd.read_csv(shop.folder / "orders.csv")
    orders["weight"] = 1.0
    orders.loc[3, "weight"] = cell
    path = shop.folder / f"weighed.{suffix}"
    orders.to_csv(path, index=False) if suffix == "csv" else orders.to_parquet(path)
    sources = {name: source.model_dump() for name, source in shop.project.spec.data.sources.items()}
    sources["orders"]["url"] = str(path)
    shop.data["sources"] = sources
    shop.contract["orders"]["table"].append(
        {"expect": "column_max_to_be_between", "max_value": 500, "column": "weight"}
    )
    extract_partition(shop.project, shop.settings, KEY)
    assert validate_partition(shop.project, shop.settings, KEY).sources["orders"].reasons["weight is no number"] == 1
    checks = checks_in_json(shop)
    [measure] = [each for each in checks["sources"]["orders"]["checks"] if each["expectation"].startswith("column_max")]
    assert (measure["success"], measure["observed"]) == (True, 1.0)
