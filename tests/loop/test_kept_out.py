"""Nothing is learnt from a partition whose feed was found broken, until it is mended or a person says that it is right."""

import dataclasses

import pytest
from tests.support import flights
from tests.support.broken_feeds import with_nulls

from updraft.alerts import outbox
from updraft.errors import StoreError
from updraft.loop import feature_drift
from updraft.loop.in_process import interrupted, play
from updraft.loop.kept_out import readmitted_signs
from updraft.loop.labelled import unseen_by
from updraft.loop.monitor import monitor_partition
from updraft.loop.plan import labelled_partitions, plan_training
from updraft.loop.readmission import readmit, readmit_signs, take_back
from updraft.loop.score import score_partition
from updraft.monitoring.calibration import refit
from updraft.monitoring.faults import FeedFault

BROKEN = 9
"""Number of the partition whose feed breaks: the first one after the champion's first."""


@pytest.fixture
def broken(lake, monkeypatch):
    """A loop at the tick of a partition with a broken feed; the profiles that each later one was held against."""
    home, rows = lake
    loop, models = flights.played(home, rows[:BROKEN])
    held_against = {}
    faulty = {rows[BROKEN].key}

    def faults(profile, reference, previous):
        key = next(row.key for row in loop.store.partitions(loop.name) if loop.profile(row.key) == profile)
        held_against[key] = previous
        fault = FeedFault("nulls", "temp", 0.9, 0.0, "temp is null in 90 % of the rows")
        return (fault,) if key in faulty else ()

    monkeypatch.setattr(feature_drift, "feed_faults", faults)
    play(loop, models, rows[BROKEN])
    return loop, models, rows, held_against, faulty


def test_no_training_and_no_layer_learns_from_it_and_what_follows_is_held_against_what_came_before(broken):
    loop, models, rows, held_against, _ = broken
    bad = rows[BROKEN].key
    [episode] = [row for row in loop.store.episodes(loop.name) if row.cause == "feed"]
    assert (episode.opened_at, episode.remedy, episode.state) == (bad, "quarantine", "closed")
    assert "champion" in loop.store.predictions(loop.name, bad)  # it was scored all the same
    [champion] = {row.version for row in loop.store.predictions(loop.name, bad).values()}
    [layer] = [one for one in loop.store.decisions(loop.name, kinds=("recalibrate",)) if one.key == bad]
    assert layer.body["reason"] == refit(loop.spec.task_type, unseen_by(loop, champion, bad), 2).reason
    assert bad not in [part.key for part in unseen_by(loop, champion, bad)]
    play(loop, models, rows[BROKEN + 1])
    after = rows[BROKEN + 1].key
    assert loop.store.kept_out(loop.name, until=after) == {bad}
    assert bad not in labelled_partitions(loop, after)
    assert bad not in plan_training(loop, after).window
    champion = loop.store.serving(loop.name).champion
    assert bad not in [part.key for part in unseen_by(loop, champion, after)]
    assert after in [part.key for part in unseen_by(loop, champion, after)]
    assert held_against[after] == loop.profile(rows[BROKEN - 1].key)
    assert loop.store.kept_out(loop.name, until=rows[BROKEN - 1].key) == frozenset()  # not known then


def test_ingested_anew_with_another_content_it_is_back_but_not_what_it_was_scored_as(broken):
    loop, _, rows, _, faulty = broken
    bad = rows[BROKEN].key
    loop.store.record_partition(loop.name, rows[BROKEN])
    assert loop.store.kept_out(loop.name, until=bad) == {bad}  # the same content again
    loop.store.record_partition(loop.name, dataclasses.replace(rows[BROKEN], sha256="1" * 64))
    for _ in range(2):
        monitor_partition(loop, bad, interrupted)
    assert loop.store.kept_out(loop.name, until=bad) == {bad}  # another content, and no better
    assert len([row for row in loop.store.episodes(loop.name) if row.cause == "feed"]) == 2
    faulty.clear()
    loop.store.record_partition(loop.name, dataclasses.replace(rows[BROKEN], sha256="0" * 64))
    monitor_partition(loop, bad, interrupted)
    assert loop.store.kept_out(loop.name, until=bad) == frozenset()
    assert bad in labelled_partitions(loop, bad)
    champion = loop.store.serving(loop.name).champion
    assert bad not in [part.key for part in unseen_by(loop, champion, bad)]


def test_readmitted_by_a_person_it_is_back_once_and_in_the_chain(broken):
    loop, models, rows, _, faulty = broken
    bad = rows[BROKEN].key
    with pytest.raises(StoreError, match=f"{rows[0].key} is not kept out; kept out are {bad}"):
        readmit(loop.store, loop.name, rows[0].key, by="ann", reason="no")
    for _ in range(2):
        readmit(loop.store, loop.name, bad, by="ann", reason="kilometres from now on")
    assert loop.store.kept_out(loop.name, until=bad) == frozenset()
    assert bad in labelled_partitions(loop, bad)
    [decision] = loop.store.decisions(loop.name, kinds=("readmit",))
    signs = [["nulls", "temp"]]
    assert decision.body == {"partition": bad, "reason": "kilometres from now on", "by": "ann", "signs": signs}
    loop.store.verify_chain(loop.name)
    faulty.add(rows[BROKEN + 1].key)  # the same sign in what follows is no fault either
    play(loop, models, rows[BROKEN + 1])
    assert loop.store.kept_out(loop.name, until=rows[BROKEN + 1].key) == frozenset()
    assert bad in plan_training(loop, rows[BROKEN + 1].key).window


