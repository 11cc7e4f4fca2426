"""``data.clean``: cells are cleaned before the contract, alike for rows and labels, and each step is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from updraft import files
from updraft.data.columns import LABEL
from updraft.data.contract import load_contract
from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.data.rehearsal import rehearse
from updraft.errors import DataError, PartitionRefused, SpecError

SECOND = "2024-01-03T0000"


def ingest(shop):
    extract_partition(shop.project, shop.settings, SECOND)
    checks = validate_partition(shop.project, shop.settings, SECOND)
    published = publish_partition(shop.project, shop.settings, SECOND)
    return checks, read_partition(published.url).sort_values("id", ignore_index=True), published


@pytest.fixture
def ugly(shop, make_orders):
    """Orders as a till writes them."""
    rows = make_orders()
    rows["kind"] = [(" Web", "SHOP ", "n/a")[number % 3] for number in range(len(rows))]
    rows["amount"] = [("12", " 250 ", "-", "n/a")[number % 4] for number in range(len(rows))]
    rows["sold"] = ["31/01/2024" if number % 5 else "32/01/2024" for number in range(len(rows))]
    rows["age"] = [None if number % 4 == 0 else number % 90 for number in range(len(rows))]
    shop.write(orders=rows)
    shop.data["clean"] = {
        "kind": ["trim", "lower", {"map": {"n/a": "phone"}}],
        "amount": ["trim", {"map": {"-": None, "n/a": None}}, {"parse": "number"}, {"clip": [0, 100]}, {"fill": 5.5, "flag": True}],
        "age": [{"clip": [18, 60]}, {"fill": 40, "flag": True}],
        "weather_wind": [{"clip": [0, 8]}],
    }  # fmt: skip
    return shop


def test_steps_are_applied_in_order_before_the_contract_and_counted(ugly):
    checks, rows, _ = ingest(ugly)
    assert (checks.state, checks.quarantined) == (
        "passed",
        0,
    )  # the contract allows web, shop and phone, and amounts up to 100
    number = np.arange(40, 80)
    assert rows["kind"].tolist() == [("web", "shop", "phone")[n % 3] for n in number]
    assert rows["amount"].tolist() == [(12.0, 100.0, 5.5, 5.5)[n % 4] for n in number]
    assert rows["amount_filled"].tolist() == [n % 4 > 1 for n in number]
    age = [40 if n % 4 == 0 else min(max(n % 90, 18), 60) for n in number]
    assert rows["age"].tolist() == age
    assert rows["age_filled"].tolist() == [n % 4 == 0 for n in number]
    assert set(rows["weather_wind"]) == {8.0}
    assert checks.sources["orders"].cleaned == {
        "kind: trim": 27, "kind: lower": 27, "kind: map": 13,
        "amount: trim": 10, "amount: map": 20, "amount: parse number": 20, "amount: clip [0, 100]": 10, "amount: fill 5.5": 20,
        "age: clip [18, 60]": sum(1 for n in number if n % 4 and not 18 <= n % 90 <= 60), "age: fill 40": 10,
    }  # fmt: skip
    assert checks.sources["weather"].cleaned == {"wind: clip [0, 8]": 1}
    page = files.read_bytes(f"{ugly.settings.lake}/shop/docs/{SECOND}/index.html").decode()
    assert "amount: parse number" in page


def test_a_text_that_does_not_parse_breaks_the_contract_of_its_row(ugly):
    ugly.data["clean"]["sold"] = ["trim", {"parse": "date", "format": "%d/%m/%Y"}]
    with pytest.raises(PartitionRefused, match=r"sold is no time \(8\)"):
        ingest(ugly)
    ugly.data["refuse_above"] = 0.3
    checks, rows, _ = ingest(ugly)
    assert checks.sources["orders"].quarantined == 8
    assert checks.sources["orders"].cleaned["sold: parse date"] == 32
    assert set(rows["sold"].astype(str)) == {"2024-01-31"}
    quarantined = files.read_parquet(f"{ugly.settings.lake}/shop/quarantine/{SECOND}/orders.parquet")
    assert "32/01/2024" in quarantined["_misfits"].astype(str).iloc[0]


def test_labels_read_what_is_cleaned(shop, make_orders):
    rows = make_orders()
    rows["result"] = [(" YES", "no")[number % 2] for number in range(len(rows))]
    shop.write(orders=rows)
    shop.data |= {"label": {"expr": "result = 'yes'", "matures_after": "12h"}, "outcomes": ["result"]}
    shop.data["clean"] = {"result": ["trim", "lower"]}
    _, _, published = ingest(shop)
    assert set(read_partition(published.labels_url)[LABEL]) == {0.0, 1.0}
    spec = shop.project.spec.model_dump(mode="json", exclude_defaults=True)
    (shop.folder / "project.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (shop.folder / "features.py").write_text("def features(rows):\n    return rows[['amount']]\n")
    assert rehearse(shop.project, shop.settings).problems == []  # by the raw cells every label would be false


def test_what_a_file_of_numbers_holds_is_cleaned_as_it_is_written(shop, make_orders):
    rows = make_orders()
    rows["shelf"] = [f"{number % 7:03d}" for number in range(len(rows))]
    rows["count"] = [f"{number} " for number in range(len(rows))]
    shop.write(orders=rows)
    shop.data["clean"] = {"shelf": ["trim"], "count": [{"parse": "integer"}]}
    _, published, _ = ingest(shop)
    assert published["shelf"].iloc[0] == "005"
    assert published["count"].tolist() == list(range(40, 80))


def test_without_steps_nothing_is_counted_and_the_spec_does_not_tell_of_it(shop):
    checks, _, _ = ingest(shop)
    assert all(source.cleaned == {} for source in checks.sources.values())
    assert "clean" not in shop.project.spec.data.model_dump(mode="json")


@pytest.mark.parametrize(
    ("clean", "message"),
    [
        ({"kindd": ["trim"]}, r"data\.clean\.kindd: source orders has no such column; there are .*kind.*weather_wind"),
        (
            {"kind": [{"clip": [0, 1]}]},
            r"data\.clean\.kind\[0\]: clip \[0, 1\] is for numbers, and kind is VARCHAR; put",
        ),
        ({"year": [{"fill": "none"}]}, r"data\.clean\.year\[0\]: fill none is a text, and year is a number"),
    ],
)
def test_what_does_not_fit_the_file_is_refused_by_key(shop, clean, message):
    shop.data["clean"] = clean
    with pytest.raises(DataError, match=message):
        ingest(shop)


def test_a_flag_takes_no_name_that_is_there(shop, make_orders):
    shop.write(orders=make_orders().assign(year_filled=1))
    shop.data["clean"] = {"year": [{"fill": 2000, "flag": True}]}
    with pytest.raises(DataError, match="there is a column year_filled already"):
        ingest(shop)


def test_a_contract_that_states_another_type_is_refused(shop):
    shop.contract["orders"]["columns"]["amount"] = "number"
    shop.data["clean"] = {"amount": ["trim"]}
    with pytest.raises(SpecError, match=r"amount is number here, and text after data\.clean\.amount"):
        load_contract(shop.project)
    shop.data["clean"] = {"amount": ["trim", {"parse": "integer"}]}
    assert load_contract(shop.project)


def test_many_rows_are_cleaned_by_the_database(shop, make_orders):
    rows = pd.concat([make_orders()] * 50, ignore_index=True)
    rows["id"] = range(len(rows))
    shop.write(orders=rows)
    shop.data["clean"] = {"kind": ["trim", "upper", "lower"], "amount": [{"clip": [0, 20]}]}
    checks, _, _ = ingest(shop)
    assert checks.sources["orders"].cleaned["kind: upper"] == 2000
