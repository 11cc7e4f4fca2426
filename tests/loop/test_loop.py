"""The loop's steps on real flights: each writes once, nothing is known too early, and the same history gives the same decisions."""

import dataclasses

import numpy as np
import pytest
from tests.support import flights, releases

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, LABEL, ROW, SCORE
from updraft.errors import (
    ApprovalMissing,
    DataError,
    IntegrityError,
    MLflowAway,
    NotProved,
    SpecError,
    StoreError,
    TrainingError,
)
from updraft.loop.alerting import release_alerts, training_alerts
from updraft.loop.context import labels_of
from updraft.loop.decision_words import in_words
from updraft.loop.feature_drift import seasonal_keys
from updraft.loop.in_process import play, settle, train
from updraft.loop.monitor import (
    MONITOR,
    gather_evidence,
    measure,
    monitor_partition,
    past,
)
from updraft.loop.plan import plan_training
from updraft.loop.release import (
    answer,
    ask_for_approval,
    conclude,
    next_step,
    open_release,
    promote,
    release_id,
)
from updraft.loop.score import score_partition
from updraft.loop.sensor_looks import ask, due_episode
from updraft.loop.train import enter
from updraft.release.states import Answer
from updraft.store.transitions import Act
from updraft.store.transitions import open_release as write_opening


def still_running(run):
    """No training is over."""


def played(lake, count=13, project=None):
    home, rows = lake
    return flights.played(home, rows[:count], project)


def known_labels(loop, key, as_of):
    return labels_of(key, loop.label_files([key], as_of)[key])


@pytest.fixture(scope="module")
def finished(lake):
    return played(lake)


def test_the_first_model_comes_after_eight_partitions_and_serves_the_ninth(finished):
    loop, _ = finished
    first = loop.store.decisions(loop.name, kinds=("promote",))[0]
    keys = [row.key for row in loop.store.partitions(loop.name)]
    assert first.key == keys[7]
    assert loop.store.predictions(loop.name, keys[7]) == {}
    assert loop.store.predictions(loop.name, keys[8])["champion"].version == first.body["version"]


def test_playing_the_same_history_again_gives_the_same_decisions(finished, lake):
    home, rows = lake
    again, models = flights.fresh_loop(home)
    for row in rows:
        play(again, models, row)
    loop, _ = finished
    first, second = (
        [(d.seq, d.key, d.kind, d.subject, d.body) for d in one.store.decisions(loop.name)] for one in (loop, again)
    )
    assert first == second


def test_every_step_run_twice_changes_nothing(lake):
    loop, models = played(lake, 10)
    before = [d.sha256 for d in loop.store.decisions(loop.name)]
    key = loop.store.seen(loop.name)[MONITOR]
    predictions, measured = loop.store.predictions(loop.name, key), loop.store.performance(loop.name)
    for _ in range(2):
        score_partition(loop, key)
        monitor_partition(loop, key, still_running)
        for row in loop.store.trainings(loop.name):
            train(loop, models, row.id, row.key, episode=row.episode)
    assert [d.sha256 for d in loop.store.decisions(loop.name)] == before
    assert loop.store.predictions(loop.name, key) == predictions
    assert loop.store.performance(loop.name) == measured


def test_a_partition_that_was_scored_keeps_what_was_served_whoever_is_champion_by_now(lake):
    loop, models = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    served = score_partition(loop, keys[8])
    version = models.add(models.load(served[0].version))
    open_release(loop, version, "refresh", keys[-1])
    promote(loop, release_id(loop, version))
    assert score_partition(loop, keys[8]) == served


def test_labels_are_known_only_when_they_have_matured(lake):
    loop, _ = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    early, late = known_labels(loop, keys[4], keys[4]), known_labels(loop, keys[4], keys[5])
    tick = np.datetime64(loop.partition(keys[4]).tick.replace(tzinfo=None))
    assert early[EVENT_TIME].dt.tz_localize(None).max() < tick - np.timedelta64(1, "D")
    assert len(early) < len(late)
    assert set(early[ROW]) <= set(late[ROW])
    assert len(known_labels(loop, keys[4], keys[3])) == 0


def test_outcomes_are_in_no_published_partition(lake):
    loop, _ = played(lake, 2)
    from updraft import files

    columns = set(files.read_parquet(loop.published(loop.store.partitions(loop.name)[0].key).url).columns)
    assert not columns & {"arr_delay", "dep_delay", "dep_time", "arr_time", "air_time", LABEL}


def test_a_training_learns_from_nothing_after_its_tick(lake):
    loop, _ = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    plan = plan_training(loop, keys[8])
    assert plan.window == tuple(keys[:9])
    assert plan.holdout == tuple(keys[7:9])
    from updraft.loop.trials import label_files

    assert max(label_files(loop, plan)) == keys[8]


def test_other_parameters_make_a_change_and_the_same_ones_a_refresh(lake):
    loop, _ = played(lake, 9)
    key = loop.store.partitions(loop.name)[-1].key
    assert plan_training(loop, key).lane == "refresh"
    assert plan_training(loop, key, params={"max_depth": 3}).lane == "change"


def test_an_unknown_parameter_or_trainer_is_named_before_anything_starts(lake):
    loop, _ = played(lake, 9)
    key = loop.store.partitions(loop.name)[-1].key
    with pytest.raises(TrainingError, match=r"max_dept.*max_depth"):
        plan_training(loop, key, params={"max_dept": 3})
    with pytest.raises(TrainingError, match="no trainer 'torch'"):
        plan_training(loop, key, trainer="torch")


