"""What `make pictures` takes pictures of, and what it says where there is nothing to take one of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.demo_pictures import HIGHEST, PICTURES, main, release_with_most_evidence
from tests.support.pictures import assert_drawn

from updraft.store.records import EvidenceRow, Lane, ReleaseRow
from updraft.store.store import Store
from updraft.store.transitions import open_release


def test_without_a_demo_it_says_so_in_a_line_and_takes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"UPDRAFT_HOME": str(tmp_path)}, tmp_path) == 1
    assert capsys.readouterr().err == "no demo is up: `make demo` starts one, and leaves it running\n"
    assert main({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_AIRFLOW": "http://127.0.0.1:1"}, tmp_path) == 1
    assert list(tmp_path.glob("*.png")) == []


def test_the_release_shown_is_a_change_and_else_the_one_with_most_evidence() -> None:
    store = Store.in_memory()
    assert release_with_most_evidence(store, "calm") is None
    lanes: tuple[tuple[str, Lane, int], ...] = (("1", "refresh", 1), ("2", "refresh", 3), ("3", "change", 2))
    for version, lane, clusters in lanes:
        row = ReleaseRow(f"calm-v{version}", "calm", lane, version, None, "shadow", None, None, f"k{version}", None)
        open_release(store, row)
        store.record_evidence("calm", row.id, [EvidenceRow(f"day {n}", "k4", 10, 0.1, {}) for n in range(clusters)])
        if version == "2":
            assert release_with_most_evidence(store, "calm") == "calm-v2"
    assert release_with_most_evidence(store, "calm") == "calm-v3"
    store.close()


@pytest.mark.parametrize("name", HIGHEST)
def test_the_readme_shows_each_picture_and_it_is_drawn(name: str) -> None:
    path = PICTURES / f"{name}.png"
    assert f"](docs/{name}.png)" in (PICTURES.parent / "README.md").read_text()
    assert_drawn(path.read_bytes())
    assert path.stat().st_size < 200_000
