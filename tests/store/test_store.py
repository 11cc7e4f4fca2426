"""The store keeps the first write, chains its decisions, and tells what serves from them alone."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.releases import approval, closed, promoted, promotion

from updraft.errors import IntegrityError, ReleaseMoved, StoreError
from updraft.store import tables
from updraft.store.migrations import upgrade
from updraft.store.records import (
    Decision,
    EpisodeRow,
    EvidenceRow,
    IngestedPartition,
    PredictionRow,
    ReleaseRow,
    TrainingRow,
)
from updraft.store.store import Store
from updraft.store.transitions import SUPERSEDED, Act, Transition, apply, open_release

P = "flights"


@pytest.fixture(params=["postgresql", "memory"])
def store(request):
    found = Store.in_memory() if request.param == "memory" else Store.open(request.getfixturevalue("store_url"))
    yield found
    found.close()


def release(version: str, lane: str = "refresh", against: str | None = None, key: str = "k1") -> ReleaseRow:
    return ReleaseRow(f"{P}-v{version}", P, lane, version, against, "shadow", None, None, key, None)


def promote(store: Store, version: str, key: str, to: str = "probation") -> None:
    open_release(store, release(version, key=key))
    promoted(store, f"{P}-v{version}", key=key, to=to)


def roll_back(store: Store, version: str, key: str, champion: str | None = None) -> Decision:
    row = store.release(f"{P}-v{version}")
    body = {"version": row.against, "previous": row.version, "reason": "worse"}
    step = Transition(row, Act.ROLL_BACK, key, "worse", to="closed", outcome="rolled_back", kind="roll_back", body=body)
    return apply(store, replace(step, champion=champion or version))


def by_force(store: Store, statement: sa.Executable) -> None:
    """Change decisions as whoever owns the table can: PostgreSQL refuses it until its triggers are switched off."""
    postgresql = store.engine.dialect.name == "postgresql"
    with store.engine.begin() as connection:
        if postgresql:
            connection.execute(sa.text("ALTER TABLE decisions DISABLE TRIGGER USER"))
        connection.execute(statement)
        if postgresql:
            connection.execute(sa.text("ALTER TABLE decisions ENABLE TRIGGER USER"))


def test_upgrade_twice_changes_nothing_and_makes_every_table(postgres_url):
    upgrade(postgres_url)
    upgrade(postgres_url)
    engine = sa.create_engine(postgres_url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    assert set(tables.metadata.tables) <= found


def test_a_decision_is_taken_once(store):
    first = store.decide(P, key="k1", kind="promote", subject="r1", body={"version": "1", "previous": None})
    again = store.decide(P, key="k2", kind="promote", subject="r1", body={"version": "9", "previous": "1"})
    assert again == first
    assert len(store.decisions(P)) == 1


def test_the_chain_verifies_and_names_the_decision_that_was_changed(store):
    for number in range(5):
        store.decide(P, key="k1", kind="note", subject=str(number), body={"value": 0.1 + number})
    assert store.verify_chain(P) == 5
    by_force(store, sa.update(tables.decisions).where(tables.decisions.c.seq == 3).values(body={"value": 99}))
    with pytest.raises(IntegrityError, match=r"decision 3 \(note 2\) was changed"):
        store.verify_chain(P)


def test_a_removed_decision_breaks_the_chain(store):
    for number in range(3):
        store.decide(P, key="k1", kind="note", subject=str(number), body={})
    by_force(store, sa.delete(tables.decisions).where(tables.decisions.c.seq == 2))
    with pytest.raises(IntegrityError, match="decision 3"):
        store.verify_chain(P)


def test_serving_follows_promotions_and_rollbacks(store):
    assert store.serving(P).champion is None
    promote(store, "1", "k1")
    promote(store, "2", "k2")
    assert (store.serving(P).champion, store.serving(P).previous) == ("2", "1")
    roll_back(store, "2", "k3")
    assert (store.serving(P).champion, store.serving(P).previous, store.serving(P).since) == ("1", "2", "k3")
    assert (store.release(f"{P}-v2").state, store.release(f"{P}-v2").outcome) == ("closed", "rolled_back")


def test_a_promotion_supersedes_an_open_probation_and_repeating_the_older_one_changes_nothing(store):
    older = open_release(store, release("1", key="k1"))
    promote(store, "1", "k1")
    promote(store, "2", "k2")
    superseded = store.release(f"{P}-v1")
    assert (superseded.outcome, superseded.reason) == ("superseded", f"superseded by {P}-v2")
    with pytest.raises(ReleaseMoved, match="is in state closed by now"):
        apply(store, promotion(older, None, key="k3", to="probation", reason="run again"))
    assert store.release(f"{P}-v2").state == "probation"
    assert store.serving(P).champion == "2"


def test_a_step_is_refused_whole_when_something_else_serves_by_now(store):
    promote(store, "1", "k1")
    promote(store, "2", "k2")
    row = open_release(store, release("3", key="k3"))
    before = store.decisions(P)
    with pytest.raises(ReleaseMoved, match="version 2 serves by now"):
        apply(store, promotion(row, "1", key="k3", reason="looked at before version 2 served"))
    with pytest.raises(ReleaseMoved, match="version 2 serves by now"):
        roll_back(store, "2", "k4", champion="1")
    assert store.decisions(P) == before
    assert store.release(row.id) == row


def test_a_step_that_cannot_be_written_whole_leaves_nothing(store):
    row = open_release(store, release("1"))
    step = promotion(row, None, key="k1", reason="it passed")
    with pytest.raises(sa.exc.StatementError):
        apply(store, replace(step, to=object()))  # the row cannot take this; the decision was written before it
    assert store.decisions(P) == []
    assert store.release(row.id) == row


def test_of_two_that_promote_the_same_release_one_does(store):
    row = open_release(store, release("1"))
    step = promotion(row, None, key="k1", reason="it passed")
    first = apply(store, step)
    with pytest.raises(ReleaseMoved):
        apply(store, step)
    assert store.decisions(P) == [first]


def test_a_release_that_was_closed_meanwhile_is_not_promoted(store):
    row = open_release(store, release("1"))
    closed(store, row.id, key="k1", outcome="superseded", reason="superseded by the next")
    with pytest.raises(ReleaseMoved, match="superseded by the next"):
        apply(store, promotion(row, None, key="k2", reason="it passed"))
    assert store.serving(P).champion is None


def test_a_newer_release_closes_those_that_give_way_in_the_transaction_of_its_opening(store):
    older = open_release(store, release("1"))
    reason = f"superseded by {P}-v2"
    body = {"version": older.version, "reason": reason, "from": "shadow"}
    step = Transition(older, Act.SUPERSEDE, "k2", reason, to="closed", outcome="superseded", kind=SUPERSEDED, body=body)
    newer = open_release(store, release("2", key="k2"), [step])
    assert (store.release(older.id).outcome, store.release(older.id).closed_at) == ("superseded", "k2")
    assert newer.state == "shadow"
    assert open_release(store, release("2", key="k3"), [step]) == newer  # once by its id
    with pytest.raises(ReleaseMoved):
        open_release(store, release("3", key="k3"), [step])
    with pytest.raises(StoreError, match="no release"):
        store.release(f"{P}-v3")


def test_the_first_of_two_answers_stays(store):
    row = open_release(store, release("1"))
    approval(store, row.id, key="k1", reason="shown better")
    yes = {"version": "1", "approved": True, "by": "ann"}
    step = Transition(store.release(row.id), Act.APPROVE, "k1", "shown better", kind="approval", body=yes)
    first = apply(store, step)
    assert apply(store, replace(step, body={**yes, "by": "bob"})) == first
    assert first.body["by"] == "ann"
    assert store.release(row.id).state == "approval"


def test_a_step_that_waits_writes_nothing(store):
    row = open_release(store, release("1"))
    assert apply(store, Transition(row, Act.WAIT, "k1", "0 of 2 partitions in shadow")) is None
    assert store.release(row.id) == row
    assert store.decisions(P) == []


def test_calibration_layers_of_a_later_tick_are_not_known_before(store):
    for number in (1, 2, 3):
        body = {"version": "1", "layer": {"intercept": number / 10, "slope": 1.0}, "reason": ""}
        store.decide(P, key=f"k{number}", kind="recalibrate", subject=f"1@k{number}", body=body)
    store.decide(P, key="k1", kind="recalibrate", subject="11@k1", body={"version": "11", "layer": None, "reason": ""})
    assert store.layer(P, "1") == {"intercept": 0.3, "slope": 1.0}
    assert store.layer(P, "1", before="k4") == {"intercept": 0.3, "slope": 1.0}
    assert store.layer(P, "1", before="k3") == {"intercept": 0.2, "slope": 1.0}
    assert store.layer(P, "1", before="k1") is None
    assert store.layer(P, "11") is None


def test_predictions_of_a_role_stay_as_they_were_served(store):
    first = PredictionRow("k1", "champion", "1", None, "file:///a", "a" * 64, 10)
    assert store.record_predictions(P, first) == first
    later = PredictionRow("k1", "champion", "2", {"intercept": 0.1, "slope": 1.0}, "file:///b", "b" * 64, 10)
    assert store.record_predictions(P, later) == first


def test_evidence_keeps_the_first_value_of_a_cluster(store):
    store.record_evidence(P, "r1", [EvidenceRow("d1", "k1", 10, 0.5, {"origin=EWR": (4, 0.2)})])
    store.record_evidence(P, "r1", [EvidenceRow("d1", "k1", 10, 0.9, {}), EvidenceRow("d2", "k1", 10, 0.1, {})])
    found = store.evidence(P, "r1")
    assert [(row.cluster, row.gain) for row in found] == [("d1", 0.5), ("d2", 0.1)]
    assert found[0].slices == {"origin=EWR": (4, 0.2)}


def test_a_partition_ingested_again_replaces_its_row(store):
    row = IngestedPartition("k1", "refused", None, None, 0, 5, None, {}, None)
    store.record_partition(P, row)
    mended = IngestedPartition("k1", "published", "file:///p", "c" * 64, 100, 1, "file:///l", {"x": 1}, {"rows": 100})
    store.record_partition(P, mended)
    assert store.partition(P, "k1") == mended
    assert [(row.key, row.rows) for row in store.partitions(P)] == [("k1", 100)]


def test_a_registered_training_does_not_go_back_to_running(store):
    running = TrainingRow("run", P, "k1", "e1", "a" * 64, "running", None, {})
    store.record_training(running)
    done = TrainingRow("run", P, "k1", "e1", "a" * 64, "registered", "1", {"rounds": 3})
    store.record_training(done)
    store.record_training(running)
    assert store.training(P, "run") == done


def test_an_episode_is_opened_started_and_closed_once(store):
    row = EpisodeRow("e1", P, "k1", "age", "retrain", "due", {"words": "old"}, None, None)
    store.open_episode(row)
    store.start_episode(P, "e1")
    store.close_episode(P, "e1", key="k1", outcome="version 1")
    store.start_episode(P, "e1")
    store.close_episode(P, "e1", key="k9", outcome="other")
    [found] = store.episodes(P)
    assert (found.state, found.outcome, found.closed_at) == ("closed", "version 1", "k1")


def test_what_a_sensor_has_seen_never_goes_back(store):
    store.mark_seen(P, "remedy", "2013-02-01T0500")
    store.mark_seen(P, "remedy", "2013-01-01T0500")
    assert store.seen(P) == {"remedy": "2013-02-01T0500"}


def test_many_processes_decide_at_once_and_the_chain_stays_whole(store_url):
    from concurrent.futures import ThreadPoolExecutor

    stores = [Store.open(store_url) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: stores[n % 4].decide(P, key="k", kind="note", subject=str(n % 20), body={"n": n}), range(60)
            )
        )
    assert stores[0].verify_chain(P) == 20
    for one in stores:
        one.close()


def test_two_projects_may_have_a_training_run_of_one_name(store):
    for project in ("one", "two"):
        store.record_training(TrainingRow("change__k1", project, "k1", None, None, "registered", project, {}))
    assert [store.training(project, "change__k1").version for project in ("one", "two")] == ["one", "two"]
