from __future__ import annotations

import gzip
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest

from updraft import files
from updraft.data import sources
from updraft.data.readers.location import resolve
from updraft.errors import DataError, SourceAway, SourceMissing

KEY = "2024-01-02T0000"


def read(shop, url: str) -> pd.DataFrame:
    specs = {name: source.model_dump() for name, source in shop.project.spec.data.sources.items()}
    specs["orders"]["url"] = url
    shop.data["sources"] = specs
    with sources.table(shop.project, shop.settings.raw_zone("shop"), "orders", KEY) as path:
        return pd.read_parquet(path)


def test_every_format_gives_the_same_rows(shop) -> None:
    plain = shop.folder / "orders.csv"
    with zipfile.ZipFile(shop.folder / "o.csv.zip", "w") as archive:
        archive.write(plain, "orders.csv")
    (shop.folder / "o.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    expected = read(shop, str(plain))
    expected.to_parquet(shop.folder / "o.parquet")
    files.write_bytes("memory://elsewhere/o.csv", plain.read_bytes())
    assert len(expected) == 240
    assert str(expected["at"].dtype) == "datetime64[us, UTC]"
    for url in ("o.csv.zip", "o.csv.gz", "o.parquet"):
        pd.testing.assert_frame_equal(read(shop, f"file://{shop.folder / url}"), expected)
    pd.testing.assert_frame_equal(read(shop, "memory://elsewhere/o.csv"), expected)


def test_a_source_is_converted_once_and_again_when_it_changes(shop, make_orders) -> None:
    cache = files.local_path(shop.settings.lake) / "shop" / "raw" / "sources"
    url = str(shop.folder / "orders.csv")
    read(shop, url)
    [first] = cache.iterdir()
    before = first.stat().st_mtime_ns
    read(shop, url)
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [before]
    shop.write(orders=make_orders(days=2))
    assert len(read(shop, url)) == 80
    assert len(list(cache.iterdir())) == 2


def test_a_file_in_a_store_that_tells_no_time_is_known_by_its_content(shop) -> None:
    files.write_bytes("memory://changing/o.csv", b"id,at,day,customer,returned_after\n1,2024-01-01T00:00:00Z,a,b,1\n")
    assert len(read(shop, "memory://changing/o.csv")) == 1
    files.write_bytes("memory://changing/o.csv", b"id,at,day,customer,returned_after\n2,2024-01-01T00:00:00Z,a,b,1\n")
    assert list(read(shop, "memory://changing/o.csv")["id"]) == ["2"]


def test_a_package_is_found_without_being_imported(shop, tmp_path, monkeypatch) -> None:
    package = tmp_path / "site" / "airline"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "o.csv").write_bytes((shop.folder / "orders.csv").read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert len(read(shop, "package://airline/o.csv")) == 240


def test_times_without_a_zone_are_utc(shop, monkeypatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    (shop.folder / "t.csv").write_text("id,at\n1,2024-01-01 10:00:00\n")
    assert read(shop, str(shop.folder / "t.csv"))["at"][0] == pd.Timestamp("2024-01-01T10:00", tz="UTC")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("no.csv", r"source orders: no file .*no\.csv; check data\.sources\.orders\.url"),
        ("memory://nowhere/o.csv", "source orders: no file memory://nowhere"),
        ("package://no_such_package/o.csv", "package 'no_such_package' is not installed"),
        ("two.zip", r"two\.zip holds a\.csv, b\.csv; a zip holds one CSV file"),
        ("bad.zip", r"bad\.zip is no zip file"),
        ("o.xlsx", "unknown format '.xlsx'"),
        ("bad.parquet", "is no Parquet file"),
        ("when.csv", "event_time 'at' is no time in row 1"),
    ],
)
def test_what_cannot_be_read_is_named(shop, url, says, monkeypatch) -> None:
    monkeypatch.chdir(shop.folder)
    with zipfile.ZipFile("two.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    for name in ("bad.zip", "o.xlsx", "bad.parquet"):
        (shop.folder / name).write_text("neither")
    (shop.folder / "when.csv").write_text("id,at\n1,yesterday\n")
    with pytest.raises(DataError, match=says):
        read(shop, url)


def test_the_key_stands_in_the_url(tmp_path) -> None:
    assert resolve("s3://bucket/{key}.csv", source="orders", key=KEY) == f"s3://bucket/{KEY}.csv"


def test_an_unreachable_store_is_named(shop) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        read(shop, "nosuchscheme://x/o.csv")


@pytest.mark.parametrize(
    ("status", "kind"), [(404, SourceMissing), (403, DataError), (503, SourceAway), (None, SourceAway)]
)
def test_a_web_server_that_is_away_is_told_from_a_file_that_is_not_there(shop, status, kind) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        url = f"http://127.0.0.1:{server.server_port}/o.csv"
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DataError) as raised:
            read(shop, url)
        if status is not None:
            server.shutdown()
    assert type(raised.value) is kind


