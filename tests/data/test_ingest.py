from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, PARTITION, ROW
from updraft.data.ingest import (
    Checks,
    extract_partition,
    publish_partition,
    read_checks,
    read_partition,
    validate_partition,
)
from updraft.errors import DataError, PartitionRefused
from updraft.store.records import IngestedPartition

FIRST, SECOND, THIRD = "2024-01-02T0000", "2024-01-03T0000", "2024-01-04T0000"


def ingest(shop, key: str) -> IngestedPartition:
    extract_partition(shop.project, shop.settings, key)
    validate_partition(shop.project, shop.settings, key)
    return publish_partition(shop.project, shop.settings, key)


def validate(shop, key: str) -> Checks:
    extract_partition(shop.project, shop.settings, key)
    return validate_partition(shop.project, shop.settings, key)


def refused(shop, key: str) -> str:
    with pytest.raises(PartitionRefused) as error:
        validate(shop, key)
    return str(error.value)


def published_files(shop) -> list[Path]:
    """Every file that has left the raw zone."""
    lake = files.local_path(shop.settings.lake)
    return [path for path in lake.rglob("*") if path.is_file() and "raw" not in path.relative_to(lake).parts]


def test_a_partition_holds_the_rows_between_two_ticks_joined_and_without_outcomes(shop) -> None:
    found = ingest(shop, SECOND)
    rows = read_partition(found.url)
    assert (found.state, found.rows, found.quarantined) == ("published", 40, 0)
    assert sorted(rows["id"]) == list(range(40, 80))
    assert list(rows.columns) == [
        *(ROW, EVENT_TIME, CLUSTER, "id", "at", "day", "customer", "amount", "kind", "year"),
        *("weather_at", "weather_wind", "customers_year", "customers_age"),
    ]
    assert rows[ROW].dtype == "uint64"
    assert rows[ROW].is_unique
    assert str(rows[EVENT_TIME].dtype) == "datetime64[us, UTC]"
    assert set(rows[CLUSTER]) == {"2024-01-02"}
    assert rows[EVENT_TIME].is_monotonic_increasing


def test_the_same_column_of_two_sources_keeps_both_values(shop) -> None:
    rows = read_partition(ingest(shop, SECOND).url)
    assert set(rows["year"]) == {2024}
    assert set(rows["customers_year"]) == {1980 + n for n in range(7)}


def test_labels_are_those_that_matured_between_the_ticks(shop) -> None:
    labels = read_partition(ingest(shop, SECOND).labels_url)
    times = labels[EVENT_TIME]
    assert times.min() >= pd.Timestamp("2024-01-01T12:00", tz="UTC")
    assert times.max() < pd.Timestamp("2024-01-02T12:00", tz="UTC")
    assert set(labels[PARTITION]) == {FIRST, SECOND}
    assert list(labels.columns) == [ROW, PARTITION, EVENT_TIME, CLUSTER, LABEL]
    assert set(labels[LABEL]) == {0.0, 1.0}


def test_every_label_is_published_once_and_finds_its_row(shop) -> None:
    found = [ingest(shop, key) for key in (FIRST, SECOND, THIRD)]
    rows = pd.concat([read_partition(each.url).assign(key=each.key) for each in found])
    labels = pd.concat([read_partition(each.labels_url) for each in found])
    assert labels[ROW].is_unique
    joined = labels.merge(rows, on=ROW, validate="one_to_one", suffixes=("_label", ""))
    assert len(joined) == len(labels)
    assert (joined["key"] == joined[PARTITION]).all()
    with_answer = rows[rows["id"] % 4 != 0]
    due = with_answer[with_answer[EVENT_TIME] < pd.Timestamp("2024-01-03T12:00", tz="UTC")]
    assert set(due[ROW]) == set(labels[ROW])


def test_a_missing_label_is_left_out_or_zero_as_the_spec_says(shop) -> None:
    left_out = len(read_partition(ingest(shop, SECOND).labels_url))
    shop.data["label"] = {"expr": "returned_after < 5", "matures_after": "12h", "missing": "zero"}
    found = len(read_partition(ingest(shop, SECOND).labels_url))
    assert left_out == 30
    assert found == 40


