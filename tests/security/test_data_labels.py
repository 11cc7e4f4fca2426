"""Labels are published as they are: no value of a private column comes through the expression that makes them."""

# ruff: noqa: F401, F811  -- the fixtures of tests/data
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.data.conftest import settings, shop

from updraft.data.extraction import extract_partition
from updraft.errors import DataError
from updraft.spec.data import Data
from updraft.spec.label import published_private, read_label
from updraft.spec.load import BrokenProject, load_project_or_problems

KEY = "2024-01-02T0000"
SOURCES = {
    "orders": {"type": "file", "url": "file:///orders.csv", "event_time": "at"},
    "people": {"type": "file", "url": "file:///people.csv", "join": ["customer"]},
}

PUBLISHES = [
    "price",
    '"price"',
    "PRICE",
    "(price)",
    "price + 0",
    "price * 2 + 1",
    "-price",
    "CAST(price AS DOUBLE)",
    "price::INTEGER",
    "TRY_CAST(price AS INTEGER)",
    "COALESCE(price, 0)",
    "CASE WHEN price > 5 THEN price ELSE 0 END",
    "CASE price WHEN 5 THEN 1 ELSE 0 END + price",
    "IF(price > 5, price, 0)",
    "greatest(price, 0)",
    "round(price)",
    "hash(price)",
    "length(price::VARCHAR)",
    "amount + price",
    "amount > 5 AND price",
    "NOT price",
    "list_position(range(100000), price)",
    "list_filter(range(100000), lambda n: n = price)[1]",
    "[n FOR n IN range(100000) IF n = price][1]",
    "list_sum(list_transform(range(100000), lambda n: CASE WHEN n < price THEN 1 ELSE 0 END))",
    "sum(price) OVER (ORDER BY id)",
    "lag(price > 5) OVER (ORDER BY price)",
    "[price][1]",
    "{'p': price}.p",
    "struct_extract({'p': price}, 'p')",
    "orders.price + 0",
    "price -- > 5",
    "price /* > 5 */",
    "price + (1 > 2)::INTEGER",
    "(price > 5)::INTEGER + price",
]
TELLS_A_FACT = [
    "price > 5",
    "5 < price",
    "price + 1 > amount",
    "price BETWEEN 1 AND 5",
    "price NOT BETWEEN 1 AND 5",
    "price IN (1, 2, 3)",
    "price NOT IN (1, 2, 3)",
    "price IS NULL",
    "price IS NOT NULL",
    "price IS DISTINCT FROM 5",
    "price::VARCHAR LIKE '9%'",
    "price::VARCHAR NOT ILIKE '9%'",
    "NOT (price > 5)",
    "price > 5 AND amount > 2",
    "CASE WHEN price > 5 THEN amount ELSE 0 END",
    "(round(price) > 5)::INTEGER",
    "len(list_filter(range(10), lambda n: n = price)) > 0",
    "amount + 0",
    "amount > 2 -- price",
    "length('price')",
    "price_of_another > 1",
]


def _data(expr: str = "TRUE", **more: object) -> Data:
    value = {"schedule": "0 0 * * *", "start": "2024-01-01", "sources": SOURCES, "key": ["id"], "private": ["price"]}
    return Data.model_validate({**value, "label": {"expr": expr}, **more})


@pytest.mark.parametrize("expr", PUBLISHES)
def test_a_label_through_which_values_of_a_private_column_come_is_refused(expr: str) -> None:
    complaint = published_private(expr, _data())
    assert complaint is not None
    assert "price" in complaint
    assert "write what is to be learnt, such as price > 0" in complaint


@pytest.mark.parametrize("expr", TELLS_A_FACT)
def test_a_label_that_tells_a_fact_of_a_private_column_is_a_label(expr: str) -> None:
    assert read_label(expr).wrong is None
    assert published_private(expr, _data()) is None


@pytest.mark.parametrize(
    ("private", "expr"),
    [
        ("orders_price", "price + 0"),
        ("people_customer", "length(customer)"),
        ("customer", "length(customer)"),
        ('a"b', '"a""b" + 0'),
    ],
)
def test_a_private_column_is_known_by_all_its_names(private: str, expr: str) -> None:
    assert published_private(expr, _data(private=[private])) is not None


def test_the_file_is_refused_with_line_key_and_what_to_write(shop) -> None:
    (shop.folder / "features.py").write_text("def features(rows):\n    return rows[['amount']]\n")
    data = _data("price + 0").model_dump(mode="json", exclude_none=True)
    data["label"]["matures_after"] = "12h"
    (shop.folder / "project.yaml").write_text(yaml.safe_dump({"name": "shop", "owner": "me", "data": data}))
    found = load_project_or_problems(shop.folder)
    assert isinstance(found, BrokenProject)
    [problem] = found.problems
    assert problem.key == "data.label.expr"
    assert problem.line
    assert "write what is to be learnt, such as price > 0" in problem.message


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("amount + 0", "publishes the private column amount"),
        ("struct_extract(unnamed_subquery, 'amount') + 0", "cannot be evaluated|unnamed_subquery, which is no column"),
        ("struct_extract(src_orders, 'amount') + 0", "cannot be evaluated|src_orders, which is no column"),
        ("struct_extract(read_parquet, 'amount') + 0", "cannot be evaluated|read_parquet, which is no column"),
        ("read_parquet.amount + 0", "publishes the private column amount"),
        ("COLUMNS('am.*') + 0", "has a star"),
        ("#5 + 0", "by its position"),
    ],
)
def test_no_other_way_to_a_private_column_is_open_at_ingestion(shop, expr: str, message: str) -> None:
    shop.data |= {"private": ["customer", "amount"], "label": {"expr": expr, "matures_after": "12h"}}
    with pytest.raises(DataError, match=rf"data\.label\.expr .*({message})"):
        extract_partition(shop.project, shop.settings, KEY)


def test_a_project_whose_label_mentions_no_private_column_is_loaded_without_duckdb() -> None:
    code = (
        "import sys; from updraft.spec.label import published_private; from updraft.spec.data import Data;"
        f"data = Data.model_validate({_data().model_dump(mode='json', exclude={'label', 'start'})!r}"
        " | {'start': '2024-01-01', 'label': {'expr': 'amount > 2'}});"
        "print(published_private('amount > 2', data), 'duckdb' in sys.modules)"
    )
    folder = Path(__file__).parents[2] / "include"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.split() == ["None", "False"]
