"""What happens next, and why nothing is trained: told at any time, and so it comes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from tests.support import flights, releases
from tests.support.broken_feeds import NULLS, ingest, keep_out, keys_of, trained

from updraft.data.partitions import tick_of
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play
from updraft.loop.outlook import _after, outlook, read_standing
from updraft.monitoring.remedies import next_training
from updraft.spec.model import Project, ProjectSpec, Retrain
from updraft.store.records import EpisodeRow, ReleaseRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

PROJECT = flights.flights()
P = PROJECT.name
KEYS = keys_of(PROJECT.spec, 60)
LATER = datetime(2026, 1, 1, tzinfo=UTC)
"""By the clock; the history of the flights ended in 2014."""


@pytest.fixture
def store(store_url):
    opened = Store.open(store_url)
    yield opened
    opened.close()


def with_policy(retrain: Retrain | None, **data: object) -> Project:
    spec = PROJECT.spec
    remedies = spec.monitoring.remedies.model_copy(update={"retrain": retrain})
    monitoring = spec.monitoring.model_copy(update={"remedies": remedies})
    changed: ProjectSpec = spec.model_copy(update={"monitoring": monitoring, "data": spec.data.model_copy(update=data)})
    return Project(spec=changed, folder=PROJECT.folder)


def told(store: Store, project: Project = PROJECT, now: datetime = LATER) -> list[str]:
    loop = Loop(project, flights.settings(PROJECT.folder), store, KeptModels())
    return outlook(loop.spec, read_standing(loop, now))


def published(store: Store, number: int, *, first: int = 0) -> None:
    for key in KEYS[first:number]:
        ingest(store, P, key)
    store.mark_seen(P, "monitor", KEYS[number - 1])


def serves(store: Store, version: str, key: str, **promotion: str) -> None:
    """A version of a training that an episode asked for, promoted."""
    trained(store, P, key)
    champion = store.serving(P).champion
    row = ReleaseRow(f"{P}-v{version}", P, "refresh", version, champion, "shadow", None, None, key, None)
    open_release(store, row)
    releases.promoted(store, row.id, key=key, **promotion)


def test_of_an_empty_store_the_first_partition_and_the_first_training_are_told(store):
    tick, training = told(store)
    assert tick.startswith(f"partition {KEYS[0]}, when it is loaded by a backfill or a replay")
    assert training == "the first training, when 8 partitions with known labels are there (training.first_after)"


def test_an_open_history_names_its_next_tick_by_the_clock(store):
    project = with_policy(PROJECT.spec.monitoring.remedies.retrain, end=None)
    published(store, 3)
    assert (
        told(store, project, tick_of(KEYS[3]) - timedelta(minutes=30))[0]
        == f"partition {KEYS[3]} is ingested in 31 minutes"
    )
    assert told(store, project, tick_of(KEYS[3]) - timedelta(days=3))[0].endswith("in 3 days")
    assert told(store, project, tick_of(KEYS[3]))[0].startswith(f"partition {KEYS[4]} ")


def test_a_history_that_is_loaded_to_its_end_says_so(store):
    published(store, len(KEYS))
    assert told(store)[0] == f"no partition comes any more: the history ends with {PROJECT.spec.data.end} (data.end)"


def test_before_the_first_model_it_is_told_what_it_needs(store):
    published(store, 5)
    [_, training] = told(store)
    assert training.startswith("the first training after 3 more partitions (")
    assert "it needs 8 partitions with known labels (training.first_after), and 5 are there" in training


def test_what_is_kept_out_is_not_learnt_from_and_is_told(store):
    published(store, 5)
    keep_out(store, P, KEYS[5], [NULLS])
    store.mark_seen(P, "monitor", KEYS[5])
    assert told(store)[1].endswith("and 5 are there; 1 of the newest partitions are kept out of it")


def test_a_training_is_told_by_its_tick_and_the_trigger_that_may_come_before(store):
    published(store, 11)
    serves(store, "1", KEYS[8])
    [_, training] = told(store)
    assert (
        training
        == f"training after 2 more partitions ({KEYS[12]}), or before, when a trigger calls for one (performance)"
    )


def test_the_cooldown_says_until_when_nothing_is_trained_whatever_happens(store):
    published(store, 10)
    serves(store, "1", KEYS[8])
    cooling = "no training, unless the champion is worse than none, within monitoring.remedies.retrain.cooldown"
    [_, training] = told(store, with_policy(Retrain(every=4, cooldown=3)))
    assert training.startswith(
        f"{cooling}: 3, which is over after 2 more partitions ({KEYS[11]}); then training after 3 more partitions ({KEYS[12]})"
    )
    longer = with_policy(Retrain(every=4, cooldown=6))
    assert told(store, longer)[1] == f"{cooling}: 6, which is over after 5 more partitions ({KEYS[14]})"


def test_a_failed_training_is_named_and_the_cooldown_after_it(store):
    published(store, 12)
    serves(store, "1", KEYS[5])
    trained(store, P, KEYS[11], state="failed")
    [_, training] = told(store)
    assert training.startswith("no training, unless the champion is worse than none, within ")
    assert f"the last one, of {KEYS[11]}, failed: see its run {P}-{KEYS[11]}-age of {P}.train" in training


def test_a_spent_budget_names_the_day_from_which_it_allows_the_next_training(store):
    published(store, 30)
    for key in KEYS[8:28:4]:
        trained(store, P, key, state="refused")
    serves(store, "1", KEYS[28])
    project = with_policy(Retrain(every=4, per_year=3))
    free = tick_of(KEYS[20]) + timedelta(days=365)
    assert (
        f"no training before {free:%Y-%m-%d}, unless the champion is worse than none: the budget of 3 a year is spent"
        in told(store, project)[1]
    )
    assert "came to nothing" not in told(store, project)[1]


def test_an_open_episode_is_what_the_next_training_waits_for(store):
    published(store, 13)
    serves(store, "1", KEYS[8])
    store.open_episode(EpisodeRow("e1", P, KEYS[12], "age", "retrain", "due", {"words": "too old"}, None, None))
    assert told(store)[1] == f"training, as soon as {P}.watch starts it, for episode e1: too old"
    store.start_episode(P, "e1")
    assert told(store)[1].startswith(
        "the training of episode e1 ends, or has failed: see its run of flight_delays.train. "
    )


def test_a_policy_that_never_retrains_and_one_of_triggers_alone_say_so(store):
    published(store, 10)
    serves(store, "1", KEYS[8])
    assert told(store, with_policy(None))[1].startswith("no training by itself: the policy never retrains")
    triggers = with_policy(Retrain(every=None, on=("drift", {"auc": "below 0.6"}), cooldown=0))
    assert told(store, triggers)[1] == "training when a trigger calls for one (drift, auc below 0.6)"
    assert "has neither every nor a trigger" in told(store, with_policy(Retrain(every=None, on=(), cooldown=0)))[1]


def test_a_published_partition_that_was_not_monitored_comes_first(store):
    published(store, 3)
    ingest(store, P, KEYS[3])
    assert told(store)[0] == f"{P}.score and {P}.monitor look at partition {KEYS[3]}"


def test_each_open_release_says_when_it_is_decided(store):
    published(store, 9)
    serves(store, "1", KEYS[8])
    serves(store, "2", KEYS[8], to="probation")
    change = ReleaseRow(f"{P}-v3", P, "change", "3", "2", "shadow", None, None, KEYS[8], None)
    open_release(store, change)
    published(store, 10, first=9)
    policy = PROJECT.spec.release
    probation, verdict = told(store)[2:]
    earliest = KEYS[9 + policy.refresh.probation - 1]
    assert probation.startswith(
        f"the probation of version 2 (refresh) ends after {policy.refresh.probation - 1} more partitions ({earliest}) at the earliest and "
    )
    earliest, latest = (KEYS[9 + span - 1] for span in (policy.change.shadow.at_least, policy.change.shadow.at_most))
    assert verdict.startswith("the verdict on version 3 (change) comes after 1 more partition")
    assert f"({earliest}) at the earliest and after " in verdict
    assert f"({latest}) at the latest; so far not decided yet" in verdict
    releases.approval(store, change.id, key=KEYS[9], reason="shown")
    assert (
        told(store)[3]
        == f"a person promotes or rejects version 3 (change) in {P}.release; unanswered for 7 days it is rejected"
    )


def test_a_schedule_that_was_changed_is_no_error(store):
    published(store, 10)
    serves(store, "1", KEYS[8])
    assert len(told(store, with_policy(PROJECT.spec.monitoring.remedies.retrain, schedule="17 3 * * 2"))) >= 2


def test_the_loop_trains_by_count_at_the_tick_that_was_told(lake):
    home, rows = lake
    loop, models = flights.fresh_loop(home)
    called_for = []
    for number, row in enumerate(rows):
        play(loop, models, row)
        episodes = loop.store.episodes(loop.name, opened_at=row.key)
        if any(episode.cause in ("first", "age") for episode in episodes):
            assert called_for[-1] == 1
        past = read_standing(loop, LATER).past
        called_for.append(
            next_training(loop.spec.monitoring.remedies, past, first_after=loop.spec.training.first_after).partitions
        )
        assert all(line for line in outlook(loop.spec, read_standing(loop, LATER))), number
    assert called_for[:8] == [7, 6, 5, 4, 3, 2, 1, 4]


@pytest.mark.parametrize(
    ("schedule", "end", "named"),
    [
        ("0 * * * *", None, "2024-12-30T2300"),
        ("0 0 * * 1-5", None, "about 2057-0"),
        ("0 * * * *", "2024-06-01", "past data.end"),
    ],
)
def test_a_tick_that_is_far_away_is_told_by_the_pace_and_not_counted(schedule, end, named) -> None:
    spec = SimpleNamespace(data=SimpleNamespace(schedule=schedule, end=end and date.fromisoformat(end)))
    assert named in _after(spec, "2023-12-31T2300", 8760)