def test_a_label_that_matures_after_several_partitions_is_found_again(shop) -> None:
    shop.data["label"] = {"expr": "returned_after < 5", "matures_after": "2d"}
    found = ingest(shop, "2024-01-05T0000")
    assert set(read_partition(found.labels_url)[PARTITION]) == {SECOND}


def test_ingesting_twice_changes_no_byte(shop) -> None:
    first = ingest(shop, SECOND)
    before = {path: path.read_bytes() for path in published_files(shop)}
    again = ingest(shop, SECOND)
    assert again == first
    assert {path: path.read_bytes() for path in published_files(shop)} == before


def test_nothing_private_leaves_the_raw_zone(shop, make_orders) -> None:
    table = make_orders()
    table.loc[45, "amount"] = -1
    table.loc[46, "customer"] = "anna-secret"
    shop.write(orders=table)
    shop.contract["orders"]["rows"].append(
        {"expect": "column_values_to_match_regex", "column": "customer", "regex": "@example"}
    )
    shop.contract["orders"]["table"].append(
        {"expect": "column_distinct_values_to_be_in_set", "column": "customer", "value_set": ["anna-0@example.org"]}
    )
    shop.data["refuse_above"] = 0.2
    with pytest.raises(PartitionRefused) as error:
        ingest(shop, SECOND)
    publish_partition(shop.project, shop.settings, SECOND)
    shop.contract["orders"]["table"].pop()
    found = ingest(shop, SECOND)
    assert found.quarantined == 2
    texts = [str(error.value), str(found), read_partition(found.url).to_csv()]
    for path in published_files(shop):
        table_file = path.suffix == ".parquet"
        texts.append(pd.read_parquet(path).to_csv() if table_file else path.read_text())
    assert [text for text in texts if "anna" in text] == []


def test_one_person_has_one_pseudonym_in_every_partition_and_source(shop, make_customers) -> None:
    shop.write(customers=make_customers().assign(referrer="anna-3@example.org"))
    shop.data["private"] = ["customer", "customers_referrer"]
    first, second = (read_partition(ingest(shop, key).url) for key in (FIRST, SECOND))
    assert set(first["customer"]) == set(second["customer"])
    assert first["customer"].str.fullmatch("[0-9a-f]{16}").all()
    assert first["customers_referrer"].str.fullmatch("[0-9a-f]{16}").all()


def test_a_row_of_a_private_key_is_named_by_its_pseudonym(shop) -> None:
    plain = read_partition(ingest(shop, SECOND).url)
    shop.data["private"] = ["customer", "id"]
    hidden = read_partition(ingest(shop, SECOND).url)
    assert not set(plain[ROW]) & set(hidden[ROW])


def test_rows_in_breach_are_quarantined_with_their_reasons_and_have_no_label(shop, make_orders) -> None:
    table = make_orders()
    table["kind"] = table["kind"].astype(object)
    table.loc[41, "kind"] = "fax"
    table.loc[41, "amount"] = 5000
    shop.write(orders=table)
    found = ingest(shop, SECOND)
    assert (found.rows, found.quarantined) == (39, 1)
    lake = files.local_path(shop.settings.lake)
    [row] = pd.read_parquet(lake / "shop" / "quarantine" / SECOND / "orders.parquet").to_dict("records")
    assert row["_reasons"] == "kind not in {web, shop, phone}; amount not in 0 to 100"
    assert row["id"] == 41
    assert row["customer"] != "anna-6@example.org"
    following = ingest(shop, THIRD)  # labels of the second day mature here too
    labels = pd.concat([read_partition(each.labels_url) for each in (found, following)])
    clean = read_partition(found.url)
    mature = clean[clean["id"] % 4 != 0]
    assert set(labels[labels[PARTITION] == SECOND][ROW]) == set(mature[ROW])


def test_a_quarantined_row_of_a_joined_source_joins_nothing(shop) -> None:
    wind = pd.read_csv(shop.folder / "weather.csv")
    doubled = pd.concat([wind, wind[wind["day"] == "2024-01-02"].assign(wind=1048.0)])
    shop.write(weather=doubled)
    shop.data["refuse_above"] = 0.5
    rows = read_partition(ingest(shop, SECOND).url)
    assert set(rows["weather_wind"]) == {10.0}


