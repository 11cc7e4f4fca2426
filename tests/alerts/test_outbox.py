"""The outbox: each event once, duplicates folded; on PostgreSQL and on SQLite alike."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from updraft.alerts import messages, outbox
from updraft.store import tables

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(params=["postgresql", "sqlite"])
def engine(request):
    if request.param == "postgresql":
        engine = sa.create_engine(request.getfixturevalue("postgres_url"))
    else:
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    tables.metadata.create_all(engine)
    yield engine
    engine.dispose()


def failed(run="r1", *, task="train_model", attempt=1, project="flights", error="boom"):
    log = f"http://x/{run}/{attempt}"
    return messages.failure(project, dag="flights.train", task=task, run=run, error=error, attempt=attempt, log=log)


def routine(number=1):
    return messages.trained("flights", run=f"t{number}", key="2013-05-06", version=str(number), summary="all gates")


def rows(engine):
    with engine.connect() as connection:
        return [
            dict(row) for row in connection.execute(sa.select(tables.alerts).order_by(tables.alerts.c.id)).mappings()
        ]


def test_the_same_event_recorded_again_changes_nothing(engine):
    first = outbox.record(engine, failed(), now=NOON)
    again = outbox.record(engine, failed(), now=NOON + timedelta(hours=1))

    assert again == first
    assert len(rows(engine)) == 1
    assert rows(engine)[0]["count"] == 1


def test_the_same_cause_of_the_same_run_again_counts_in_the_first_message(engine):
    head = outbox.record(engine, failed(attempt=1), now=NOON)

    assert outbox.record(engine, failed(attempt=2), now=NOON) == head
    assert outbox.record(engine, failed(attempt=3), now=NOON) == head
    assert outbox.record(engine, failed(attempt=3), now=NOON) == head, "a folded event is recorded once, too"

    [row] = outbox.pending(engine, "flights")
    assert row.count == 3
    assert row.alert.links == {"Log": "http://x/r1/3"}, "the message shows the latest event"
    assert row.alert.dedup == failed(attempt=1).dedup


def test_an_event_folds_only_into_a_message_of_the_last_day(engine):
    first = outbox.record(engine, failed(), now=NOON)

    assert outbox.record(engine, failed(attempt=2), now=NOON + timedelta(hours=25)) != first


@pytest.mark.parametrize("other", [{"run": "r2"}, {"attempt": 2, "error": "another"}])
def test_another_run_or_another_cause_is_another_message_in_the_thread_of_the_incident(engine, other):
    first = outbox.record(engine, failed(), now=NOON)
    second = outbox.record(engine, failed(**other), now=NOON)

    assert second != first
    before, after = outbox.pending(engine, "flights")
    assert before.alert.thread == after.alert.thread == f"incident:{first}"
    assert (before.count, before.alert.detail) == (1, "boom"), "the first keeps its cause"


def test_what_is_mended_is_resolved_with_a_reply_and_later_failures_are_another_incident(engine):
    for alert in (failed("r1"), failed("r2"), failed("r1", attempt=2)):
        outbox.record(engine, alert, now=NOON)
    incident = failed().incident
    assert outbox.resolve(engine, "flights", incident, "r1", words="It ended well.", now=NOON)
    assert not outbox.resolve(engine, "flights", incident, "r1", words="It ended well.", now=NOON), "once"
    assert not outbox.resolve(engine, "trains", incident, "r2", words="x", now=NOON), "another project's"

    first, second, reply = outbox.pending(engine, "flights")
    assert (first.resolved_at, second.resolved_at) == (NOON, None)
    assert (reply.alert.entry, reply.alert.text) == ("resolved", "It ended well.")
    assert reply.alert.thread == first.alert.thread
    assert outbox.record(engine, failed("r1", attempt=3), now=NOON) not in (first.id, second.id), "it does not fold"
    assert outbox.resolve(engine, "flights", incident, "r2", words="x", now=NOON)
    assert outbox.resolve(engine, "flights", incident, "r1", words="x", now=NOON)
    anew = outbox.record(engine, failed("r9"), now=NOON)
    assert outbox.pending(engine, "flights")[-1].alert.thread == f"incident:{anew}"


def test_the_same_thing_again_after_it_was_mended_is_told_again_and_a_late_word_of_before_is_not(engine):
    first = outbox.record(engine, failed(), now=NOON)
    for hours in (1, 3):
        assert outbox.record(engine, failed(), now=NOON + timedelta(hours=hours - 1)) != first or hours == 1
        mended = NOON + timedelta(hours=hours)
        assert outbox.resolve(engine, "flights", failed().incident, "r1", words="x", now=mended)
    before = len(rows(engine))
    outbox.record(engine, failed(), now=NOON + timedelta(hours=2, minutes=59))
    assert len(rows(engine)) == before, "it was kept in a file, and is older than its end"
    again = outbox.record(engine, failed(), now=NOON + timedelta(hours=4))
    assert outbox.record(engine, failed(), now=NOON + timedelta(hours=4)) == again
    assert [row["resolved_at"] is None for row in rows(engine) if row["incident"]] == [False, False, True]


def test_a_week_is_summed_up_once_and_late_comers_wait_for_the_next(engine):
    monday = datetime(2026, 3, 9, tzinfo=UTC)
    for number in (1, 2):
        outbox.record(engine, routine(number), now=NOON)
    outbox.record(engine, routine(3), now=monday + timedelta(hours=1))
    outbox.mark_digest(engine, outbox.pending(engine, "flights"))

    digest = outbox.sum_up_week(engine, "flights", until=monday)
    assert digest is not None
    assert outbox.sum_up_week(engine, "flights", until=monday) is None
    [row] = outbox.pending(engine, "flights")
    assert row.alert.title.endswith("2 alerts, nothing to do")
    outbox.record(engine, routine(4), now=NOON)  # kept in a file while the store was away
    outbox.mark_digest(engine, [row for row in outbox.pending(engine) if row.alert.entry == "trained"])
    assert outbox.sum_up_week(engine, "flights", until=monday) is None
    assert outbox.sum_up_week(engine, "flights", until=monday + timedelta(days=7)) is not None
    assert "2 alerts" in outbox.pending(engine, "flights")[-1].alert.title
    assert outbox.sum_up_week(engine, "trains", until=monday) is None, "nothing is no digest"
    titles = [told.alert.title for told in outbox.recent(engine, "flights")]
    assert "Version 1 was trained" in titles, "status still shows what a digest sums up"


def test_a_digest_that_could_not_be_written_has_taken_nothing(engine, monkeypatch):
    outbox.record(engine, routine(), now=NOON)
    outbox.mark_digest(engine, outbox.pending(engine))
    monkeypatch.setattr(messages, "digest", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        outbox.sum_up_week(engine, "flights", until=NOON + timedelta(days=7))
    monkeypatch.undo()
    assert outbox.sum_up_week(engine, "flights", until=NOON + timedelta(days=7)) is not None


def test_other_tasks_and_other_projects_do_not_fold(engine):
    ids = {
        outbox.record(engine, failed("r1"), now=NOON),
        outbox.record(engine, failed("r2", task="evaluate_model"), now=NOON),
        outbox.record(engine, failed("r1", project="trains"), now=NOON),
    }

    assert len(ids) == 3


def test_events_without_a_fold_stand_alone(engine):
    for release in ("refresh-1", "refresh-2"):
        alert = messages.rollback("flights", release=release, version="2", to="1", key="2013-05-06", reason="worse")
        outbox.record(engine, alert, now=NOON)

    assert [row.count for row in outbox.pending(engine, "flights")] == [1, 1]


def test_pending_keeps_the_order_of_events_and_leaves_out_what_is_sent(engine):
    for task in ("a", "b", "c"):
        outbox.record(engine, failed(task=task), now=NOON)
    first, second, _ = outbox.pending(engine, "flights")
    outbox.mark_sent(engine, first, ts="1.1", channel="#c", channel_id="C1", shown=1)
    outbox.mark_failed(engine, second, error="msg_too_long")

    assert [row.alert.title for row in outbox.pending(engine, "flights")] == ["flights.train.c failed"]
    assert outbox.pending(engine, "trains") == []


def test_a_sent_message_is_pending_again_when_its_fold_grows(engine):
    outbox.record(engine, failed(), now=NOON)
    [row] = outbox.pending(engine, "flights")
    outbox.mark_sent(engine, row, ts="1.1", channel="#c", channel_id="C1", shown=1)
    outbox.record(engine, failed(attempt=2), now=NOON)

    [row] = outbox.pending(engine, "flights")
    assert (row.state, row.ts, row.count, row.shown) == ("sent", "1.1", 2, 1)


def test_moments_come_back_in_utc_and_marks_do_not_change(engine):
    outbox.record(engine, failed(), now=NOON)
    [row] = outbox.pending(engine, "flights")

    assert row.written_at == NOON
    assert row.mark == outbox.pending(engine, "flights")[0].mark


def test_keys_longer_than_the_columns_are_cut_and_stay_apart(engine):
    outbox.record(engine, failed("r" * 300 + "1"), now=NOON)
    outbox.record(engine, failed("r" * 300 + "2"), now=NOON)

    assert len({row.alert.part for row in outbox.pending(engine, "flights")}) == 2
    assert len({row["dedup"] for row in rows(engine)}) == 2
    assert max(len(row["dedup"]) for row in rows(engine)) <= 160


def test_standing_tells_each_problem_once_and_what_to_do(engine):
    for task in ("a", "b"):
        outbox.record(engine, failed(task=task), now=NOON)
    for row in outbox.pending(engine, "flights"):
        outbox.mark_waiting(engine, row, error="invalid_auth", now=NOON)

    standing = outbox.standing(engine, "flights")
    assert standing.waiting == 2
    assert len(standing.problems) == 1
    assert "bot token" in standing.problems[0]
    assert [row.alert.title for row in standing.latest] == ["flights.train.b failed", "flights.train.a failed"]


def test_only_one_sender_is_at_work_on_a_project(engine):
    with outbox.alone(engine, "flights") as first:
        found = []

        def other():
            with outbox.alone(engine, "flights") as second, outbox.alone(engine, "trains") as third:
                found.extend([second, third])

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    with outbox.alone(engine, "flights") as later:
        assert (first, found, later) == (True, [False, True], True)


def test_events_recorded_at_the_same_moment_have_one_head(postgres_url):
    engine = sa.create_engine(postgres_url, pool_size=8)
    tables.metadata.create_all(engine)
    gate = threading.Barrier(8)

    def one(number):
        gate.wait()
        outbox.record(engine, failed(attempt=number // 2), now=NOON)  # each event twice

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [row] = outbox.pending(engine, "flights")
    assert row.count == 4
    assert len(rows(engine)) == 4
    engine.dispose()


def test_the_migrated_schema_has_the_table_that_the_outbox_writes(postgres_url):
    from updraft.store.migrations import upgrade

    upgrade(postgres_url)
    engine = sa.create_engine(postgres_url)
    outbox.record(engine, failed(), now=NOON)

    there = {column["name"] for column in sa.inspect(engine).get_columns("alerts")}
    assert there == set(tables.alerts.columns.keys())
    engine.dispose()
