"""The Evidently report: what it says, what it shows, what it leaves out, and that it is one small file."""

import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from updraft import files
from updraft.errors import DataError
from updraft.monitoring.report import Verdict, write_report

SCORES = {"x3": 4.125, "origin": -0.5, "tailnum": 2.0, "gone": 5.0, **{f"x{column}": 1.0 for column in range(3)}}
JUDGED = Verdict("Drift alarm.", ["x3 is <b>furthest</b>.", "Decided: a training."], 3.5, SCORES)
UNJUDGED = Verdict("Drift is not measured here.", ["too short a history."])


def dashboard(url):
    """What Evidently's script draws of the page: the counts above the table, the headings of its columns, and its rows by the column's name."""
    page = files.read_bytes(url).decode()
    [widget] = json.loads(re.search(r"^const dashboard = (.*);$", page, re.MULTILINE)[1])["widgets"]
    counts, table = widget["widgets"]
    counters = {counter["label"]: counter["value"] for counter in counts["params"]["counters"]}
    headings = [column["title"] for column in table["params"]["columns"]]
    return counters, headings, {row["column_name"]: row for row in table["params"]["data"]}


def rows(number=3000, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{one}": rng.normal(shift, 1, number) for one in range(12)})
    return frame.assign(
        origin=rng.choice(["EWR", "JFK", "LGA"], number),
        late=rng.random(number) < 0.2,
        seats=pd.array(np.where(rng.random(number) < 0.2, None, rng.integers(10, 300, number)), dtype="Int64"),
        tailnum=rng.choice(["aaaa1111", "bbbb2222"], number),
        token=[f"name {one}" for one in range(number)],
        nothing=np.nan,
        constant=1.0,
        _row=np.arange(number),
        when=pd.Timestamp("2013-01-01", tz="UTC"),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    url = f"file://{tmp_path_factory.mktemp('lake')}/reports/2013-05-06T0500.html"
    summary = write_report(
        rows(), rows(seed=1, shift=0.5), url, "flights <2013>", UNJUDGED, rows=2000, private=["tailnum"]
    )
    return summary, url


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    url = f"file://{tmp_path_factory.mktemp('lake')}/judged.html"
    return write_report(rows(500), rows(500, seed=1), url, "t", JUDGED, private=["tailnum"]), url


def test_the_table_has_the_distances_and_the_threshold_that_were_decided_by(judged):
    summary, url = judged
    counts, headings, table = dashboard(url)
    assert counts == {"Columns measured": "7", "Above the threshold here": "2", "Columns drawn": "5"}
    assert headings[-3:] == ["Above it?", "Threshold", "Distance"]
    assert next(iter(table)) == "x3"
    assert {name: row["drift_score"] for name, row in table.items()} == {
        name: score for name, score in SCORES.items() if name in summary["drawn"]
    }
    assert {name for name, row in table.items() if row["data_drift"] == "above"} == {"x3"}
    assert {row["stattest_name"] for row in table.values()} == {"3.500"}
    assert summary["above"] == ["gone", "x3"]


def test_the_page_says_first_what_was_decided_and_what_it_is_for(judged):
    page = files.read_bytes(judged[1]).decode()
    head = page[page.index("<header>") : page.index("</header>")]
    assert (
        head.index("Drift alarm.")
        < head.index("x3 is &lt;b&gt;furthest&lt;/b&gt;.")
        < head.index("Nothing is decided from it")
    )
    assert "Measured and not drawn: tailnum (private): 2.000, gone (not on both sides): 5.000." in head
    assert "drift is detected" not in page[: page.index('id="library"')].lower()
    assert "Drift is detected for" not in page[page.index("const dashboard") :]


def test_where_drift_is_not_measured_all_columns_are_drawn_and_none_is_called_drifted(written):
    summary, url = written
    counts, headings, table = dashboard(url)
    assert counts == {"Columns drawn": str(len(table))}
    assert headings == ["Column", "Type", "Reference Distribution", "Current Distribution"]
    assert summary["above"] == []


def test_the_summary_names_what_was_left_out(written):
    summary, _ = written
    assert (summary["rows"], summary["reference_rows"]) == (2000, 2000)
    assert summary["left_out"] == {
        "tailnum": "private",
        "token": "more than 60 texts",
        "nothing": "null throughout",
        "when": "a time",
    }
    json.dumps(summary)


def test_private_columns_are_not_in_the_page_whose_data_stand_in_clear(written):
    page = files.read_bytes(written[1]).decode()
    assert "aaaa1111" not in page
    assert "tailnum" not in page
    assert '"EWR"' in page
    assert "<title>flights &lt;2013&gt;</title>" in page


def test_the_page_needs_nothing_else_and_its_library_unpacks(written):
    page = files.read_bytes(written[1]).decode()
    assert len(page) < 3_000_000
    assert not re.search(r'<(script|link)[^>]+(src|href)="http', page)
    packed = re.search(r'<script type="application/gzip" id="library">(.*?)</script>', page)[1]
    assert "window.drawDashboard=" in gzip.decompress(base64.b64decode(packed)).decode()


def test_the_page_shows_distributions_and_no_line_over_rows_that_have_no_order(written):
    page = files.read_bytes(written[1]).decode()
    assert "DATA DISTRIBUTION" in page
    assert "Index binned" not in page


def test_equal_rows_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_report(rows(500), rows(500, seed=1), f"{tmp_path}/{name}.html", "t", JUDGED)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_no_rows_or_no_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match="rows on both sides; there are 0 and 3000"):
        write_report(rows(0), rows(), f"{tmp_path}/r.html", "t", UNJUDGED)
    with pytest.raises(DataError, match="no column is left"):
        write_report(rows(9), rows(9), f"{tmp_path}/r.html", "t", Verdict("", (), 1.0, {"nothing": 0.0}))