def test_a_readmitted_sign_is_news_again_when_the_champion_has_learnt_of_it_or_its_window_has_moved_on(broken):
    loop, _, rows, _, _ = broken
    bad = rows[BROKEN].key
    readmit(loop.store, loop.name, bad, by="ann", reason="right")
    keys = [row.key for row in rows]
    windows = {
        "before": keys[:BROKEN],
        "around": [*keys[:BROKEN], keys[BROKEN + 1]],
        "learnt": keys,
        "past": keys[BROKEN + 1 :],
    }
    known = {name: bool(readmitted_signs(loop.store, loop.name, window)) for name, window in windows.items()}
    assert known == {"before": True, "around": True, "learnt": False, "past": False}


@pytest.fixture
def jumped(lake):
    """A loop with a champion, and partitions that come without temperatures from then on."""
    home, rows = lake
    loop, models = flights.played(home, rows[:BROKEN])
    return loop, lambda row: play(loop, models, with_nulls(loop, row)), rows


def test_a_jump_that_stays_is_found_at_every_tick_and_never_learnt(jumped):
    """A training is due by age on the way; it waits until somebody has looked at the feed."""
    loop, play_broken, rows = jumped
    for row in rows[BROKEN:]:
        play_broken(row)
    assert loop.store.kept_out(loop.name, until=rows[-1].key) == {row.key for row in rows[BROKEN:]}
    trained = [row.key for row in loop.store.trainings(loop.name)]
    assert trained == [rows[7].key]
    newest = loop.store.episodes(loop.name, newest=1)[0]
    [run] = newest.diagnosis["lasting"]
    assert run == {"kind": "nulls", "column": "temp", "since": rows[BROKEN].key, "partitions": len(rows) - BROKEN}


def test_a_sign_that_is_accepted_for_good_keeps_nothing_out_any_more_and_learning_goes_on(jumped):
    loop, play_broken, rows = jumped
    for row in rows[BROKEN:-1]:
        play_broken(row)
    done = readmit_signs(loop.store, loop.name, columns=["temp"], always=True, by="ann", reason="the sensors are gone")
    assert done.partitions == tuple(row.key for row in rows[BROKEN:-1])
    play_broken(rows[-1])
    assert loop.store.kept_out(loop.name, until=rows[-1].key) == frozenset()
    assert [row.key for row in loop.store.trainings(loop.name)] == [rows[7].key, rows[-1].key]
    assert rows[BROKEN].key in plan_training(loop, rows[-1].key).window


def test_a_sign_is_a_fault_again_once_its_acceptance_is_taken_back(jumped):
    loop, play_broken, rows = jumped
    play_broken(rows[BROKEN])
    readmit_signs(loop.store, loop.name, columns=["temp"], always=True, by="ann", reason="right")
    take_back(loop.store, loop.name, columns=["temp"], by="bob", reason="it was a fault")
    play_broken(rows[BROKEN + 1])  # though the partition before it stays readmitted
    assert loop.store.kept_out(loop.name, until=rows[-1].key) == {rows[BROKEN + 1].key}
    readmit_signs(loop.store, loop.name, columns=["temp"], by="ann", reason="it was right")
    play_broken(rows[BROKEN + 2])
    assert loop.store.kept_out(loop.name, until=rows[-1].key) == frozenset()


def test_the_task_of_monitor_asks_a_person_about_a_sign_that_lasts_once_however_often_it_runs(jumped):
    from updraft_airflow.operators.loop import DecideRemedies

    loop, play_broken, rows = jumped
    for row in rows[BROKEN : BROKEN + 2]:
        play_broken(row)
    row = with_nulls(loop, rows[BROKEN + 2])
    loop.store.record_partition(loop.name, row)
    score_partition(loop, row.key)
    for _ in range(2):
        DecideRemedies(task_id="decide_remedies", project=loop.name).step(loop, {"partition_key": row.key})
    titles = [told.alert.title for told in outbox.recent(loop.store.engine, loop.name)]
    assert titles.count("Fault or the new normal: nulls of temp?") == 1
    assert "No training for too long" not in titles
    loop.store.record_partition(loop.name, rows[BROKEN + 3])
    score_partition(loop, rows[BROKEN + 3].key)
    for _ in range(2):
        DecideRemedies(task_id="decide_remedies", project=loop.name).step(loop, {"partition_key": rows[BROKEN + 3].key})
    titles = [told.alert.title for told in outbox.recent(loop.store.engine, loop.name)]
    assert titles.count("Resolved: Fault or the new normal: nulls of temp?") == 1, "the feed is sound again"
    assert titles.count("Resolved: Episode: the feed is broken") == 1
