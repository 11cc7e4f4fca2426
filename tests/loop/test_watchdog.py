"""A training that is overdue is told, with everything that the store shows to hold it back."""

from __future__ import annotations

import re

import pytest
from tests.support import flights
from tests.support.broken_feeds import NULLS, UNIT, ingest, keep_out, keys_of, trained

from updraft.alerts import outbox
from updraft.loop.alerting import training_alerts
from updraft.loop.alerting.learning_alerts import lasting_signs_asked, training_overdue
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.loop.watchdog import overdue_training
from updraft.spec.model import Alerts, ProjectSpec, Retrain
from updraft.store.records import EpisodeRow, ReleaseRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

PROJECT = flights.flights()
SPEC = PROJECT.spec
P = SPEC.name
KEYS = keys_of(SPEC, 52)
LIMIT = 12
"""Three times the four partitions after which the reference project trains."""


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()


def with_policy(spec: ProjectSpec, retrain: Retrain | None, **alerts: object) -> ProjectSpec:
    remedies = spec.monitoring.remedies.model_copy(update={"retrain": retrain})
    monitoring = spec.monitoring.model_copy(update={"remedies": remedies})
    return spec.model_copy(update={"monitoring": monitoring, "alerts": Alerts(**alerts)})


def quiet(store: Store, number: int = LIMIT, *, first: int = 8) -> str:
    """A training, and so many sound partitions after it that were monitored; the newest key."""
    for key in KEYS[: first + 1]:
        ingest(store, P, key)
    trained(store, P, KEYS[first])
    for key in KEYS[first + 1 : first + 1 + number]:
        ingest(store, P, key)
    store.mark_seen(P, "monitor", KEYS[first + number])
    return KEYS[first + number]


def reasons(store: Store, spec: ProjectSpec = SPEC) -> str:
    overdue = overdue_training(store, spec)
    assert overdue is not None
    return "; ".join(overdue.holding_back)


def test_a_training_that_is_young_enough_is_not_told(store):
    assert overdue_training(store, SPEC) is None
    quiet(store, LIMIT - 1)
    assert overdue_training(store, SPEC) is None


def test_the_limit_follows_from_the_policy_or_is_stated_and_without_a_schedule_there_is_none():
    assert SPEC.training_due_within == LIMIT
    assert with_policy(SPEC, Retrain(every=1, cooldown=2)).training_due_within == 6
    assert with_policy(SPEC, Retrain(every=None)).training_due_within is None
    assert with_policy(SPEC, None).training_due_within is None
    assert with_policy(SPEC, None, training_older_than=5).training_due_within == 5
    assert with_policy(SPEC, Retrain(every=4), training_older_than=30).training_due_within == 30


def test_kept_out_partitions_are_named_by_sign_and_those_from_before_the_training_are_not(store):
    quiet(store, 4)
    keep_out(store, P, KEYS[7], [UNIT])
    for key in KEYS[13:21]:
        keep_out(store, P, key, [NULLS])
    store.mark_seen(P, "monitor", KEYS[20])
    assert reasons(store) == "8 of the newest 12 partitions are kept out, their feed looked broken: nulls of temp (8)"


def test_refused_partitions_count_as_time_that_passes_and_are_named(store):
    """No published partition comes, so `monitor` never runs: the daily upkeep looks all the same."""
    for key in KEYS[:9]:
        ingest(store, P, key)
    trained(store, P, KEYS[8])
    store.mark_seen(P, "monitor", KEYS[8])
    for key in KEYS[9:21]:
        ingest(store, P, key, state="refused", labels=None)
    told = reasons(store)
    assert "12 partitions were refused since" in told
    assert "no labels of partitions that may be learnt from have matured since" in told


def test_a_spent_budget_failed_and_fruitless_trainings_and_an_open_release_are_named(store):
    quiet(store)
    for key in KEYS[10:13]:
        trained(store, P, key, state="failed")
    open_release(store, ReleaseRow(f"{P}-v9", P, "change", "9", "1", "shadow", None, None, KEYS[10], None))
    for key in KEYS[:8]:
        trained(store, P, key, state="refused")
    poor = with_policy(SPEC, Retrain(every=4, per_year=9))
    told = reasons(store, poor)
    assert "the budget of 9 trainings a year is spent" in told
    rated = reasons(store, with_policy(SPEC, Retrain(every=4, per_year=90, at_most="9 of 28")))
    assert "9 of 28 partitions have brought a training, as many as may (monitoring.remedies.retrain.at_most)" in rated
    assert "at_most" not in reasons(store, with_policy(SPEC, Retrain(every=4, per_year=90, at_most="10 of 28")))
    assert "3 trainings failed since" in told
    assert f"release {P}-v9 is open, in shadow since {KEYS[10]}" in told
    assert "came to nothing" not in told
    assert "budget" not in reasons(store)