def test_two_matches_in_a_lookup_do_not_double_a_row(shop, make_customers) -> None:
    shop.write(customers=pd.concat([make_customers(), make_customers().assign(age=20)]))
    rows = read_partition(ingest(shop, SECOND).url)
    assert len(rows) == 40
    assert set(rows["customers_age"]) == {20}  # the first by all its columns


def test_a_mended_source_takes_its_quarantine_away(shop, make_orders) -> None:
    table = make_orders()
    table.loc[41, "amount"] = 5000
    shop.write(orders=table)
    ingest(shop, SECOND)
    quarantine = files.local_path(shop.settings.lake) / "shop" / "quarantine" / SECOND / "orders.parquet"
    assert quarantine.exists()
    shop.write(orders=make_orders())
    ingest(shop, SECOND)
    assert not quarantine.exists()


def test_an_empty_partition_publishes_no_rows_and_does_not_fail(shop, make_orders) -> None:
    table = make_orders()
    shop.write(orders=table[table["day"] != "2024-01-02"])
    found = ingest(shop, SECOND)
    assert (found.state, found.url, found.rows) == ("empty", None, 0)
    assert set(read_partition(found.labels_url)[PARTITION]) == {FIRST}


def test_a_refused_partition_publishes_the_labels_of_earlier_rows_only(shop, make_orders) -> None:
    table = make_orders()
    table.loc[table["day"] == "2024-01-02", "amount"] *= 100
    shop.write(orders=table)
    refused(shop, SECOND)
    found = publish_partition(shop.project, shop.settings, SECOND)
    assert (found.state, found.url) == ("refused", None)
    assert set(read_partition(found.labels_url)[PARTITION]) == {FIRST}


def test_a_unit_jump_refuses_the_partition_and_says_why(shop, make_orders) -> None:
    table = make_orders()
    table.loc[table["day"] == "2024-01-02", "amount"] *= 100
    shop.write(orders=table)
    text = refused(shop, SECOND)
    assert "40 of 40 rows (100.0%) break the contract" in text
    assert "amount not in 0 to 100 (40)" in text
    assert read_checks(shop.project, shop.settings, SECOND).state == "refused"


def test_a_new_category_above_the_limit_refuses_and_below_it_is_quarantined(shop, make_orders) -> None:
    table = make_orders()
    table["kind"] = table["kind"].replace({"phone": "chat"})
    shop.write(orders=table)
    assert "kind not in {web, shop, phone} (13)" in refused(shop, SECOND)
    shop.data["refuse_above"] = 0.5
    assert ingest(shop, SECOND).rows == 27


def test_a_missing_column_of_the_contract_refuses_and_names_it(shop, make_orders) -> None:
    shop.write(orders=make_orders().drop(columns="amount"))
    assert "orders: column_to_exist(amount): there is no such column" in refused(shop, SECOND)


@pytest.mark.parametrize(
    ("column", "key"),
    [("at", "event_time"), ("id", "data.key"), ("day", "data.sources.weather.join"), ("returned_after", "label.expr")],
)
def test_a_missing_column_of_the_spec_is_named_with_the_columns_there_are(shop, make_orders, column, key) -> None:
    shop.write(orders=make_orders().drop(columns=column))
    with pytest.raises(DataError, match=key) as error:
        extract_partition(shop.project, shop.settings, SECOND)
    assert column in str(error.value)
    assert "orders.csv" in str(error.value)
    assert "amount" in str(error.value)


@pytest.mark.parametrize("key", ["private", "outcomes"])
def test_a_private_column_that_no_source_has_is_an_error(shop, key) -> None:
    shop.data[key] = ["custommer"]
    with pytest.raises(DataError, match=rf"data\.{key}.*custommer"):
        extract_partition(shop.project, shop.settings, SECOND)


