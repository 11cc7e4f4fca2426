"""The Evidently report: what it shows, what it leaves out, and that it is one small file."""

import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest

from updraft import files
from updraft.errors import DataError
from updraft.monitoring.report import write_report


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
    summary = write_report(rows(), rows(seed=1, shift=0.5), url, "flights <2013>", rows=2000, private=["tailnum"])
    return summary, url


def test_the_summary_names_what_drifted_and_what_was_left_out(written):
    summary, _ = written
    assert (summary["rows"], summary["reference_rows"]) == (2000, 2000)
    assert summary["drifted"] == sorted(f"x{one}" for one in range(12))
    assert summary["distances"]["x0"] == pytest.approx(0.5, abs=0.1)
    assert summary["distances"]["origin"] < 0.1
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
    assert '"Drifted Columns"' in page
    assert "Index binned" not in page


def test_equal_rows_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_report(rows(500), rows(500, seed=1), f"{tmp_path}/{name}.html", "t", columns=["x0", "origin"])
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_only_the_columns_asked_for_are_reported(tmp_path):
    summary = write_report(rows(500), rows(500), f"{tmp_path}/r.html", "t", columns=["x3", "origin", "gone"])
    assert sorted(summary["distances"]) == ["origin", "x3"]
    assert summary["left_out"] == {"gone": "not on both sides"}


def test_no_rows_or_no_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match="rows on both sides; there are 0 and 3000"):
        write_report(rows(0), rows(), f"{tmp_path}/r.html", "t")
    with pytest.raises(DataError, match="no column is left"):
        write_report(rows(9), rows(9), f"{tmp_path}/r.html", "t", columns=["nothing"])
