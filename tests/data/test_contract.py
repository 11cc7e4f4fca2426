from __future__ import annotations

import re
from datetime import timedelta

import pytest

from updraft.data.catalogue import ROWS, TABLE
from updraft.data.contract import load_contract
from updraft.errors import SpecError


def problems(shop) -> str:
    with pytest.raises(SpecError) as error:
        load_contract(shop.project)
    return str(error.value)


def test_a_contract_is_read_with_the_key_that_the_spec_promises(shop) -> None:
    found = load_contract(shop.project)
    orders = found.of("orders")
    assert orders.fresh_within == timedelta(days=1)
    assert [each.text for each in orders.rows] == [
        "column_values_to_be_in_set(kind, value_set={web, shop, phone})",
        "column_values_to_be_between(amount, min_value=0, max_value=100)",
        "column_values_to_not_be_null(id)",
        "column_values_to_be_unique(id)",
    ]
    assert found.of("customers").rows == ()


def test_an_expectation_that_says_what_the_key_says_is_not_doubled(shop) -> None:
    shop.contract["orders"]["rows"].append({"expect": "column_values_to_be_unique", "column": "id"})
    rows = load_contract(shop.project).of("orders").rows
    assert [each.name for each in rows].count("column_values_to_be_unique") == 1


def test_great_expectations_own_names_are_understood(shop) -> None:
    shop.contract["orders"]["rows"] = [{"expect": "expect_column_values_to_not_be_null", "column": "kind"}]
    assert load_contract(shop.project).of("orders").rows[0].name == "column_values_to_not_be_null"


def test_every_problem_is_told_at_once_with_file_source_and_index(shop) -> None:
    shop.contract = {
        "ordres": {},
        "customers": {"joined_at_least": 2, "fresh_within": "1d", "colums": {}},
        "orders": {
            "joined_at_least": 0.5,
            "fresh_within": "soon",
            "columns": {"amount": "float"},
            "rows": [
                {"expect": "column_values_to_be_betwen", "column": "amount"},
                {"expect": "column_values_to_be_between", "column": "amount", "min": 1},
                {"expect": "column_values_to_be_between", "column": "amount", "min_value": 5, "max_value": 1},
                {"expect": "column_values_to_not_be_null", "column": "amount", "mostly": 0.9},
                {"expect": "table_row_count_to_be_between", "min_value": 1},
                {"expect": "column_values_to_be_in_set", "column": "kind", "value_set": "web"},
                "column_values_to_not_be_null",
            ],
        },
    }
    text = problems(shop)
    assert all(re.search(r"expectations\.yaml:\d+: ", line) for line in text.splitlines())
    for part in (
        "ordres: no such source; did you mean `orders`?",
        "customers.joined_at_least = 2: must be at most 1",
        "customers.fresh_within: customers has no event_time",
        "customers.colums = {}: unknown key; did you mean `columns`?; allowed: columns, rows, table, fresh_within",
        "orders.joined_at_least: orders is the row source",
        "orders.fresh_within = 'soon': write a duration as a whole number and a unit",
        "orders.columns.amount = 'float': is not a value that is allowed; allowed: integer, number, text",
        "orders.rows[0]: unknown expectation 'column_values_to_be_betwen'; did you mean `column_values_to_be_between`?",
        "orders.rows[1]: column_values_to_be_between takes no 'min'; did you mean `min_value`?",
        "orders.rows[1]: column_values_to_be_between needs min_value, max_value or both",
        "orders.rows[2]: min_value 5 is above max_value 1",
        "orders.rows[3]: mostly: a row keeps an expectation or breaks it; put the share under `table`",
        "orders.rows[4]: unknown expectation 'table_row_count_to_be_between' (it belongs under `table`)",
        "orders.rows[5]: value_set='web' is not a list with something in it",
        "orders.rows[6]: write {expect: column_values_to_not_be_null, column: NAME}",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "orders: must be keys and values"),
        (["rows"], "orders: must be keys and values"),
        ({"rows": {"expect": "x"}}, r"orders\.rows = .*: must be a list"),
        ({"columns": ["amount"]}, r"orders\.columns = .*: must be keys and values"),
        ({"joined_at_least": True}, r"orders\.joined_at_least = true: must be a number"),
        ({"fresh_within": 3}, r"orders\.fresh_within = 3: write a duration"),
    ],
)
def test_a_value_of_another_kind_is_told_in_the_words_of_project_yaml(shop, body, words) -> None:
    shop.contract = {"orders": body}
    with pytest.raises(SpecError, match=rf"expectations\.yaml:\d+: {words}"):
        load_contract(shop.project)