def test_a_partition_that_is_not_there_is_named(lake):
    loop, _ = played(lake, 3)
    with pytest.raises(StoreError, match="2013-12-30T0500 is not ingested yet"):
        score_partition(loop, "2013-12-30T0500")


def change_in_shadow(lake, count=9):
    """A change whose release is open in shadow from the tick of the last played partition."""
    loop, models = played(lake, count)
    key = loop.store.seen(loop.name)[MONITOR]
    champion = loop.store.serving(loop.name).champion
    version = models.add(models.load(champion))
    plan = plan_training(loop, key, params={"max_depth": 3})
    passed = {"passed": True, "reasons": [], "against": "champion", "metrics": {}}
    release = enter(loop, "change-by-hand", plan, version, passed, {})
    return loop, models, release, version


def test_a_change_is_scored_in_shadow_and_an_equal_model_is_never_promoted(lake):
    loop, _, release, version = change_in_shadow(lake)
    strict = loop.spec.release.model_copy(update={"margin": 0.0})  # with a margin, an equal model is good enough
    project = loop.project.model_copy(update={"spec": loop.spec.model_copy(update={"release": strict})})
    loop = type(loop)(project, loop.settings, loop.store, loop.models)
    _, rows = lake
    for row in rows[9:13]:
        loop.store.record_partition(loop.name, row)
        score_partition(loop, row.key)
        assert loop.store.predictions(loop.name, row.key)["challenger"].version == version
        monitor_partition(loop, row.key, still_running)
        assert next_step(loop, release).act is Act.WAIT
    evidence = loop.store.evidence(loop.name, release)
    assert len({row.cluster for row in evidence}) == 28  # four weeks; of the last day a part has matured
    assert abs(np.mean([row.gain for row in evidence])) < 0.01
    assert loop.store.serving(loop.name).champion != version


def test_looking_before_any_evidence_waits_and_notes_the_tick(lake):
    loop, _, release, _ = change_in_shadow(lake)
    key, act = ask(loop, "release", release)
    assert not act
    assert loop.store.seen(loop.name)[f"release:{release}"] == key


def test_rows_of_a_day_that_two_partitions_share_are_one_cluster_of_evidence(lake):
    loop, _, release, _ = change_in_shadow(lake)
    _, rows = lake
    for row in rows[9:12]:
        loop.store.record_partition(loop.name, row)
        score_partition(loop, row.key)
        monitor_partition(loop, row.key, still_running)
    evidence = loop.store.evidence(loop.name, release)
    matured = {target: len(known_labels(loop, target, rows[11].key)) for target in (row.key for row in rows[9:12])}
    assert sum(row.rows for row in evidence) == sum(matured.values())
    last = [row for row in evidence if row.key == rows[11].key]
    assert len({row.cluster for row in last}) == len(last)
    assert all(sum(n for name, (n, _) in row.slices.items() if name.startswith("origin=")) == row.rows for row in last)
    assert any("origin=EWR" in row.slices for row in last)


def test_labels_that_mature_at_a_refused_tick_are_counted_at_the_next_one(lake):
    whole, _, release, _ = change_in_shadow(lake)
    gap, _, other, _ = change_in_shadow(lake)
    _, rows = lake
    for row in rows[9:12]:
        whole.store.record_partition(whole.name, row)
        score_partition(whole, row.key)
        monitor_partition(whole, row.key, still_running)
        refused = row.key == rows[10].key
        gap.store.record_partition(gap.name, dataclasses.replace(row, state="refused", url=None) if refused else row)
        if not refused:
            score_partition(gap, row.key)
            monitor_partition(gap, row.key, still_running)
    ninth = {row.key: row.rows for row in gap.store.performance(gap.name)}
    assert ninth[rows[9].key] == {row.key: row.rows for row in whole.store.performance(whole.name)}[rows[9].key]
    days = {row.cluster for row in whole.store.evidence(whole.name, release)}
    assert {row.cluster for row in gap.store.evidence(gap.name, other)} >= {
        str(day) for day in loop_days(gap, rows[9].key)
    } & days


def loop_days(loop, key):
    return set(loop.feature_frame(key)[CLUSTER].astype(str))


def test_a_partition_is_never_scored_by_a_version_that_may_have_learnt_from_it(lake):
    loop, _ = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    first = loop.store.trainings(loop.name)[0]
    assert score_partition(loop, keys[3]) == []  # before the first training
    assert score_partition(loop, first.key) == []  # the training's own tick: it is in the window
    assert loop.store.predictions(loop.name, keys[3]) == {}


def test_a_partition_that_comes_late_is_scored_by_what_served_then_and_decides_nothing(lake):
    loop, models = flights.fresh_loop(lake[0])
    _, rows = lake
    for row in rows[:9]:
        play(loop, models, row)
    for row in rows[10:]:  # the tenth was refused and is mended later
        play(loop, models, row)
    late = rows[9]
    episodes, layers = loop.store.episodes(loop.name), loop.store.serving(loop.name).layers
    loop.store.record_partition(loop.name, late)
    served = score_partition(loop, late.key)
    trained = {row.version: row.key for row in loop.store.trainings(loop.name)}
    assert served
    assert all(trained[row.version] < late.key for row in served)
    monitor_partition(loop, late.key, still_running)
    assert loop.store.episodes(loop.name) == episodes
    assert loop.store.serving(loop.name).layers == layers
    [measured] = [row for row in loop.store.performance(loop.name) if row.key == late.key]
    assert measured.as_of == rows[-1].key
    assert measured.rows == len(known_labels(loop, late.key, rows[-1].key))
    decided = next(d for d in loop.store.decisions(loop.name, kinds=("diagnose",)) if d.subject == late.key)
    assert decided.body["late"] == rows[-1].key
    before = [d.sha256 for d in loop.store.decisions(loop.name)]
    monitor_partition(loop, late.key, still_running)
    assert [d.sha256 for d in loop.store.decisions(loop.name)] == before