def test_the_environment_is_left_alone() -> None:
    assert "TZ" not in os.environ or os.environ["TZ"] != "America/New_York"


def every_word_of(error: BaseException | None) -> str:
    """What a log shows of an error: itself, and what it was raised from."""
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return " ".join(words)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id,at\n1,2024-01-01\n2,N14228 secret\n", "is no time in row 2"),
        ('id,at\n1,2024-01-01\n"N14228 secret,2024-01-01\n3,4,5,6\n', "line 3 has a quote .* that does not close"),
    ],
)
def test_no_error_quotes_what_stands_in_a_source(shop, content, says) -> None:
    (shop.folder / "private.csv").write_text(content)
    with pytest.raises(DataError, match=says) as raised:
        read(shop, str(shop.folder / "private.csv"))
    assert "N14228" not in every_word_of(raised.value)


def _parted(shop, make_orders) -> str:
    """The orders of two times two days in two files, and a hidden one; the pattern that they are of."""
    folder = shop.folder / "parts"
    folder.mkdir()
    rows = make_orders(days=4)
    rows.tail(80).to_csv(folder / "orders-b.csv", index=False)
    rows.head(80).to_csv(folder / "orders-a.csv", index=False)
    (folder / ".orders-c.csv").write_text("half of a fi")
    return f"file://{folder}/orders-*.csv"


def test_the_files_of_a_pattern_are_read_as_one(shop, make_orders) -> None:
    url = _parted(shop, make_orders)
    shop.write(orders=make_orders(days=4))
    pd.testing.assert_frame_equal(read(shop, url), read(shop, str(shop.folder / "orders.csv")))
    assert set(sources.columns(shop.project, "orders", KEY)) == set(make_orders(days=1).columns)


def test_a_pattern_is_read_again_when_a_file_is_added_and_what_a_file_lacks_is_missing(shop, make_orders) -> None:
    url = _parted(shop, make_orders)
    assert len(read(shop, url)) == 160
    make_orders(days=1).drop(columns="amount").to_csv(shop.folder / "parts" / "orders-d.csv", index=False)
    rows = read(shop, url)
    assert len(rows) == 200
    assert rows["amount"].isna().sum() == 40


def test_a_pattern_without_a_file_is_a_file_that_is_not_there(shop) -> None:
    with pytest.raises(SourceMissing, match=r"no file is of the pattern file://.*/none-\*\.csv"):
        read(shop, f"file://{shop.folder}/none-*.csv")


def test_a_file_of_a_pattern_that_does_not_read_is_named(shop, make_orders) -> None:
    url = _parted(shop, make_orders)
    path = shop.folder / "parts" / "orders-b.csv"
    path.write_text(path.read_text() + "1,2\n")
    with pytest.raises(DataError, match=r"orders-b\.csv: line 82 has 2 fields"):
        read(shop, url)


def test_files_of_a_pattern_with_other_types_or_spellings_are_refused(shop, make_orders) -> None:
    folder = shop.folder / "typed"
    folder.mkdir()
    rows = make_orders(days=2)
    rows.head(40).to_parquet(folder / "a.parquet")
    rows.tail(40).astype({"amount": str}).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match=r"'amount' is of type number in .*a\.parquet and of type text in .*b\.parquet"):
        read(shop, f"file://{folder}/*.parquet")
    rows.tail(40).rename(columns={"amount": "Amount"}).to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match="'Amount', 'amount'"):
        read(shop, f"file://{folder}/*.parquet")
    whole = rows.tail(40).assign(amount=2**53 + 1)
    whole.to_parquet(folder / "b.parquet")
    with pytest.raises(DataError, match="whole numbers beyond 2\\^53"):
        read(shop, f"file://{folder}/*.parquet")


def test_a_pattern_in_a_store_elsewhere_is_read_as_one(shop, make_orders) -> None:
    rows = make_orders(days=4)
    for part, there in (("a", rows.head(80)), ("b", rows.tail(80))):
        files.write_bytes(f"memory://parts/o-{part}.csv", there.to_csv(index=False).encode())
    assert len(read(shop, "memory://parts/o-*.csv")) == 160
