"""What DuckDB says of a bad cell quotes it: no error, log, alert or page of ours may."""

from __future__ import annotations

import logging
import stat
import traceback

import duckdb
import pandas as pd
import pytest

from updraft import files
from updraft.data.duck import attempt, connection, first_failing, kind_of
from updraft.data.ingest import extract_partition, publish_partition, validate_partition
from updraft.errors import DataError, PartitionRefused

SECOND = "2024-01-03T0000"
SECRET = "anna-secret"


def everything_said(error: BaseException) -> str:
    """Messages of the whole chain, contexts that ``from None`` only hides included."""
    texts, seen = [], set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            texts += [str(one), repr(one.args), *traceback.format_exception(one)]
            left += [one.__cause__, one.__context__]
    return "\n".join(texts)


def ingest(shop, key: str = SECOND):
    extract_partition(shop.project, shop.settings, key)
    validate_partition(shop.project, shop.settings, key)
    return publish_partition(shop.project, shop.settings, key)


def fails(shop, caplog, kind: type[Exception] = DataError) -> str:
    """The message of the failure, after a look at everything else that was said and written for others to read."""
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as caught:
        ingest(shop)
    said = everything_said(caught.value) + caplog.text
    lake = files.local_path(shop.settings.lake) / "shop"
    for path in lake.rglob("*"):
        if (path.is_file() and path.relative_to(lake).parts[0] != "raw") or path.suffix == ".json":
            said += pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text()
    assert SECRET not in said
    return str(caught.value)


def with_secret(make_orders, column: str, row: int) -> pd.DataFrame:
    table = make_orders()
    table[column] = table[column].astype(object)
    table.loc[row, column] = SECRET
    return table


def test_a_bad_event_time_is_told_by_file_column_and_row(shop, make_orders, caplog) -> None:
    shop.write(orders=with_secret(make_orders, "at", 57))
    said = fails(shop, caplog)
    assert "orders.csv: event_time 'at' is no time in row 58" in said


@pytest.mark.parametrize("expr", ["returned_after::DOUBLE BETWEEN 0 AND 4", "CAST(returned_after AS INTEGER) < 5"])
def test_a_label_that_is_no_number_is_told_by_source_expression_and_row(shop, make_orders, caplog, expr) -> None:
    shop.write(orders=with_secret(make_orders, "returned_after", 57))
    shop.data |= {"label": {"expr": expr, "matures_after": "12h"}, "private": ["customer", "returned_after"]}
    shop.contract["orders"]["columns"]["returned_after"] = "text"  # else the cell is a breach of its row
    said = fails(shop, caplog)
    assert "partition 2024-01-03T0000: source orders: data.label.expr" in said
    assert "a value does not convert" in said
    row = int(said.split(" in row ")[1].split()[0])
    raw = pd.read_parquet(files.local_path(shop.settings.lake) / "shop" / "raw" / SECOND / "orders.parquet")
    assert raw["returned_after"][row - 1] == SECRET


def test_an_expectation_on_a_public_column_does_not_quote_a_private_one_that_shares_its_query(
    shop, make_orders, caplog
) -> None:
    shop.write(orders=with_secret(make_orders, "customer", 57))
    shop.contract["orders"]["table"] += [
        {"expect": "column_max_to_be_between", "column": "customer", "max_value": 5},
        {"expect": "column_max_to_be_between", "column": "amount", "max_value": 500},
        {"expect": "column_mean_to_be_between", "column": "customer", "max_value": 5},
        {"expect": "column_mean_to_be_between", "column": "amount", "max_value": 500},
    ]
    shop.contract["orders"]["rows"].append(
        {"expect": "column_values_to_be_between", "column": "customer", "max_value": 5}
    )
    assert "it cannot be evaluated" in fails(shop, caplog, PartitionRefused)


def test_what_a_contract_states_of_a_private_column_is_no_reason_in_the_quarantine(shop, make_orders) -> None:
    shop.write(orders=with_secret(make_orders, "customer", 57))
    shop.contract["orders"]["rows"].append(
        {"expect": "column_values_to_not_match_regex", "column": "customer", "regex": f"^{SECRET}$"}
    )
    found = ingest(shop)
    assert found.quarantined == 1
    assert SECRET not in str(found.checks)


def test_a_csv_that_does_not_read_is_told_by_file_and_line(shop, caplog) -> None:
    content = (shop.folder / "orders.csv").read_bytes().splitlines(keepends=True)
    content[20] = content[20].replace(b"anna", SECRET.encode() + b"\xff")
    (shop.folder / "orders.csv").write_bytes(b"".join(content))
    said = fails(shop, caplog)
    assert "orders.csv: line 21 is not written in UTF-8" in said


def test_whatever_else_fails_in_a_step_is_told_by_its_kind(shop, caplog, make_orders) -> None:
    shop.write(orders=with_secret(make_orders, "kind", 57))
    shop.contract["orders"]["rows"] = []
    extract_partition(shop.project, shop.settings, SECOND)
    raw = files.local_path(shop.settings.lake) / "shop" / "raw" / SECOND / "orders.parquet"
    content = bytearray(raw.read_bytes())
    content[8:400] = b"\x00" * 392
    raw.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"shop: partition 2024-01-03T0000: validate_partition failed") as caught:
        validate_partition(shop.project, shop.settings, SECOND)
    assert not isinstance(caught.value, duckdb.Error)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_a_column_that_joins_is_private_in_both_sources(shop) -> None:
    shop.data["private"] = ["customers_customer"]
    rows = pd.read_parquet(files.local_path(ingest(shop).url))
    assert rows["customer"].str.fullmatch("[0-9a-f]{16}").all()


def test_the_raw_zone_is_its_owners_alone(shop) -> None:
    raw = files.local_path(shop.settings.lake) / "shop" / "raw"
    raw.mkdir(parents=True, mode=0o755)
    ingest(shop)
    assert stat.S_IMODE(raw.stat().st_mode) == 0o700


def test_what_spills_out_of_memory_goes_where_its_owner_alone_can_read() -> None:
    with connection() as con:
        [(folder,)] = con.execute("SELECT current_setting('temp_directory')").fetchall()
        assert stat.S_IMODE(files.local_path(folder).stat().st_mode) == 0o700
    assert not files.local_path(folder).exists()


@pytest.mark.parametrize(("bad", "expected"), [((), None), ((0,), 0), ((7, 9), 7), ((99,), 99)])
def test_the_first_failing_row_is_found_wherever_it_is(bad, expected) -> None:
    with connection() as con:
        values = ", ".join(f"({n}, '{'x' if n in bad else n}')" for n in range(100))
        con.execute(f"CREATE TABLE t AS SELECT * FROM (VALUES {values}) AS v(n, cell)")
        assert first_failing(con, "t", "CAST(cell AS INTEGER)", "n") == expected


def test_the_name_of_a_missing_column_is_told_as_it_is_no_value() -> None:
    with connection() as con, pytest.raises(DataError, match="no_such") as caught:
        attempt(lambda: con.execute("SELECT no_such FROM (SELECT 1 AS a)"), lambda error: DataError(kind_of(error)))
    assert caught.value.__context__ is None