def test_a_promotion_run_again_ticks_later_changes_nothing(lake):
    loop, _ = played(lake, 12)
    before = [d.sha256 for d in loop.store.decisions(loop.name)]
    for row in loop.store.releases(loop.name):
        promote(loop, row.id)
    assert [d.sha256 for d in loop.store.decisions(loop.name)] == before


def test_an_older_tick_run_again_leaves_what_serves_now_alone(lake):
    loop, _ = played(lake, 12)
    before = [d.sha256 for d in loop.store.decisions(loop.name)]
    measured = loop.store.performance(loop.name)
    for row in lake[1][:12]:
        score_partition(loop, row.key)
        monitor_partition(loop, row.key, still_running)
    assert [d.sha256 for d in loop.store.decisions(loop.name)] == before
    assert loop.store.performance(loop.name) == measured


def test_a_refresh_that_is_promoted_late_gets_its_whole_probation(lake):
    loop, models = played(lake, 9)
    _, rows = lake
    opened = loop.store.seen(loop.name)[MONITOR]
    version = models.add(models.load(loop.store.serving(loop.name).champion))
    row = open_release(loop, version, "refresh", opened)
    for later in rows[9:13]:  # a person takes four weeks to answer
        loop.store.record_partition(loop.name, later)
        loop.store.mark_seen(loop.name, MONITOR, later.key)
    assert promote(loop, row.id).key == rows[12].key
    assert next_step(loop, row.id).act is Act.WAIT


def test_a_change_about_an_old_partition_is_in_shadow_from_now_on(lake):
    loop, models = played(lake, 13)
    version = models.add(models.load(loop.store.serving(loop.name).champion))
    row = open_release(loop, version, "change", lake[1][8].key)
    assert row.opened_at == lake[1][12].key
    assert next_step(loop, row.id).act is Act.WAIT


def test_a_training_that_failed_for_good_gives_way_to_the_next_one_after_the_cooldown(lake):
    loop, _ = played(lake, 7)
    _, rows = lake
    loop.store.record_partition(loop.name, rows[7])
    monitor_partition(loop, rows[7].key, still_running)
    episode = due_episode(loop)
    loop.store.start_episode(loop.name, episode.id)
    opened = []
    for row in rows[8:11]:
        loop.store.record_partition(loop.name, row)
        monitor_partition(loop, row.key, lambda _: "its training failed")
        opened += [one.opened_at for one in loop.store.episodes(loop.name, states=("due",))]
    assert loop.store.training(loop.name, episode.id).state == "failed"
    assert loop.store.episodes(loop.name)[0].outcome == "its training failed"
    [ended] = loop.store.decisions(loop.name, kinds=("training_ended",))
    assert in_words(ended) == f"episode {episode.id} ended without a model: its training failed"
    training_alerts.trainings_ended(loop, ended.key)
    assert [alert.text for alert in told(loop, "failure")] == [f"Episode {episode.id} is closed: its training failed."]
    assert opened[0] == rows[7 + max(loop.spec.monitoring.remedies.retrain.cooldown, 1)].key
    assert past(loop, rows[10].key).trained_this_year == 0


