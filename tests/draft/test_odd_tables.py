"""`updraft init` on tables of odd shapes: what it understands is what ingestion reads, and the project is sound."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import pytest
import yaml
from tests.draft.conftest import DAYS, orders

from updraft.draft import place
from updraft.draft.features import GROUPS, WORD_GROUPS
from updraft.draft.project import Said, draft
from updraft.draft.question import settle_safely
from updraft.spec.features import compute, load_features


def test_a_plain_table_is_understood_whole(drafting):
    told = drafting.drafted(drafting.csv(orders()))
    assert told["event_time"]["column"] == "placed"
    assert told["key"]["columns"] == ["order_id"]
    assert (told["label"]["expr"], told["label"]["task"]) == ("late", "binary")
    assert told["features"] == ["placed_hour", "placed_weekday", "shop", "amount", "items"]
    assert told["schedule"] == "0 0 * * *"
    assert sum(told["volume"]) == told["rows"] == len(orders())
    assert sorted(path.name for path in (drafting.projects / "shop").iterdir()) == [
        "expectations.yaml", "features.py", "project.yaml",
    ]  # fmt: skip
    spec = drafting.project.spec
    assert spec.data.outcomes == ("late",)
    assert str(spec.data.start) == "2024-01-01"
    assert str(spec.data.end) == f"2024-01-{DAYS + 1:02}"


def test_what_it_says_is_a_table_and_the_next_steps(drafting):
    done = drafting.init(drafting.csv(orders()))
    assert done.exit_code == 0, done.output
    for words in (
        "event time",
        "not read: is an identifier",
        "shop: sound",
        "updraft backtest shop",
        "make up",
        "▁▂▃▄▅▆▇█"[-1],
    ):
        assert words in done.stdout


def test_semicolons_decimal_commas_and_windows_letters(drafting):
    rows = orders().rename(columns={"amount": "Betrag [€]", "shop": "Größe", "late": "verspätet"})
    rows["Größe"] = rows["Größe"].map({"north": "groß", "south": "klein", "harbour": "übrig"})
    path = drafting.csv(rows, sep=";", decimal=",", encoding="windows-1252")
    told = drafting.drafted(path, "--label", "verspätet")
    source = drafting.project.spec.data.sources["orders"]
    assert (source.decimal, source.encoding) == (",", "windows-1252")
    assert told["columns"]["Betrag [€]"]["type"] == "number"
    assert {"Betrag [€]", "Größe"} <= set(told["features"])
    assert told["label"]["expr"] == '"verspätet"'


def test_headers_with_spaces_quotes_and_keywords(drafting):
    rows = orders().rename(
        columns={"amount": "order amount", "items": "no. 'of' items", "late": "default", "order_id": "Order ID"}
    )
    told = drafting.drafted(drafting.csv(rows))
    assert told["key"]["columns"] == ["Order ID"]
    assert told["label"]["expr"] == '"default"'
    assert {"order amount", "no. 'of' items"} <= set(told["features"])


def test_ids_with_leading_zeros_stay_texts(drafting):
    rows = orders()
    rows["zip"] = [f"{number % 40:05}" for number in range(len(rows))]
    told = drafting.drafted(drafting.csv(rows))
    assert told["columns"]["order_id"]["type"] == told["columns"]["zip"]["type"] == "text"
    assert "zip" in told["features"]
    contract = yaml.safe_load((drafting.projects / "shop" / "expectations.yaml").read_text())
    assert contract["orders"]["columns"]["zip"] == "text"


@pytest.mark.parametrize(
    ("yes", "no", "expr"),
    [("yes", "no", "late = 'yes'"), ("LATE", "on time", "late = 'LATE'"), ("Ja", "Nein", "late = 'Ja'")],
)
def test_a_label_of_texts_becomes_a_comparison(drafting, yes, no, expr):
    rows = orders()
    rows["late"] = np.where(rows["late"] == 1, yes, no)
    assert drafting.drafted(drafting.csv(rows))["label"]["expr"] == expr


def test_a_label_of_two_words_that_say_neither_yes_nor_no_is_asked(drafting):
    rows = orders()
    rows["late"] = np.where(rows["late"] == 1, "red", "green")
    path = drafting.csv(rows)
    said = drafting.refused(path)
    assert "late = 'red'" in said
    assert "--label" in said
    assert drafting.drafted(path, "--label", "late = 'red'")["label"]["task"] == "binary"


def test_parquet_with_typed_times_and_truth_values(drafting):
    rows = orders()
    rows["placed"], rows["late"] = pd.to_datetime(rows["placed"]), rows["late"] == 1
    rows["gift"] = pd.array([None if number % 9 == 0 else number % 2 == 0 for number in range(len(rows))], "boolean")
    rows.to_parquet(drafting.root / "orders.parquet")
    told = drafting.drafted(drafting.root / "orders.parquet")
    assert told["event_time"] == {
        "column": "placed",
        "format": None,
        "why": "the only column that reads as a time in every row",
    }
    assert "gift" in told["features"]


def test_a_packed_file(drafting):
    told = drafting.drafted(drafting.csv(orders(), "orders.csv.gz"))
    assert (told["rows"], told["label"]["expr"]) == (len(orders()), "late")
    assert drafting.project.spec.data.sources["orders"].url.endswith("/orders.csv.gz")


@pytest.mark.parametrize("pattern", ["", "/*.csv"])
def test_a_folder_of_daily_files_is_read_as_one(drafting, pattern):
    (drafting.root / "days").mkdir()
    for day, rows in orders().groupby(orders()["placed"].str[:10]):
        drafting.csv(rows, f"days/orders-{day}.csv")
    told = drafting.drafted(f"{drafting.root}/days{pattern}")
    assert told["rows"] == len(orders())
    assert drafting.project.spec.data.sources["days"].url == f"file://{drafting.root}/days/*.csv"


@pytest.mark.parametrize(("factor", "written"), [(1, "unix"), (1000, "unix_ms")])
def test_times_as_seconds_of_an_epoch(drafting, factor, written):
    rows = orders()
    rows["placed"] = pd.to_datetime(rows["placed"]).astype("int64") // 10**9 * factor
    told = drafting.drafted(drafting.csv(rows.rename(columns={"placed": "event_ts"})))
    assert told["event_time"]["format"] == written
    assert str(drafting.project.spec.data.start) == "2024-01-01"


def test_days_first_are_told_by_days_after_the_twelfth(drafting):
    rows = orders()
    rows["placed"] = pd.to_datetime(rows["placed"]).dt.strftime("%d/%m/%Y %H:%M")
    assert drafting.drafted(drafting.csv(rows))["event_time"]["format"] == "%d/%m/%Y %H:%M"


def test_day_and_month_are_never_guessed(drafting):
    rows = orders(days=10)
    rows["placed"] = pd.to_datetime(rows["placed"]).dt.strftime("%d/%m/%Y %H:%M")
    path = drafting.csv(rows)
    said = drafting.refused(path, "--yes")
    assert "--time-format" in said
    assert "%d/%m/%Y %H:%M, %m/%d/%Y %H:%M" in said
    drafting.drafted(path, "--time-format", "%d/%m/%Y %H:%M")
    assert str(drafting.project.spec.data.start) == "2024-01-01"


def test_a_few_rows_that_stand_twice_are_told_and_quarantined(drafting):
    rows = orders()
    path = drafting.csv(pd.concat([rows, rows.tail(3)]))
    said = drafting.refused(path)
    assert "3 rows share theirs" in said
    assert "--key" in said
    told = drafting.drafted(path, "--yes")
    assert told["key"] == {"columns": ["order_id"], "why": told["key"]["why"], "shared": 3}


def test_a_history_of_which_half_stands_twice_is_refused(drafting):
    said = drafting.refused(drafting.csv(pd.concat([orders(), orders()])), "--yes")
    assert "stand in the data more than once" in said


def test_rows_that_only_several_columns_tell_apart(drafting):
    rows = orders()
    rows["customer_id"] = [f"C{number % 90}" for number in range(len(rows))]
    told = drafting.drafted(drafting.csv(rows.drop(columns="order_id")))
    assert told["key"]["columns"] == ["customer_id", "placed"]


def test_words_for_missing_values_and_empty_columns(drafting):
    rows = orders().astype({"amount": object, "shop": object})
    rows.loc[rows.index % 5 == 0, "amount"] = "?"
    rows.loc[rows.index % 7 == 0, "shop"] = "NA"
    rows["country"] = ["NA", "DE", "NO", "FR"] * (len(rows) // 4)
    rows["remark"] = ""
    rows["currency"] = "EUR"
    told = drafting.drafted(drafting.csv(rows))
    assert drafting.project.spec.data.sources["orders"].nulls == ("NA", "?")
    assert told["columns"]["amount"]["type"] == "number"
    assert told["unused"]["remark"] == "is empty"
    assert told["unused"]["currency"] == "has one value in every row"


def test_identifiers_and_texts_that_never_come_again_are_no_features(drafting):
    rows = orders()
    rows["token"] = [f"{zlib.crc32(str(number).encode()):08x}" for number in range(len(rows))]
    rows["customer_id"] = np.arange(len(rows)) % 400
    told = drafting.drafted(drafting.csv(rows))
    assert "another text in almost every row" in told["unused"]["token"]
    assert told["unused"]["customer_id"] == "is an identifier"


def test_free_texts_are_read_by_their_words_and_columns_of_many_texts_in_groups(drafting):
    rows = orders()
    late = rows["late"] == 1
    rows["remark"] = [
        f"order {number} came in {'a torn box, ANGRY' if odd else 'good shape, happy'}"
        for number, odd in enumerate(late)
    ]
    rows.loc[rows.index % 50 == 0, "remark"] = ""
    rows["product"] = [f"p{number % 400}" for number in range(len(rows))]
    rows["remark_text_note"] = rows["amount"]  # whose name a feature of the remark could have had
    told = drafting.drafted(drafting.csv(rows))
    assert {"product_group", "remark_text__"} <= set(told["features"])
    project = drafting.project
    code = load_features(project)
    made = compute(
        project,
        code,
        rows.drop(columns="late").assign(
            placed=pd.to_datetime(rows["placed"]), remark=rows["remark"].replace("", None)
        ),
    )
    of_words = [name for name in made if name.startswith("remark_text_") and name != "remark_text_note"]
    assert len(of_words) == WORD_GROUPS + 1
    assert made[of_words].isna().all(axis=1).tolist() == (rows.index % 50 == 0).tolist()
    groups = made.loc[rows.index % 50 != 0, of_words[:-1]]
    angry = f"remark_text___{zlib.crc32(b'angry') % WORD_GROUPS:02}"
    told_apart = groups[angry].groupby(late[groups.index]).min()
    assert told_apart[True] >= 1
    assert made["product_group"].nunique() <= GROUPS
    assert made.groupby(rows["product"])["product_group"].nunique().max() == 1
    source = (drafting.projects / "shop" / "features.py").read_text()
    assert "import zlib" in source
    assert "updraft" not in source  # the file stands alone


def test_a_table_without_such_texts_has_no_helper_in_its_features(drafting):
    drafting.drafted(drafting.csv(orders()))
    source = (drafting.projects / "shop" / "features.py").read_text()
    assert "zlib" not in source
    assert "def hashed" not in source


def test_what_looks_private_becomes_a_pseudonym_and_no_feature(drafting):
    rows = orders()
    rows["contact"] = [f"u{number}@example.org" for number in range(len(rows))]
    rows["customer name"] = [f"Ada {number}" for number in range(len(rows))]
    rows["tel"] = [f"+49 30 {number:07}" for number in range(len(rows))]
    rows["shop_name"] = rows["shop"]
    rows["paid_with"] = ["4111111111111111" if number % 3 else "5500005555555559" for number in range(len(rows))]
    rows["paid_with"] = [_card(number) for number in range(len(rows))]
    told = drafting.drafted(drafting.csv(rows))
    assert sorted(told["private"]) == ["contact", "customer name", "paid_with", "tel"]
    assert not set(told["private"]) & set(told["features"])
    assert set(drafting.project.spec.data.private) == set(told["private"])


def _card(number: int) -> str:
    """A made card number whose checksum is right."""
    body = f"400000{number:09}"
    total = sum(
        digit if place % 2 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(map(int, reversed(body)))
    )
    return f"{body}{-total % 10}"


def test_what_comes_with_the_outcome_is_kept_from_the_features(drafting):
    rows = orders()
    rows["minutes"] = np.where(rows["late"] == 1, 40.0, 5.0) + rows["items"]
    rows["state"] = np.where(rows["late"] == 1, "claim", "done")
    rows["late_reason"] = np.where(rows["items"] > 4, "traffic", "none")
    rows["delivered"] = (pd.to_datetime(rows["placed"]) + pd.Timedelta(hours=30)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows["registered"] = (pd.to_datetime(rows["placed"]) - pd.Timedelta(days=100)).dt.strftime("%Y-%m-%d")
    told = drafting.drafted(drafting.csv(rows), "--time", "placed")
    assert sorted(told["outcomes"]) == ["delivered", "late_reason", "minutes", "state"]
    assert "AUC 1.000" in told["outcomes"]["minutes"]
    assert "days_since_registered" in told["features"]
    assert not set(told["outcomes"]) & set(told["features"])


def test_several_times_are_asked_for(drafting):
    rows = orders().rename(columns={"placed": "ordered_on"})
    rows["paid_on"] = rows["ordered_on"]
    said = drafting.refused(drafting.csv(rows))
    assert "--time" in said
    assert "ordered_on, paid_on" in said


def test_labels_that_come_late_tell_after_how_long_they_are_known(drafting):
    rows = orders().astype({"late": object})
    rows.loc[rows["placed"] >= "2024-01-16", "late"] = ""
    told = drafting.drafted(drafting.csv(rows))
    assert told["label"]["matures_after"] == "5d"
    assert "the newest rows have no label yet" in (drafting.projects / "shop" / "project.yaml").read_text()


@pytest.mark.parametrize(
    ("values", "classes"),
    [(["low", "no", "high"], ("high", "low", "no")), ([10, 9, 2], ("2", "9", "10")), ([0.5, 1, 2.25], ("0.5", "1", "2.25"))],
)  # fmt: skip
def test_one_of_several_classes_where_somebody_says_so(drafting, values, classes):
    rows = orders().drop(columns="late")
    path = drafting.csv(rows.assign(grade=np.asarray(values)[np.minimum(rows["items"] // 3, 2)]))
    if classes[0] != "0.5":  # such numbers are a regression, unless somebody says something else
        assert "--task multiclass" in drafting.refused(path, "--label", "grade")
    assert drafting.drafted(path, "--label", "grade", "--task", "multiclass")["label"]["task"] == "multiclass"
    assert drafting.project.spec.data.label.classes == classes


def test_a_number_is_a_regression_where_it_is_named_as_the_label(drafting):
    rows = orders().rename(columns={"late": "flag_was", "amount": "target"})
    told = drafting.drafted(drafting.csv(rows))
    assert told["label"]["task"] == "regression"
    assert drafting.project.spec.release.metric == "squared_error"


@pytest.mark.parametrize(
    ("days", "a_day", "schedule"),
    [
        (6, 6000, "0 * * * *"),
        (20, 210, "0 0 * * *"),
        (100, 40, "0 0 * * 1"),
        (20, 40, "0 0 * * *"),
        (8, 40, "0 * * * *"),
    ],
)
def test_the_schedule_is_the_finest_with_enough_rows_and_partitions(drafting, days, a_day, schedule):
    said = Said(time="placed", label="late")
    url = place.url_of(str(drafting.csv(orders(days, a_day))))
    volume = draft("shop", url, "orders", "me", said, settle_safely).volume
    assert volume.schedule == schedule
    assert sum(volume.rows) == days * a_day
    assert volume.is_long_enough
