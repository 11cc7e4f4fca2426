"""Great Expectations and the statement that finds the rows must mean the same."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from updraft import files
from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.errors import PartitionRefused

KEY = "2024-01-02T0000"
EXPECTATIONS = [
    {"expect": "column_values_to_not_be_null", "column": "text"},
    {"expect": "column_values_to_be_null", "column": "select"},
    {"expect": "column_values_to_be_between", "column": "number", "min_value": 3, "max_value": 7},
    {"expect": "column_values_to_be_between", "column": "number", "min_value": 3, "strict_min": True},
    {"expect": "column_values_to_be_between", "column": "number", "max_value": 7, "strict_max": True},
    {"expect": "column_values_to_be_in_set", "column": "text", "value_set": ["a", "it's"]},
    {"expect": "column_values_to_be_in_set", "column": "number", "value_set": [1, 2]},
    {"expect": "column_values_to_not_be_in_set", "column": "text", "value_set": ["a"]},
    {"expect": "column_values_to_be_unique", "column": "Mixed Case"},
    {"expect": "compound_columns_to_be_unique", "column_list": ["text", "number", "select"]},
    {"expect": "column_values_to_match_regex", "column": "text", "regex": "^[ab]$"},
    {"expect": "column_values_to_not_match_regex", "column": "text", "regex": "^b"},
    {"expect": "column_value_lengths_to_be_between", "column": "text", "min_value": 2},
    {"expect": "column_value_lengths_to_equal", "column": "text", "value": 1},
    {"expect": "column_pair_values_a_to_be_greater_than_b", "column_A": "number", "column_B": "select"},
    {
        "expect": "column_pair_values_a_to_be_greater_than_b",
        "column_A": "number",
        "column_B": "select",
        "or_equal": True,
    },
    {"expect": "column_pair_values_to_be_equal", "column_A": "number", "column_B": "select"},
]


def odd_orders(make_orders) -> pd.DataFrame:
    """Orders with nulls, quotes, a column that is an SQL keyword and one that is not lower case."""
    chance = random.Random(1)
    table = make_orders(days=1, per_day=45)
    count = len(table)
    table["text"] = [chance.choice(["a", "b", "it's", "long", None]) for _ in range(count)]
    table["number"] = [chance.choice([1, 3, 5, 7, 9, None]) for _ in range(count)]
    table["select"] = [chance.choice([1, 5, None, None]) for _ in range(count)]
    table["Mixed Case"] = [chance.randrange(60) for _ in range(count)]
    return table


@pytest.mark.parametrize("private", [False, True], ids=["open", "private"])
def test_great_expectations_counts_the_rows_that_the_statement_finds(shop, make_orders, private) -> None:
    shop.write(orders=odd_orders(make_orders))
    shop.contract = {"orders": {"rows": EXPECTATIONS}}
    shop.data["refuse_above"] = 1.0
    if private:
        shop.data["private"] = ["text", "number", "select", "Mixed Case"]
    extract_partition(shop.project, shop.settings, KEY)
    checks = validate_partition(shop.project, shop.settings, KEY)
    quarantine = pd.read_parquet(files.local_path(shop.settings.lake) / f"shop/quarantine/{KEY}/orders.parquet")
    found = checks.sources["orders"]
    from updraft.data.contract import load_contract

    rows = load_contract(shop.project).of("orders").rows[: len(EXPECTATIONS)]
    assert len(quarantine) == found.quarantined
    judged = [each for each in found.checks if each.kind == "row"]
    for expectation, check in zip(rows, judged, strict=False):
        if expectation.reason not in found.reasons:  # of a private column: without the contract's values
            assert private
            continue
        assert found.reasons[expectation.reason] == check.unexpected > 0, expectation.text


@pytest.mark.parametrize(
    ("kind", "column", "holds"),
    [
        ("text", "kind", True),
        ("number", "amount", True),
        ("integer", "amount", False),
        ("time", "at", True),
        ("text", "amount", True),  # a number is written as a text
        ("number", "kind", False),
        ("boolean", "nothing", True),  # nulls have any type
    ],
)
def test_the_type_of_a_column_is_part_of_the_contract(shop, make_orders, kind, column, holds) -> None:
    table = make_orders(days=1)
    table["amount"] += 0.5
    table["nothing"] = None
    shop.write(orders=table)
    shop.contract["orders"] = {"columns": {column: kind}}
    extract_partition(shop.project, shop.settings, KEY)
    if holds:
        validate_partition(shop.project, shop.settings, KEY)
    else:
        with pytest.raises(PartitionRefused, match=f"{column} is no {kind} \\(40\\)"):
            validate_partition(shop.project, shop.settings, KEY)


def test_a_column_of_nulls_is_published_with_the_type_that_the_contract_states(shop, make_orders) -> None:
    shop.write(orders=make_orders(days=1).assign(weight=None))
    shop.contract["orders"] = {"columns": {"weight": "number"}}
    extract_partition(shop.project, shop.settings, KEY)
    validate_partition(shop.project, shop.settings, KEY)
    rows = read_partition(publish_partition(shop.project, shop.settings, KEY).url)
    assert rows["weight"].dtype == "float64"


@pytest.mark.parametrize(
    ("expectation", "holds"),
    [
        ({"expect": "column_values_to_not_be_null", "column": "returned_after", "mostly": 0.7}, True),
        ({"expect": "column_values_to_not_be_null", "column": "returned_after", "mostly": 0.8}, False),
        ({"expect": "column_values_to_match_regex", "column": "kind", "regex": "^[ws]", "mostly": 0.6}, True),
        ({"expect": "column_values_to_match_regex", "column": "kind", "regex": "^[ws]", "mostly": 0.7}, False),
        ({"expect": "column_median_to_be_between", "column": "amount", "min_value": 5, "max_value": 40}, True),
        ({"expect": "column_mean_to_be_between", "column": "amount", "max_value": 5}, False),
        ({"expect": "column_unique_value_count_to_be_between", "column": "kind", "min_value": 3}, True),
        ({"expect": "column_distinct_values_to_contain_set", "column": "kind", "value_set": ["fax"]}, False),
        ({"expect": "column_to_exist", "column": "kind"}, True),
        ({"expect": "table_column_count_to_be_between", "max_value": 3}, False),
    ],
)
def test_a_table_expectation_refuses_and_quarantines_nothing(shop, expectation, holds) -> None:
    shop.contract["orders"] = {"table": [expectation]}
    extract_partition(shop.project, shop.settings, KEY)
    if holds:
        assert validate_partition(shop.project, shop.settings, KEY).quarantined == 0
    else:
        with pytest.raises(PartitionRefused, match=expectation["expect"]):
            validate_partition(shop.project, shop.settings, KEY)


def test_the_session_time_zone_does_not_move_rows(shop, monkeypatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    shop.contract["orders"]["table"].append(
        {"expect": "column_max_to_be_between", "column": "at", "max_value": "2024-01-02T00:00:00+00:00"}
    )
    extract_partition(shop.project, shop.settings, KEY)
    assert validate_partition(shop.project, shop.settings, KEY).sources["orders"].rows == 40
