"""A backtest tells how many partitions nothing was learnt from, and warns where they are many."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from updraft.backtest.run import Played
from updraft.cli.backtest import of_policies, table
from updraft.loop.kept_out import SignCount

KEYS = tuple(f"2013-03-{day:02}T0500" for day in range(1, 21))
PLAYED = Played("every partition", KEYS, (0.5,) * 20, KEYS[:2], (), 20, 2, (SignCount("nulls", "temp", 2, KEYS[3]),))


@pytest.mark.parametrize(
    ("kept_out", "published", "warns"), [(0, 0, False), (2, 20, False), (3, 20, True), (1, 9, True)]
)
def test_more_than_a_tenth_kept_out_is_a_warning_with_the_signs(kept_out, published, warns):
    played = replace(PLAYED, kept_out=kept_out, published=published)
    [line] = of_policies([played])
    assert line.startswith("warning: ") is warns
    assert "nulls of temp (2)" in line
    assert (f"{kept_out} of {published} partitions were kept out" in line) is warns
    assert played.as_dict()["kept_out"]["partitions"] == kept_out


def test_the_table_counts_and_a_year_without_signs_says_nothing_more():
    whole = replace(PLAYED, policy="never retrained", kept_out=0, signs=())
    assert of_policies([whole]) == []
    shown = Console(width=200)
    with shown.capture() as captured:
        shown.print(table([PLAYED, whole], "log_loss"))
    rows = {line.split("│")[1].strip(): line for line in captured.get().splitlines() if "│" in line}
    assert rows["every partition"].split("│")[-2].strip() == "2 of 20"
    assert rows["never retrained"].split("│")[-2].strip() == "0 of 20"


def test_what_rested_on_too_few_clusters_is_told_below_the_table_and_in_json():
    played = replace(PLAYED, signs=(), kept_out=0, undecided=("2 of 3 refit trials",))
    assert of_policies([played]) == [
        "decided nothing, every partition: 2 of 3 refit trials rested on fewer than 5 clusters; `updraft validate` says which "
        "windows hold too few"
    ]
    assert played.as_dict()["undecided"] == ["2 of 3 refit trials"]