def test_text_where_the_contract_expects_numbers_refuses(shop, make_orders) -> None:
    table = make_orders()
    table["amount"] = table["amount"].astype(str) + " EUR"
    shop.write(orders=table)
    assert "column_values_to_be_between(amount" in refused(shop, SECOND)


def test_rows_that_share_a_key_are_quarantined_though_no_contract_says_so(shop, make_orders) -> None:
    table = make_orders()
    table.loc[42, "id"] = 41
    shop.write(orders=table)
    shop.data["refuse_above"] = 0.1
    found = ingest(shop, SECOND)
    assert found.rows == 38
    assert found.checks["sources"]["orders"]["reasons"] == {"id is not unique": 2}


def test_a_stale_source_refuses(shop, make_orders) -> None:
    table = make_orders()
    shop.contract["orders"]["fresh_within"] = "6h"
    shop.write(orders=table[pd.to_datetime(table["at"]).dt.hour < 12])
    assert "fresh_within(at, 6:00:00): 2024-01-02T11:30:00+00:00" in refused(shop, SECOND)


def test_too_few_matches_of_a_join_refuse(shop) -> None:
    wind = pd.read_csv(shop.folder / "weather.csv")
    shop.write(weather=wind[wind["day"] != "2024-01-02"])
    assert "weather: joined_at_least(0.9): 0.0" in refused(shop, SECOND)


def test_publishing_needs_the_validation_of_what_was_extracted(shop, make_orders) -> None:
    with pytest.raises(DataError, match="has not been validated"):
        publish_partition(shop.project, shop.settings, SECOND)
    with pytest.raises(DataError, match="has not been extracted"):
        validate_partition(shop.project, shop.settings, SECOND)
    validate(shop, SECOND)
    shop.write(orders=make_orders(per_day=30))
    extract_partition(shop.project, shop.settings, SECOND)
    with pytest.raises(DataError, match="extracted again after its validation"):
        publish_partition(shop.project, shop.settings, SECOND)


def test_one_file_per_partition_finds_earlier_labels_in_the_earlier_file(shop, make_orders) -> None:
    table = make_orders()
    for day, key in (("2024-01-01", FIRST), ("2024-01-02", SECOND)):
        part = table[table["day"] == day]
        if key == FIRST:  # another type in an earlier file must not change the later one
            part = part.assign(amount=part["amount"].astype(int))
        shop.write(**{f"orders-{key}": part})
    project = shop.project
    sources = project.spec.data.sources
    changed = sources["orders"].model_copy(update={"url": str(shop.folder / "orders-{key}.csv")})
    shop.data["sources"] = {name: source.model_dump() for name, source in {**sources, "orders": changed}.items()}
    found = ingest(shop, SECOND)
    assert found.rows == 40
    assert set(read_partition(found.labels_url)[PARTITION]) == {FIRST, SECOND}


def test_the_cluster_is_an_hour_or_a_column(shop) -> None:
    shop.release = {"cluster": "hour"}
    assert "2024-01-02T03" in set(read_partition(ingest(shop, SECOND).url)[CLUSTER])
    shop.release = {"cluster": "customer"}
    found = ingest(shop, SECOND)
    rows = read_partition(found.url)
    assert (rows[CLUSTER] == rows["customer"]).all()
    assert set(read_partition(found.labels_url)[CLUSTER]) <= set(rows[CLUSTER])


def test_a_week_is_a_cluster_from_monday_by_its_iso_year(shop) -> None:
    shop.data["start"] = "2023-12-31"
    shop.release = {"cluster": "week"}
    found = ingest(shop, SECOND)
    assert set(read_partition(found.url)[CLUSTER]) == {"2024-W01"}
    assert set(read_partition(found.labels_url)[CLUSTER]) == {"2024-W01"}


def test_a_partition_before_the_start_is_an_error(shop) -> None:
    with pytest.raises(DataError, match=r"lies before data\.start"):
        extract_partition(shop.project, shop.settings, "2024-01-01T0000")


