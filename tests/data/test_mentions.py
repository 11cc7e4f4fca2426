"""What a spec says of its sources is held against the sources: before the first partition, and all at once."""

from __future__ import annotations

import pytest
import yaml

from updraft.data.mentions import check_mentions
from updraft.spec.load import load_project_or_problems

SPEC = """\
name: shop
owner: me
data:
  schedule: "0 0 * * *"
  start: 2024-01-01
  end: 2024-01-07
  sources:
    orders: {type: file, url: "ORDERS", event_time: at}
    customers: {type: file, url: "CUSTOMERS", join: [customer]}
  key: [id]
  label: {expr: "returned_after < 5", matures_after: 12h}
  private: [customer]
gates: {slices: {by: [kind], no_worse_than_champion_by: 0.02}}
release: {cluster: day}
"""


@pytest.fixture
def check(shop):
    """Mentions of the shop's file after a replacement: ``{key: text of the problem}``, and the notes."""

    def run(*changes, orders="orders.csv"):
        text = SPEC.replace("ORDERS", f"file://{shop.folder / orders}")
        text = text.replace("CUSTOMERS", f"file://{shop.folder / 'customers.csv'}")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (shop.folder / "project.yaml").write_text(text)
        (shop.folder / "features.py").write_text("def features(rows):\n    return rows[['amount']]\n")
        found = load_project_or_problems(shop.folder)
        mentions = check_mentions(shop.folder, found.spec, getattr(found, "broken", frozenset()))
        assert all(problem.line for problem in mentions.problems)
        texts = {}
        for problem in mentions.problems:
            texts.setdefault(problem.key, []).append(str(problem))
        return {key: "\n".join(lines) for key, lines in texts.items()}, mentions.notes

    return run


def test_a_sound_file_has_no_problem_and_no_note(check):
    assert check() == ({}, ())


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("key: [id]", "key: [idd]", "data.key", "no column 'idd' in orders; did you mean `id`?"),
        ("[customer]}", "[custommer]}", "data.sources.customers.join", "no column 'custommer' in customers"),
        ("event_time: at", "event_time: att", "data.sources.orders.event_time", "did you mean `at`?"),
        ("event_time: at", "event_time: at, columns: [amont]", "data.sources.orders.columns", "did you mean `amount`?"),
        (
            "private: [customer]",
            "private: [e_mail]",
            "data.private",
            "no column 'e_mail' in any source; allowed: id, at",
        ),
        ("private: [customer]", "outcomes: [returnd_after]", "data.outcomes", "did you mean `returned_after`?"),
        ("by: [kind]", "by: [kind, customers_agee]", "gates.slices.by", "did you mean `customers_age`?"),
        ("by: [kind]", "by: [customers_customer]", "gates.slices.by", "no column 'customers_customer'"),
        (
            "gates: {",
            "gates: {fairness: {by: [kind, customers_agee], metrics: [selection_rate]}, ",
            "gates.fairness.by",
            "no column 'customers_agee' in the published rows; did you mean `customers_age`?",
        ),
        (
            "gates: {",
            "gates: {fairness: {by: [returned_after], metrics: [selection_rate]}, ",
            "gates.fairness.by",
            "returned_after is read by data.label.expr, and columns of the label are not published",
        ),
        ("cluster: day", "cluster: wek", "release.cluster", "neither day, week, hour nor a column of orders; did you"),
        ("returned_after < 5", "returned_aftr < 5", "data.label.expr", "did you mean `returned_after`?"),
        ("returned_after < 5", "returned_after <", "data.label.expr", "syntax error"),
        ("returned_after < 5", "(returned_after, amount)", "data.label.expr", "is no SQL expression"),
        ("returned_after < 5", "day_of(at)", "data.label.expr", "day_of"),
    ],
)
def test_one_mistake_is_told_with_its_key_and_what_there_is(check, old, new, key, says):
    found, _ = check((old, new))
    assert says in found.pop(key)
    assert found == {}


def test_every_mistake_is_told_at_once_beside_those_of_the_file_itself(check):
    found, _ = check(
        ("key: [id]", "key: [idd]"),
        ("cluster: day}", "cluster: wek, confidence: 7}"),
        ("by: [kind]", "by: [knd]"),
        ("< 5", "<"),
    )
    assert set(found) == {"data.key", "release.cluster", "gates.slices.by", "data.label.expr"}


def test_nothing_is_told_of_a_key_that_is_broken_otherwise(check):
    found, _ = check(("key: [id]", "key: id"), ("cluster: day", "cluster: 3"))
    assert found == {}


@pytest.mark.parametrize("name", ["week", "hour", "kind"])
def test_a_cluster_is_a_clock_or_a_column(check, name):
    assert check(("cluster: day", f"cluster: {name}"))[0] == {}


def test_the_first_line_of_a_file_without_a_header_is_not_told_as_names(check, shop):
    (shop.folder / "row.csv").write_text("Anna,Olsen,Oslo\nBob,Berg,Bergen\n")
    found, _ = check(orders="row.csv")
    told = found["data.sources.orders.url"]
    assert "of all that project.yaml names; its first line has 3 cells" in told
    assert not any(cell in "".join(found.values()) for cell in ("Anna", "Olsen", "Oslo"))


def test_a_source_that_is_not_there_is_told_and_the_rest_is_checked(check):
    found, notes = check(
        ("key: [id]", "key: [idd]"), ("join: [customer]", "join: [custmer]"), ("< 5", "<"), orders="no.csv"
    )
    assert set(found) == {"data.label.expr", "data.sources.customers.join", "data.sources.orders.url"}
    assert "there is no such file" in found["data.sources.orders.url"]
    assert notes == ()


def test_of_one_file_for_each_partition_one_that_is_there_is_looked_at(check, shop):
    (shop.folder / "orders-2024-01-02T0000.csv").write_bytes((shop.folder / "orders.csv").read_bytes())
    found, notes = check(("key: [id]", "key: [idd]"), orders="orders-{key}.csv")
    assert set(found) == {"data.key"}
    assert notes == ()
    (shop.folder / "orders-2024-01-02T0000.csv").unlink()
    assert len(check(orders="orders-{key}.csv")[1]) == 1


def test_no_cell_is_quoted_of_a_file_that_does_not_read(check, shop):
    (shop.folder / "orders.csv").write_bytes(b"id,at\n1,2024-01-01\n2,anna-secret\xff\n")
    found, notes = check()
    told = found["data.sources.orders.url"]
    assert "line 3" in told
    assert "secret" not in told
    assert notes == ()


def test_looking_writes_nothing(check, shop):
    before = yaml.safe_load(SPEC)
    check()
    assert yaml.safe_load(SPEC) == before
    assert sorted(path.name for path in shop.settings.home.glob("**/*")) == []