def test_in_one_process_a_training_that_was_interrupted_gives_way_too(lake, monkeypatch):
    from updraft.loop import in_process

    loop, models = played(lake, 7)
    fit = in_process.fit

    def killed(loop, plan):
        raise KeyboardInterrupt

    monkeypatch.setattr(in_process, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        play(loop, models, lake[1][7])
    monkeypatch.setattr(in_process, "fit", fit)
    for row in lake[1][8:11]:
        play(loop, models, row)
    first = loop.store.episodes(loop.name)[0]
    assert first.outcome == f"its training {first.id} was interrupted"
    assert loop.store.serving(loop.name).champion is not None


def test_a_training_that_failed_and_was_mended_is_registered(lake):
    loop, models = played(lake, 9)
    row = loop.store.trainings(loop.name)[0]
    failed = dataclasses.replace(row, id="by-hand", state="failed", version=None, result={})
    loop.store.record_training(dataclasses.replace(failed, state="running"))
    loop.store.record_training(failed)
    train(loop, models, "by-hand", row.key)
    assert loop.store.training(loop.name, "by-hand").state in ("registered", "refused")


def test_labels_of_one_class_leave_no_undefined_figure_in_the_store(lake):
    import json

    from updraft import files
    from updraft.data.columns import LABEL as label

    loop, _ = played(lake, 9)
    _, rows = lake
    frame = files.read_parquet(rows[9].labels_url).assign(**{label: 0.0})
    url = f"{rows[9].labels_url}.one-class.parquet"
    changed = {"labels_url": url, "labels_sha256": files.write_parquet(url, frame)}
    loop.store.record_partition(loop.name, dataclasses.replace(rows[9], **changed))
    score_partition(loop, rows[9].key)
    monitor_partition(loop, rows[9].key, still_running)
    [measured] = [row for row in loop.store.performance(loop.name) if row.key == rows[9].key]
    assert "auc" not in measured.metrics
    assert measured.metrics["log_loss"] > 0
    json.dumps([d.body for d in loop.store.decisions(loop.name)], allow_nan=False)


def test_drift_is_held_against_the_same_season_where_the_history_has_one(lake):
    loop, _ = flights.fresh_loop(lake[0])
    _, rows = lake
    for year in (2013, 2014, 2015):
        for row in rows:
            key = next(one.key for one in weeks(loop, year) if one.key[5:10] >= row.key[5:10])
            loop.store.record_partition(loop.name, dataclasses.replace(row, key=key))
    keys = [row.key for row in loop.store.partitions(loop.name)]
    assert seasonal_keys(loop, keys[5]) == ()
    assert {key[:4] for key in seasonal_keys(loop, keys[-5])} == {"2013", "2014"}


def weeks(loop, year):
    from datetime import date

    from updraft.data.partitions import partitions

    data = loop.spec.data.model_copy(update={"start": date(year, 1, 1), "end": date(year, 12, 31)})
    return list(partitions(loop.spec.model_copy(update={"data": data})))


def test_other_features_are_profiled_anew_and_are_no_broken_feed(lake, tmp_path):
    import shutil

    from updraft.spec.load import load_project

    loop, _ = played(lake, 10)
    key = loop.store.partitions(loop.name)[-1].key
    folder = shutil.copytree(loop.project.folder, tmp_path / "flight_delays")
    source = (folder / "features.py").read_text()
    (folder / "features.py").write_text(source.replace('"distance": rows["distance"],', '"miles": rows["distance"],'))
    other = dataclasses.replace(loop, project=load_project(folder))
    assert "distance" in loop.profile(key).columns
    assert "miles" in other.profile(key).columns
    assert "distance" in other.profile(key, loop.features).columns


def test_a_release_that_waits_for_an_answer_is_not_judged_again(lake):
    loop, _, release, _ = change_in_shadow(lake)
    _, rows = lake
    loop.store.record_partition(loop.name, rows[9])
    loop.store.mark_seen(loop.name, MONITOR, rows[9].key)
    loop.store.mark_seen(loop.name, f"release:{release}", rows[9].key)
    releases.approval(loop.store, release, key=rows[9].key, reason="shown better")
    with_gain(loop, release, -0.5)
    assert ask(loop, "release", release) == (rows[9].key, True)
    assert (next_step(loop, release).act, next_step(loop, release).reason) == (Act.ASK, "shown better")


def test_what_was_decided_and_not_told_is_told_from_the_chain(lake):
    loop, _, release, _ = proved_change(lake)
    assert answer(loop, release, Answer(True, "ann"))
    promote(loop, release)
    for _ in range(2):
        release_alerts.of_release(loop, release)
    assert len(told(loop, "verdict")) == 2  # the verdict, and the promotion that follows it


def told(loop, kind):
    """The alerts of a kind."""
    from updraft.alerts.outbox import recent

    return [one.alert for one in recent(loop.store.engine, loop.name) if one.alert.kind == kind]


def monitored(loop, rows):
    """Let partitions count as monitored."""
    for row in rows:
        loop.store.record_partition(loop.name, row)
        loop.store.mark_seen(loop.name, MONITOR, row.key)


def proved_change(lake):
    """A change that was shown good enough, and waits for an answer."""
    loop, models, release, version = change_in_shadow(lake)
    monitored(loop, lake[1][9:11])
    with_gain(loop, release, 0.02)
    assert conclude(loop, release).act is Act.PROVE
    return loop, models, release, version


def by_its_verdict(lake, monkeypatch):
    loop, _, release, _ = change_in_shadow(lake)
    with_gain(loop, release, -0.05)
    assert conclude(loop, release).act is Act.REJECT
    return loop, release


def by_a_person(lake, monkeypatch):
    loop, _, release, _ = proved_change(lake)
    assert not answer(loop, release, Answer(False, "bob"))
    return loop, release


def by_nobodys_answer(lake, monkeypatch):
    loop, _, release, _ = proved_change(lake)
    assert not answer(loop, release, Answer(False, None))
    return loop, release


def as_it_cannot_be_scored(lake, monkeypatch):
    loop, models, release, version = change_in_shadow(lake)
    cannot_be_loaded(monkeypatch, models, version, DataError("its features.py raises"))
    loop.store.record_partition(loop.name, lake[1][9])
    score_partition(loop, lake[1][9].key)
    return loop, release


@pytest.mark.parametrize("way", [by_its_verdict, by_a_person, by_nobodys_answer, as_it_cannot_be_scored])
def test_a_rejected_change_leaves_one_decision_and_one_alert_whichever_way_it_came(lake, monkeypatch, way):
    loop, release = way(lake, monkeypatch)
    champion = loop.store.serving(loop.name).champion
    for _ in range(2):
        conclude(loop, release)
        answer(loop, release, Answer(True, "too late"))
        release_alerts.of_release(loop, release)
    row = loop.store.release(release)
    about = [d for d in loop.store.decisions(loop.name) if d.subject == release and d.kind != "verdict"]
    assert [(d.kind, d.body["version"]) for d in about] == [("rejected", row.version)]
    assert str(in_words(about[0])).startswith(f"rejected version {row.version}")
    assert (row.state, row.outcome) == ("closed", "rejected")
    [alert] = [alert for alert in told(loop, "verdict") if alert.title == f"Version {row.version}: reject"]
    assert str(row.reason) in alert.text
    with pytest.raises(StoreError, match="is closed: rejected"):
        promote(loop, release)
    assert loop.store.serving(loop.name).champion == champion


@pytest.mark.parametrize("approved", [True, False])
def test_a_question_that_is_answered_says_so_in_its_headline(lake, approved):
    from updraft.alerts.outbox import recent

    loop, _, release, version = proved_change(lake)
    release_alerts.approval_wanted(loop, release, "http://airflow/required_actions")
    answer(loop, release, Answer(approved, "ann"))
    if approved:
        promote(loop, release)
    for _ in range(2):
        release_alerts.of_release(loop, release)
    rows = [row for row in recent(loop.store.engine, loop.name) if row.alert.entry in ("approval", "resolved")]
    [question] = [row for row in rows if row.alert.entry == "approval"]
    assert question.resolved_at is not None
    replies = [row.alert.text for row in rows if row.alert.entry == "resolved"]
    assert len(replies) == (0 if approved else 1), f"the promotion of version {version} is told anyway"


def test_decisions_of_earlier_versions_are_read_and_told_as_before(lake):
    loop, _, release, version = change_in_shadow(lake)
    kinds = {
        "verdict": {"verdict": "reject", "reason": "shown worse", "evidence": {}},
        "unscorable": {"verdict": "reject", "reason": "not what was signed", "evidence": {}},
        "approval": {"approved": False, "by": "ann"},
    }
    for kind, body in kinds.items():
        loop.store.decide(loop.name, key="k", kind=kind, subject=release, body={"version": version, **body})
    release_alerts.of_release(loop, release)
    assert [alert.title for alert in told(loop, "verdict")] == [f"Version {version}: reject"]
    words = [in_words(d) for d in loop.store.decisions(loop.name, kinds=tuple(kinds))]
    assert words == [
        f"verdict on version {version}: reject, shown worse",
        f"verdict on version {version}: reject, not what was signed",
        f"rejected version {version} by ann",
    ]
    conclude(loop, release)  # a no that was written before the release was closed, and the process killed in between
    assert (loop.store.release(release).state, loop.store.release(release).reason) == ("closed", "rejected by ann")


def with_gain(loop, release, gain, clusters=60):
    """Write evidence of a steady gain into an open release."""
    from updraft.store.records import EvidenceRow

    rng = np.random.default_rng(1)
    key = loop.store.seen(loop.name)[MONITOR]
    rows = [EvidenceRow(f"day{i:03}", key, 900, gain + float(rng.normal(0, 0.001)), {}) for i in range(clusters)]
    loop.store.record_evidence(loop.name, release, rows)


def test_a_shown_gain_is_approved_then_promoted_and_the_answer_outlives_a_second_one(lake):
    loop, _, release, version = proved_change(lake)
    assert loop.store.release(release).state == "approval"
    assert ask_for_approval(loop, release).act is Act.ASK
    assert answer(loop, release, Answer(True, "ann"))
    assert answer(loop, release, Answer(False, "bob"))  # too late: the first answer stays
    assert ask_for_approval(loop, release).act is Act.PROMOTE
    promote(loop, release)
    assert loop.store.serving(loop.name).champion == version
    assert loop.store.release(release).outcome == "promoted"
    kinds = [d.kind for d in loop.store.decisions(loop.name) if d.subject == release]
    assert kinds == ["verdict", "approval", "promote"]


def test_a_change_is_promoted_neither_before_its_evidence_nor_before_an_answer(lake):
    loop, _, release, _ = change_in_shadow(lake)
    with pytest.raises(NotProved, match="not decided yet"):
        promote(loop, release)
    monitored(loop, lake[1][9:11])
    with_gain(loop, release, 0.02)
    with pytest.raises(ApprovalMissing, match="nobody has answered"):
        promote(loop, release)
    assert loop.store.release(release).state == "approval"  # its evidence is written, whoever looked at it first
    assert loop.store.decisions(loop.name, kinds=("promote",))[-1].subject != release


def test_the_loop_in_one_process_leaves_the_decisions_that_the_dag_leaves(lake):
    loop, models, release, version = change_in_shadow(lake)
    monitored(loop, lake[1][9:11])
    with_gain(loop, release, 0.02)
    settle(loop, models)
    kinds = [d.kind for d in loop.store.decisions(loop.name) if d.subject == release]
    assert kinds == ["verdict", "approval", "promote"]
    assert loop.store.serving(loop.name).champion == version


def test_a_newer_release_of_a_lane_supersedes_the_one_that_is_still_proved(lake):
    loop, models, release, version = change_in_shadow(lake)
    other = models.add(models.load(version))
    open_release(loop, other, "refresh", lake[1][8].key)
    assert loop.store.release(release).state == "shadow"
    newer = open_release(loop, models.add(models.load(version)), "change", lake[1][8].key)
    superseded = loop.store.release(release)
    assert (superseded.outcome, superseded.reason) == ("superseded", f"superseded by {newer.id}")
    assert conclude(loop, release).act is Act.GONE
    [decision] = loop.store.decisions(loop.name, kinds=("superseded",))
    assert (decision.subject, decision.body["from"], decision.body["version"]) == (release, "shadow", version)
    assert str(in_words(decision)).endswith(f"in shadow: superseded by {newer.id}")
    assert f"Version {version}: superseded by {newer.id}" in {alert.title for alert in told(loop, "verdict")}


def test_a_probation_that_a_newer_champion_ends_leaves_a_decision_and_is_told(lake):
    loop, models = played(lake, 9)
    key, first = loop.store.seen_by(loop.name, MONITOR), loop.store.serving(loop.name).champion
    second, third = (models.add(models.load(first)) for _ in range(2))
    for version in (second, third):
        open_release(loop, version, "refresh", key)
        promote(loop, release_id(loop, version))
    assert loop.store.release(release_id(loop, second)).outcome == "superseded"
    [decision] = loop.store.decisions(loop.name, kinds=("superseded",))
    assert (decision.subject, decision.body["from"]) == (release_id(loop, second), "probation")
    titles = {alert.title for alert in told(loop, "verdict")}
    assert f"Version {second}: superseded by {release_id(loop, third)}" in titles


def test_a_refresh_that_is_shown_worse_is_rolled_back(lake):
    loop, models = played(lake, 9)
    key = loop.store.seen(loop.name)[MONITOR]
    before = loop.store.serving(loop.name).champion
    version = models.add(models.load(before))
    open_release(loop, version, "refresh", key)
    promote(loop, release_id(loop, version))
    assert loop.store.release(release_id(loop, version)).state == "probation"
    with_gain(loop, release_id(loop, version), -0.05)
    assert conclude(loop, release_id(loop, version)).act is Act.ROLL_BACK
    assert conclude(loop, release_id(loop, version)).act is Act.DONE
    assert loop.store.serving(loop.name).champion == before
    assert len(loop.store.decisions(loop.name, kinds=("roll_back",))) == 1
    from updraft.alerts.outbox import recent

    for _ in range(2):
        release_alerts.of_release(loop, release_id(loop, version))
    [told] = [one.alert for one in recent(loop.store.engine, loop.name) if one.alert.kind == "rollback"]
    assert before in told.title + told.text


class BackToFront:
    """A model whose margins have the wrong sign, as one has that learnt from inverted labels."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        return getattr(self._model, name)

    def margin(self, features):
        return -self._model.margin(features)


def back_to_front_serves(lake, project=None):
    """After nine partitions a refresh is promoted that ranks the wrong way round; the loop, its models, and what served before."""
    loop, models = played(lake, 9, project)
    before = loop.store.serving(loop.name).champion
    version = models.add(BackToFront(models.load(before)))
    open_release(loop, version, "refresh", loop.store.seen(loop.name)[MONITOR])
    promote(loop, release_id(loop, version))
    return loop, models, version, before


def test_a_refresh_that_ranks_the_wrong_way_round_is_taken_back_at_its_first_partition(lake):
    loop, models, version, before = back_to_front_serves(lake)
    play(loop, models, lake[1][9])
    assert loop.store.serving(loop.name).champion != version
    [taken] = loop.store.decisions(loop.name, kinds=("roll_back",))
    assert (taken.key, taken.body["previous"], taken.body["version"]) == (lake[1][9].key, version, before)
    assert taken.body["guard"] is True
    assert taken.body["reason"].startswith("its scores rank the wrong way round")


def test_a_champion_that_ranks_the_wrong_way_round_is_replaced_before_its_cooldown_is_over(lake):
    project = flights.flights()
    release, monitoring = project.spec.release, project.spec.monitoring
    retrain = monitoring.remedies.retrain.model_copy(update={"cooldown": 20, "every": 40})
    remedies = monitoring.remedies.model_copy(update={"retrain": retrain})
    spec = project.spec.model_copy(
        update={
            "release": release.model_copy(update={"refresh": release.refresh.model_copy(update={"probation": 0})}),
            "monitoring": monitoring.model_copy(update={"remedies": remedies}),
        }
    )
    loop, models, version, _ = back_to_front_serves(lake, project.model_copy(update={"spec": spec}))
    play(loop, models, lake[1][9])
    [episode] = [row for row in loop.store.episodes(loop.name) if row.cause == "guard"]
    assert (episode.opened_at, episode.state) == (lake[1][9].key, "closed")
    assert loop.store.serving(loop.name).champion not in (version, None)
    assert not loop.store.decisions(loop.name, kinds=("roll_back",))


def cannot_be_loaded(monkeypatch, models, version, error):
    """Let one version fail, and the others be what they are."""
    load = models.load

    def changed(wanted):
        if wanted == version:
            raise error
        return load(wanted)

    monkeypatch.setattr(models, "load", changed)


def test_a_shadow_that_cannot_be_scored_is_closed_and_told_and_the_champion_scores_on(lake, monkeypatch):
    from updraft.alerts.outbox import recent

    loop, models, release, version = change_in_shadow(lake)
    cannot_be_loaded(monkeypatch, models, version, IntegrityError(f"version {version} is not what was signed"))
    _, rows = lake
    for row in rows[9:11]:
        loop.store.record_partition(loop.name, row)
        for _ in range(2):
            score_partition(loop, row.key)
        assert set(loop.store.predictions(loop.name, row.key)) == {"champion"}
    closed = loop.store.release(release)
    assert (closed.state, closed.outcome) == ("closed", "rejected")
    assert closed.reason == f"version {version} cannot be scored: version {version} is not what was signed"
    assert next_step(loop, release).act is Act.GONE
    told = [one.alert.kind for one in recent(loop.store.engine, loop.name)]
    assert (told.count("integrity"), told.count("verdict")) == (1, 1)


def test_a_previous_champion_that_cannot_be_scored_ends_the_probation_and_the_champion_stays(lake, monkeypatch):
    from updraft.alerts.outbox import recent

    loop, models = played(lake, 9)
    key, before = loop.store.seen(loop.name)[MONITOR], loop.store.serving(loop.name).champion
    version = models.add(models.load(before))
    open_release(loop, version, "refresh", key)
    promote(loop, release_id(loop, version))
    cannot_be_loaded(monkeypatch, models, before, DataError("features.py of this version raises"))
    _, rows = lake
    loop.store.record_partition(loop.name, rows[9])
    score_partition(loop, rows[9].key)
    assert loop.store.predictions(loop.name, rows[9].key)["champion"].version == version
    kept = loop.store.release(release_id(loop, version))
    assert (kept.state, kept.outcome) == ("closed", "kept")
    assert "its probation ends early" in str(kept.reason)
    told = [one.alert.text for one in recent(loop.store.engine, loop.name) if one.alert.kind == "verdict"]
    assert sum("its probation ends early" in text for text in told) == 1


def test_a_change_that_waits_for_approval_and_cannot_be_scored_any_more_is_closed_in_the_chain_and_told(
    lake, monkeypatch
):
    from updraft.alerts.outbox import recent

    loop, models, release, version = proved_change(lake)
    release_alerts.of_release(loop, release)
    cannot_be_loaded(monkeypatch, models, version, SpecError("its features.py imports what is not installed any more"))
    loop.store.record_partition(loop.name, lake[1][11])
    score_partition(loop, lake[1][11].key)
    [decision] = loop.store.decisions(loop.name, kinds=("rejected",))
    assert (decision.subject, decision.key) == (release, lake[1][11].key)
    assert "not installed any more" in str(in_words(decision))
    told = [one.alert.title for one in recent(loop.store.engine, loop.name) if one.alert.kind == "verdict"]
    assert sorted(told) == [f"Version {version}: promote", f"Version {version}: reject"]


def test_what_is_away_for_a_moment_or_wrong_for_all_models_closes_no_release(lake, monkeypatch):
    loop, models, release, _ = change_in_shadow(lake)
    loop.store.record_partition(loop.name, lake[1][9])
    for error in (MLflowAway("MLflow does not answer"), IntegrityError("the key is not there")):

        def fails(_, error=error):
            raise error

        monkeypatch.setattr(models, "load", fails)
        with pytest.raises(type(error)):
            score_partition(loop, lake[1][9].key)
        assert loop.store.release(release).state == "shadow"
        assert loop.store.predictions(loop.name, lake[1][9].key) == {}


def test_the_same_tick_opens_one_episode(lake):
    loop, _ = played(lake, 7)
    _, rows = lake
    loop.store.record_partition(loop.name, rows[7])
    for _ in range(3):
        monitor_partition(loop, rows[7].key, still_running)
    assert len(loop.store.episodes(loop.name)) == 1
    assert due_episode(loop) is not None
    assert past(loop, rows[7].key).open_episode


def test_a_refused_partition_is_passed_over(lake):
    loop, models = flights.fresh_loop(lake[0])
    _, rows = lake
    play(loop, models, dataclasses.replace(rows[0], state="refused", url=None, rows=0))
    assert loop.store.seen(loop.name) == {}
    play(loop, models, rows[1])
    assert loop.store.seen(loop.name)[MONITOR] == rows[1].key


def test_evidence_and_measures_count_each_row_once(finished):
    loop, _ = finished
    keys = [row.key for row in loop.store.partitions(loop.name)]
    rows = {row.key: row.rows for row in loop.store.performance(loop.name)}
    for key in keys[8:12]:
        served = loop.store.predictions(loop.name, key)["champion"].rows
        assert rows[key] <= served
    releases = [row.id for row in loop.store.releases(loop.name)]
    kept = [loop.store.evidence(loop.name, release) for release in releases]
    measured = loop.store.performance(loop.name)
    assert any(kept)
    assert measure(loop, keys[-1])
    gather_evidence(loop, keys[-1])
    assert [loop.store.evidence(loop.name, release) for release in releases] == kept
    assert loop.store.performance(loop.name) == measured


def test_a_model_is_scored_with_the_features_it_was_trained_with(lake, tmp_path):
    import shutil

    from updraft.spec.load import load_project
    from updraft.training.model import Model

    loop, models = played(lake, 9)
    key = loop.store.partitions(loop.name)[-1].key
    model = models.load(loop.store.serving(loop.name).champion)
    source = (loop.project.folder / "features.py").read_bytes()
    kept = Model(model.task, model.encoder, model.weights, model.meta, source, model.threads)
    folder = shutil.copytree(loop.project.folder, tmp_path / "flight_delays")
    changed = source.decode().replace('"distance": rows["distance"],', '"miles": rows["distance"],')
    (folder / "features.py").write_text(changed)
    other = dataclasses.replace(loop, project=load_project(folder))
    assert "distance" not in other.feature_frame(key).columns
    assert "distance" in other.feature_frame(key, other.features_of(kept)).columns
    assert plan_training(other, key).lane == "change"


def test_a_promoted_change_goes_on_with_its_parameters_until_project_yaml_changes(lake):
    loop, models = played(lake, 9)
    key = loop.store.partitions(loop.name)[-1].key
    plan = plan_training(loop, key, params={"max_depth": 3})
    version = models.add(models.load(loop.store.serving(loop.name).champion))
    release = enter(loop, "by-hand", plan, version, {"passed": True, "reasons": []}, {})
    releases.promoted(loop.store, release, key=key)
    after = plan_training(loop, key)
    assert (after.lane, after.trainer.params["max_depth"]) == ("refresh", 3)
    trainer = loop.spec.training.trainers[0].model_copy(update={"params": {"max_depth": 5}})
    spec = loop.spec.model_copy(update={"training": loop.spec.training.model_copy(update={"trainers": (trainer,)})})
    edited = dataclasses.replace(loop, project=loop.project.model_copy(update={"spec": spec}))
    plan = plan_training(edited, key)
    assert (plan.lane, plan.trainer.params["max_depth"]) == ("change", 5)


def test_at_one_tick_releases_are_concluded_in_order_and_remedies_come_last(lake):
    from updraft.store.records import EpisodeRow, ReleaseRow

    loop, _ = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    now, before = keys[-1], keys[-2]
    for number, state in (("7", "probation"), ("8", "shadow")):
        write_opening(
            loop.store,
            ReleaseRow(
                f"{loop.name}-v{number}", loop.name, "change", number, "1", state, None, None, f"{before}{number}", None
            ),
        )
        loop.store.mark_seen(loop.name, f"release:{loop.name}-v{number}", before)
    body = {"version": "7", "previous": "1", "lane": "refresh", "reason": "its proof passed"}
    loop.store.decide(loop.name, key=before, kind="promote", subject=f"{loop.name}-v7", body=body)
    loop.store.open_episode(EpisodeRow("due", loop.name, now, "age", "retrain", "due", {}, None, None))
    assert ask(loop, "remedy") == (now, False)
    assert loop.store.seen(loop.name).get("remedy", "") < now  # held back, not seen
    assert ask(loop, "release", f"{loop.name}-v7") == (now, False)
    assert ask(loop, "release", f"{loop.name}-v8") == (now, False)
    assert ask(loop, "remedy") == (now, True)


def test_a_release_whose_sensor_stopped_looking_holds_nothing_back(lake):
    from updraft.store.records import EpisodeRow, ReleaseRow

    loop, _ = played(lake, 10)
    keys = [row.key for row in loop.store.partitions(loop.name)]
    row = ReleaseRow(f"{loop.name}-v7", loop.name, "change", "7", "1", "shadow", None, None, keys[5], None)
    write_opening(loop.store, row)
    loop.store.mark_seen(loop.name, f"release:{row.id}", keys[6])
    loop.store.open_episode(EpisodeRow("due", loop.name, keys[-1], "age", "retrain", "due", {}, None, None))
    assert ask(loop, "remedy") == (keys[-1], True)


def test_labels_that_mature_after_several_partitions_delay_training_and_holdout(tmp_path):
    from datetime import timedelta

    from updraft.backtest.history import history
    from updraft.spec.model import RefreshLane

    spec = flights.flights().spec
    label = spec.data.label.model_copy(update={"matures_after": timedelta(days=14)})
    changed = {
        "data": spec.data.model_copy(update={"label": label}),
        "training": spec.training.model_copy(update={"first_after": 3, "window": 6}),
        "release": spec.release.model_copy(update={"refresh": RefreshLane(holdout=1)}),
    }
    project = flights.flights().model_copy(update={"spec": spec.model_copy(update=changed)})
    rows = history(project, flights.settings(tmp_path), 7, lambda _: None).rows
    loop, models = flights.fresh_loop(tmp_path, project)
    for row in rows:
        play(loop, models, row)
    keys = [row.key for row in rows]
    first = loop.store.trainings(loop.name)[0]
    assert first.key == keys[4]  # at the fifth tick the third partition begins to have labels
    assert plan_training(loop, keys[4]).window == tuple(keys[:3])
    assert plan_training(loop, keys[4]).holdout == (keys[2],)


def test_a_project_with_the_torch_trainer_goes_the_same_way(lake):
    pytest.importorskip("torch", reason="PyTorch is not installed: `make torch`")
    from updraft.spec.model import Trainer

    spec = flights.flights().spec
    trainer = Trainer(name="torch", params={"rounds": 2, "width": 32})
    training = spec.training.model_copy(update={"trainers": (trainer,), "first_after": 4, "window": 6})
    spec = spec.model_copy(update={"training": training})
    loop, models = played(lake, 5, flights.flights().model_copy(update={"spec": spec}))
    [trained] = loop.store.trainings(loop.name)
    assert trained.result["trainer"]["name"] == models.load(trained.version).trainer == "torch"
    key = loop.store.partitions(loop.name)[-1].key
    if loop.store.serving(loop.name).champion is None:  # two rounds need not beat the base rate
        release = enter(loop, "by-hand", plan_training(loop, key), trained.version, {"passed": True, "reasons": []}, {})
        releases.promoted(loop.store, release, key=key)
    _, rows = lake
    play(loop, models, rows[5])
    row = loop.store.predictions(loop.name, rows[5].key)["champion"]
    score = files.read_parquet(row.url)[SCORE]
    assert row.version == trained.version
    assert 0 < score.min() < score.max() < 1
