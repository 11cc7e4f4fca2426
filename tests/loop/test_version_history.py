"""What is told of a version is what the loop did with it."""

from __future__ import annotations

import pytest
from tests.support import flights

from updraft.errors import InputError
from updraft.loop.release import roll_back_by_hand
from updraft.loop.version_history import version_history


@pytest.fixture(scope="module")
def played(lake):
    home, rows = lake
    loop, _ = flights.played(home, rows)
    return loop, [row.key for row in rows]


def test_the_first_version_learnt_from_the_first_window_and_was_started_by_its_episode(played):
    loop, keys = played
    first = version_history(loop, "1")
    assert first.window == tuple(keys[:8])
    assert first.holdout == tuple(keys[8 - loop.spec.release.refresh.holdout : 8])
    assert (first.key, first.run, first.trainer) == (keys[7], f"flight_delays-{keys[7]}-first", "xgboost")
    assert first.started_by == f"episode {first.run}: 8 partitions are there and no model yet"
    assert first.gates_words.startswith("passed the gates against the base rate: ")
    assert (first.state, first.outcome) == ("closed", "promoted")


def test_what_it_scored_is_counted_by_role_and_its_loss_is_that_of_the_rows_whose_labels_are_known(played):
    loop, keys = played
    [champion, *_] = version_history(loop, "1").scored
    told = [key for key in keys if loop.store.predictions(loop.name, key).get("champion", None) is not None]
    own = [key for key in told if loop.store.predictions(loop.name, key)["champion"].version == "1"]
    assert (champion.role, champion.partitions, champion.first, champion.last) == (
        "champion",
        len(own),
        own[0],
        own[-1],
    )
    measured = [row for row in loop.store.performance(loop.name) if row.version == "1"]
    assert champion.measured == sum(row.rows for row in measured)
    mean = sum(row.rows * row.metrics["log_loss"] for row in measured) / champion.measured
    assert champion.loss == pytest.approx(mean)


def test_it_served_until_the_next_one_was_promoted_and_again_when_that_one_is_taken_back(lake):
    home, rows = lake
    loop, _ = flights.played(home, rows)
    champion, previous = loop.store.serving(loop.name).champion, loop.store.serving(loop.name).previous
    promoted = loop.store.decision(loop.name, "promote", f"flight_delays-v{champion}")
    before = version_history(loop, previous)
    assert before.served[-1].until == promoted.key
    assert version_history(loop, champion).served[-1].until is None
    roll_back_by_hand(loop, serving=champion, to=previous, by="ann", reason="odd")
    assert version_history(loop, champion).served[-1].until == rows[-1].key
    assert len(version_history(loop, previous).served) == len(before.served) + 1
    assert version_history(loop, champion).outcome == "rolled_back"
    assert "odd (by ann)" in version_history(loop, champion).reason
    assert any("rolled back to version" in line for line in version_history(loop, champion).decisions)


def test_a_version_that_is_not_there_is_told_with_those_that_are(played):
    loop, _ = played
    known = loop.store.versions(loop.name)
    with pytest.raises(InputError, match=f"there is no version 'v1'; there are {', '.join(known)}$"):
        version_history(loop, "v1")
    empty, _ = flights.fresh_loop(loop.settings.home)
    with pytest.raises(InputError, match="there are none yet"):
        version_history(empty, "1")