def test_an_episode_that_nobody_starts_and_a_training_that_does_not_end_are_named(store):
    quiet(store)
    episode = EpisodeRow("e1", P, KEYS[12], "age", "retrain", "due", {"words": "old"}, None, None)
    store.open_episode(episode)
    assert reasons(store) == "episode e1 calls for a training that flight_delays.watch has not started"
    store.start_episode(P, "e1")
    assert reasons(store) == "the training of episode e1 was started and has not ended"


def test_a_training_that_is_called_for_at_this_very_tick_is_not_overdue(store):
    newest = quiet(store)
    store.open_episode(EpisodeRow("e1", P, newest, "age", "retrain", "due", {"words": "old"}, None, None))
    assert overdue_training(store, SPEC) is None


def test_without_labels_and_without_monitoring_that_is_what_is_told(store):
    for key in KEYS[:9]:
        ingest(store, P, key)
    trained(store, P, KEYS[8])
    for key in KEYS[9:21]:
        ingest(store, P, key, labels=None)
    told = reasons(store)
    assert "no labels came with any partition since" in told
    assert f"flight_delays.monitor has looked at no partition yet, and the newest is {KEYS[20]}" in told


def test_a_first_model_that_does_not_come_is_overdue_too(store):
    for key in KEYS[: LIMIT + 7]:
        ingest(store, P, key)
    store.mark_seen(P, "monitor", KEYS[LIMIT + 6])
    assert overdue_training(store, SPEC) is None
    ingest(store, P, KEYS[LIMIT + 7])
    store.mark_seen(P, "monitor", KEYS[LIMIT + 7])
    assert reasons(store).startswith("nothing that the store shows; see the runs of flight_delays.watch")
    words = overdue_training(store, SPEC).words
    assert words.startswith("no training yet, 20 partitions; the policy lets 20 pass. What holds it back: nothing")


def test_a_policy_that_never_retrains_is_told_only_where_that_is_asked_for(store):
    quiet(store)
    assert overdue_training(store, with_policy(SPEC, None)) is None
    told = reasons(store, with_policy(SPEC, None, training_older_than=6))
    assert "the policy never retrains" in told
    triggers = with_policy(SPEC, Retrain(every=None, on=("performance",)), training_older_than=6)
    assert "the policy trains on triggers alone, and none has called for one since (on: performance)" in reasons(
        store, triggers
    )


def loop_on(store: Store, home) -> Loop:
    return Loop(PROJECT, flights.settings(home), store, KeptModels())


def test_it_is_told_once_an_episode_and_again_when_twice_as_many_partitions_have_passed(store, tmp_path):
    quiet(store)
    loop = loop_on(store, tmp_path)
    for _ in range(2):
        training_overdue(loop)
    [alert] = [row.alert for row in outbox.recent(store.engine, P)]
    assert (alert.kind, alert.title) == ("failure", "No training for too long")
    assert alert.text.startswith(f"The last training was at {KEYS[8]}, 12 partitions ago; the policy lets 12 pass.")
    assert "told again when 24 have passed" in alert.does
    for key in KEYS[21:32]:
        ingest(store, P, key)
        training_overdue(loop)
    assert len(outbox.recent(store.engine, P)) == 1
    ingest(store, P, KEYS[32])
    training_overdue(loop)
    assert len(outbox.recent(store.engine, P)) == 2
    trained(store, P, KEYS[32])
    training_alerts.trained(loop, "manual", "9", {"passed": True, "against": None, "metric": "log_loss"})
    assert all(row.resolved_at for row in outbox.recent(store.engine, P) if row.alert.entry == "training_overdue")
    training_overdue(loop)
    for key in KEYS[33:45]:
        ingest(store, P, key)
    training_overdue(loop)  # another episode of silence
    told = {row.alert.dedup for row in outbox.recent(store.engine, P) if row.alert.entry == "training_overdue"}
    assert len(told) == 3


def test_a_sign_that_lasts_becomes_one_question_with_both_answers_at_hand(store, tmp_path):
    loop = loop_on(store, tmp_path)
    counts = []
    for key in KEYS[:7]:
        signs = [NULLS, UNIT] if key == KEYS[1] else [NULLS]
        for _ in range(2):
            lasting_signs_asked(loop, keep_out(store, P, key, signs))
        counts.append(len(outbox.recent(store.engine, P)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
    first = outbox.recent(store.engine, P)[-1].alert
    assert (first.kind, first.key, first.title) == ("approval", KEYS[2], "Fault or the new normal: nulls of temp?")
    assert f"since {KEYS[0]}: 3 partitions in a row are kept out of every training" in first.text
    assert "nulls of temp are far off" in first.text
    assert "updraft readmit flight_delays --column temp --sign nulls --always --reason WHY" in first.needs
    assert re.search(rf"mend the source, then clear the runs of flight_delays.ingest from {KEYS[0]} on", first.needs)


def test_a_schedule_that_changed_since_the_newest_partition_is_told_and_no_error(store):
    moved = SPEC.model_copy(update={"data": SPEC.data.model_copy(update={"schedule": "17 3 * * 2"})})
    quiet(store)
    assert "data.schedule does not tick at the newest partition" in reasons(store, moved)