def test_columns_keeps_what_it_names_and_what_the_spec_needs(shop) -> None:
    sources = {name: source.model_dump() for name, source in shop.project.spec.data.sources.items()}
    sources["orders"]["columns"] = ["amount", "kind", "customer"]
    shop.data["sources"] = sources
    rows = read_partition(ingest(shop, SECOND).url)
    own = [column for column in rows.columns if not column.startswith(("weather_", "customers_", "_"))]
    assert own == ["id", "at", "day", "customer", "amount", "kind"]


def test_checks_survive_json(shop, make_orders) -> None:
    table = make_orders()
    table.loc[41, "amount"] = 5000
    shop.write(orders=table)
    checks = validate(shop, SECOND)
    assert read_checks(shop.project, shop.settings, SECOND) == checks
    [check] = [each for each in checks.sources["orders"].checks if not each.success]
    assert (check.unexpected, check.examples) == (1, ("5000.0",))


def test_data_docs_show_the_checks_and_stand_in_the_index(shop, make_orders) -> None:
    table = make_orders()
    table["kind"] = table["kind"].astype(object)
    table.loc[41, "kind"] = "<script>"
    shop.write(orders=table)
    ingest(shop, FIRST)
    ingest(shop, SECOND)
    docs = files.local_path(shop.settings.lake) / "shop" / "docs"
    page = (docs / SECOND / "index.html").read_text()
    assert "kind not in {web, shop, phone}" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "http" not in page  # self-contained
    month = docs / "months" / SECOND[:7]
    (month / "index.json").write_text("{}")  # a parallel run lost the others' entries
    ingest(shop, THIRD)
    listed = (month / "index.html").read_text()
    assert all(f'href="../../{key}/index.html"' in listed for key in (FIRST, SECOND, THIRD))
    assert f'href="../months/{SECOND[:7]}/index.html"' in page
    assert f'href="months/{SECOND[:7]}/index.html"' in (docs / "index.html").read_text()


def test_what_a_partition_writes_of_data_docs_does_not_grow_with_the_months_before_it(shop, make_orders) -> None:
    days = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=34).strftime("%Y-%m-%d"), "wind": 10.0})
    shop.write(orders=make_orders(days=34), weather=days.assign(at=days["day"] + "T00:00:00Z"))
    for key in (FIRST, SECOND, "2024-02-02T0000"):
        ingest(shop, key)
    docs = files.local_path(shop.settings.lake) / "shop" / "docs"
    (docs / "months" / "index.json").write_text("{}")  # a parallel run lost January
    ingest(shop, "2024-02-03T0000")
    assert set(json.loads((docs / "months" / "2024-02" / "index.json").read_text())) == {
        "2024-02-02T0000",
        "2024-02-03T0000",
    }
    sums = json.loads((docs / "months" / "index.json").read_text())
    assert {month: each["partitions"] for month, each in sums.items()} == {"2024-01": 2, "2024-02": 2}
    assert sums["2024-01"]["rows"] == 80


def test_the_index_of_earlier_versions_is_brought_into_the_months(shop, make_orders) -> None:
    shop.write(orders=make_orders())
    docs = files.local_path(shop.settings.lake) / "shop" / "docs"
    docs.mkdir(parents=True)
    summary = {"state": "published", "rows": 7, "quarantined": 0, "failed": []}
    (docs / "index.json").write_text(json.dumps({"2023-11-30T0000": summary, FIRST: summary}))
    ingest(shop, SECOND)
    assert not (docs / "index.json").exists()
    sums = json.loads((docs / "months" / "index.json").read_text())
    assert {month: each["partitions"] for month, each in sums.items()} == {"2023-11": 1, SECOND[:7]: 2}
    assert 'href="../../2023-11-30T0000/index.html"' in (docs / "months" / "2023-11" / "index.html").read_text()
    assert f'href="../../{FIRST}/index.html"' in (docs / "months" / SECOND[:7] / "index.html").read_text()


def test_a_lake_elsewhere_works_like_a_folder(shop, tmp_path) -> None:
    from dataclasses import replace

    here = read_partition(ingest(shop, SECOND).url)
    shop.settings = replace(shop.settings, lake=f"memory://{tmp_path.name}")
    there = ingest(shop, SECOND)
    assert there.url.startswith("memory://")
    pd.testing.assert_frame_equal(read_partition(there.url), here)