def test_a_key_without_a_value_promises_nothing(shop) -> None:
    shop.contract = {"orders": {"rows": None, "columns": None, "fresh_within": None}}
    orders = load_contract(shop.project).of("orders")
    assert (orders.columns, orders.fresh_within, len(orders.rows)) == ({}, None, 2)


def test_a_contract_may_be_a_function(shop) -> None:
    project = shop.project
    (shop.folder / "expectations.yaml").unlink()
    (shop.folder / "expectations.py").write_text("def expectations():\n    return {'orders': {'fresh_within': '2h'}}\n")
    assert load_contract(project).of("orders").fresh_within == timedelta(hours=2)
    (shop.folder / "expectations.py").write_text("def expectations():\n    return 1 / 0\n")
    with pytest.raises(SpecError, match=r"expectations\.py: expectations\(\) failed: ZeroDivisionError"):
        load_contract(project)
    (shop.folder / "expectations.yaml").write_text("{}")
    with pytest.raises(SpecError, match="keep one of them"):
        load_contract(project)


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "{$PARAMETER: now()}"])
def test_a_bound_is_a_plain_finite_value(shop, value) -> None:
    project = shop.project
    (shop.folder / "expectations.yaml").write_text(
        f"orders:\n  rows:\n    - {{expect: column_values_to_be_between, column: amount, max_value: {value}}}\n"
    )
    with pytest.raises(SpecError, match=r"expectations\.yaml:3: orders\.rows\[0\]: max_value=.* is no (finite|plain)"):
        load_contract(project)


def test_an_empty_file_promises_what_every_source_promises(shop) -> None:
    project = shop.project
    for text in ("", "# nothing yet\n", "---\n"):
        (shop.folder / "expectations.yaml").write_text(text)
        assert [each.name for each in load_contract(project).of("orders").rows] == [
            "column_values_to_not_be_null",
            "column_values_to_be_unique",
        ]


def test_plain_words_are_text_as_in_project_yaml(shop) -> None:
    project = shop.project
    (shop.folder / "expectations.yaml").write_text(
        "orders:\n  rows:\n    - {expect: column_values_to_be_in_set, column: kind, value_set: [NO, SE, on, 1e3, 12:30]}\n"
    )
    assert load_contract(project).of("orders").rows[0].args["value_set"] == ["NO", "SE", "on", 1000.0, "12:30"]


def test_a_key_that_stands_twice_is_told_with_its_line(shop) -> None:
    project = shop.project
    (shop.folder / "expectations.yaml").write_text("orders:\n  fresh_within: 1d\n  fresh_within: 2d\n")
    with pytest.raises(
        SpecError, match=r"expectations\.yaml:3: orders\.fresh_within: stands twice, in line 2 and here"
    ):
        load_contract(project)


def test_a_file_that_unfolds_without_end_is_refused_before_it_does(shop) -> None:
    project = shop.project
    bombs = {
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
            for before, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
        ): "aliases make it more than",
        "orders: &o {rows: *o}\n": "contains itself",
        "orders: " + "[" * 20_000: "nested more than",
        "orders: " + "x" * 1_000_001: "too many for a project file",
    }
    for text, message in bombs.items():
        (shop.folder / "expectations.yaml").write_text(text)
        with pytest.raises(SpecError, match=rf"expectations\.yaml(:\d+)?: .*{message}"):
            load_contract(project)


@pytest.mark.parametrize("text", ["a: [", "- a"])
def test_a_file_that_is_no_mapping_is_an_error(shop, text) -> None:
    project = shop.project
    (shop.folder / "expectations.yaml").write_text(text)
    with pytest.raises(SpecError, match=r"expectations\.yaml"):
        load_contract(project)


def test_every_expectation_of_the_catalogue_is_one_of_great_expectations() -> None:
    from updraft.data import gx

    known = gx.load().expectations
    for name, kind in {**ROWS, **TABLE}.items():
        made = getattr(known, "".join(part.capitalize() for part in f"expect_{name}".split("_")), None)
        if made is None:  # `A` and `B` of the column pairs
            made = known.ExpectColumnPairValuesAToBeGreaterThanB
        assert {*kind.needs, *kind.takes} <= set(
            made.model_fields if hasattr(made, "model_fields") else made.__fields__
        )
