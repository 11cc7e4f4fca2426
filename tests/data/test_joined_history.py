"""Joins by time through a whole ingestion: rows from before the partition join, are judged with their own partition, and stay in no report."""

from __future__ import annotations

import pandas as pd
import pytest

from updraft.data.ingest import extract_partition, publish_partition, read_partition, validate_partition
from updraft.spec.checks import cross_check
from updraft.spec.document import read_document
from updraft.spec.model import ProjectSpec
from updraft.spec.validation import validate

KEY = "2024-01-04T0000"


def payments(days=6):
    """Every customer pays at noon; one row has no customer, one stands twice, and one is far out of bounds."""
    at = pd.date_range("2024-01-01T12:00:00Z", periods=days, freq="D")
    rows = [(moment, f"anna-{n}@example.org", 10.0 * (n + 1)) for moment in at for n in range(7)]
    rows += [(at[0], None, 5.0), (at[1], "anna-1@example.org", 1.0), (at[1], "anna-2@example.org", -1e9)]
    frame = pd.DataFrame(rows, columns=["paid_at", "customer", "amount"])
    return frame.assign(paid_at=frame["paid_at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))


def with_payments(shop, url, **keys):
    specs = {name: spec.model_dump(mode="json") for name, spec in shop.project.spec.data.sources.items()}
    own = {"type": "file", "url": url, "event_time": "paid_at", "join": ["customer"], **keys}
    shop.data["sources"] = {"orders": specs["orders"], "payments": own}
    shop.contract = {
        "payments": {"rows": [{"expect": "column_values_to_be_between", "column": "amount", "min_value": 0}]}
    }


def ingest(shop):
    extract_partition(shop.project, shop.settings, KEY)
    checks = validate_partition(shop.project, shop.settings, KEY)
    row = publish_partition(shop.project, shop.settings, KEY)
    return checks, read_partition(row.url), row.sha256


def test_sums_reach_back_before_the_partition_from_one_file_and_from_a_file_each(shop) -> None:
    frame = payments()
    frame.to_csv(shop.folder / "payments.csv", index=False)
    how = {"aggregate": {"amount": ["count", "sum", "last"]}, "over": ["2d"]}
    with_payments(shop, str(shop.folder / "payments.csv"), **how)
    checks, rows, digest = ingest(shop)
    assert checks.sources["payments"].rows == 7
    assert checks.sources["payments"].quarantined == 0
    assert not [column for column in rows.columns if column in ("payments_amount", "payments_paid_at")]
    moments = rows["_event_time"]
    morning = rows[moments < "2024-01-03T12:00:00Z"]
    assert set(morning["payments_amount_count_2d"]) == {
        2,
        3,
    }  # of two days; one customer paid twice, one row is in breach
    assert morning["payments_amount_last_2d"].isin([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]).all()
    assert morning["payments_amount_sum_2d"].min() == 20.0
    assert (rows["payments_amount_sum_2d"] > 0).all()
    for day in range(6):
        own = frame[frame["paid_at"].str.startswith(f"2024-01-0{day + 1}")]
        own.to_csv(shop.folder / f"payments-2024-01-0{day + 1}.csv", index=False)
    with_payments(shop, f"{shop.folder}/payments-{{date}}.csv", **how)
    assert ingest(shop)[2] == digest


def test_the_newest_row_before_the_event_joins_and_one_in_breach_does_not(shop) -> None:
    payments().to_csv(shop.folder / "payments.csv", index=False)
    with_payments(shop, str(shop.folder / "payments.csv"), asof={"tolerance": "1d"})
    _, rows, _ = ingest(shop)
    age = rows["_event_time"] - rows["payments_paid_at"]
    assert age.min() >= pd.Timedelta(0)
    assert age.max() <= pd.Timedelta("1d")
    assert rows["payments_amount"].notna().all()
    assert (rows["payments_amount"] > 0).all()


@pytest.mark.parametrize(
    ("payments", "key", "words"),
    [
        ("{url: x, join: [c], asof: {tolerance: 7d}}", "asof", "joins by time, so the source needs event_time"),
        ("{url: x, join: [c], event_time: t, aggregate: {a: [sum]}}", "over", "is missing: how far back"),
        ("{url: x, join: [c], event_time: t, over: [7d]}", "over", "needs aggregate"),
        ("{url: x, join: [c], event_time: t, aggregate: {a: [median]}, over: [7d]}", "aggregate.a[0]", "not a value that is allowed"),
        ("{url: x, join: [c], event_time: t, aggregate: {secret: [last]}, over: [7d]}", "aggregate", "publishes private column"),
        ("{type: sql, join: [c], connection: db}", "", "needs either table or query, of which it has none"),
        ("{type: sql, join: [c], connection: db, table: a, url: x}", "url", "is a key of a source of type file or http"),
        ("{type: sql, join: [c], table: a}", "connection", "is missing"),
        ("{type: sql, join: [c], connection: db, query: 'SELECT :day'}", "query", "has a parameter :day"),
        ("{type: http, join: [c], url: /v1}", "url", "is a path, which needs a connection"),
        ("{type: http, join: [c], url: 'https://x/{day}'}", "url", "has a placeholder {day}"),
        ("{type: http, join: [c], url: 'https://x', pages: {by: cursor, param: a}}", "pages", "needs next"),
        ("{type: ftp, join: [c], url: x}", "type", "not a value that is allowed"),
        ("{join: [c]}", "url", "is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_source_is_told_with_its_key(tmp_path, payments, key, words) -> None:
    (tmp_path / "project.yaml").write_text(
        "name: shop\nowner: me\ndata:\n  schedule: '0 0 * * *'\n  start: 2024-01-01\n  key: [id]\n  private: [secret]\n"
        f"  label: {{expr: x}}\n  sources:\n    orders: {{url: /o.csv, event_time: at}}\n    payments: {payments}\n"
    )
    document = read_document(tmp_path / "project.yaml")
    validated = validate(document, ProjectSpec)
    problems = [*validated.problems, *cross_check(document, validated, "shop")]
    told = {problem.key: problem.message for problem in problems}
    assert words in told[f"data.sources.payments{'.' * bool(key)}{key}"]
