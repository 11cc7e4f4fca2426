"""What the API answers and the pages show: of an empty project, of one partition, of ten thousand decisions, of hostile texts."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.flights import fresh_loop

from updraft.control.actions import partition_to_ingest, readmit_partition, resume, stop
from updraft.control.catalogue import Catalogue
from updraft.control.fleet import broken_row, make_fleet, read_row
from updraft.control.kept_rows import FRESH, OLD, KeptRows
from updraft.control.partition import read_partition
from updraft.control.project import DECISIONS, read_project
from updraft.control.release import bound_points, likely_end, read_release
from updraft.control.version import audit_bundle, compare_versions, read_version
from updraft.errors import InputError
from updraft.loop.outlook import outlook, read_standing
from updraft.loop.stopping import stopped_remedies
from updraft.pages import rooms
from updraft.pages.rooms import Filter, Place
from updraft.pages.svg import Scale, element, spanning
from updraft.release.verdict import ClusterGain
from updraft.spec.load import BrokenProject
from updraft.store.records import (
    EpisodeRow,
    EvidenceRow,
    IngestedPartition,
    PerformanceRow,
    PredictionRow,
    ReleaseRow,
    TrainingRow,
)
from updraft.store.transitions import open_release

NOW = datetime(2013, 1, 30, tzinfo=UTC)
KEY = "2013-01-28T0500"
EVIL = "</script><img src=x onerror=alert(1)>\ud800\u202e'\"&{{7*7}}"
"""A text of a feed that wants to be more than a text."""
TEXTS = {"hostile": EVIL, "empty": "", "zero": "\x00", "long": "a" * 300, "backwards": "\u202e", "formula": "=1+1"}


@pytest.fixture
def loop(tmp_path):
    return fresh_loop(tmp_path)[0]


def publish(loop, key=KEY, rows=100, state="published", **checks):
    loop.store.record_partition(
        loop.name, IngestedPartition(key, state, "file:///x", "a" * 64, rows, 0, None, checks=checks, profile=None)
    )


def decide(loop, kind, subject, key=KEY, **body):
    return loop.store.decide(loop.name, key=key, kind=kind, subject=subject, body=body)


def serve(loop, version="1", key=KEY):
    result = {
        "gates": {"passed": True, "against": "base rate", "metrics": {"log_loss": {"candidate": 0.5, "against": 0.6}}}
    }
    loop.store.record_training(TrainingRow(f"run-{version}", loop.name, key, None, None, "registered", version, result))
    decide(
        loop, "promote", f"{loop.name}-v{version}", key, version=version, previous=None, lane="refresh", reason="proved"
    )


def measure(loop, key=KEY, version="1", loss=0.45):
    prediction = PredictionRow(key, "champion", version, None, "file:///p", "b" * 64, 100)
    loop.store.record_predictions(loop.name, prediction)
    loop.store.record_performance(
        loop.name, PerformanceRow(key, key, "champion", version, 90, {"log_loss": loss, "mcb": 0.01})
    )


def read(page: bytes) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page.decode())))


def test_a_project_without_a_partition_says_what_it_waits_for(loop):
    row = read_row(loop, NOW)
    assert (row.state, row.champion, row.losses, row.rows, row.drift) == ("no model yet", None, (), None, None)
    assert "first training" in row.reason
    told = read(rooms.project_page(read_project(loop, NOW), Place()))
    assert "no model yet" in told
    assert "No partition with known labels has been scored yet." in told
    with pytest.raises(InputError, match="was not ingested; the newest one is none yet"):
        read_partition(loop, KEY)


def test_one_partition_and_its_loss_are_drawn(loop):
    publish(loop)
    serve(loop)
    measure(loop)
    view = read_project(loop, NOW)
    assert [(champion.version, champion.first, champion.last) for champion in view.champions] == [("1", KEY, KEY)]
    assert (view.row.champion, view.row.loss_at_promotion, view.losses[0].loss) == ("1", 0.5, 0.45)
    page = rooms.project_page(view, Place())
    assert b"NaN" not in page
    assert b"nan" not in re.sub(rb"<[^>]+>", b"", page)
    assert "promoted version 1 (refresh): proved" in read(page)
    assert "Scored as" in read(rooms.partition_page(read_partition(loop, KEY), Place()))


def test_each_page_says_which_environment_it_is_of_and_a_project_by_which_file(loop, tmp_path):
    assert b"environment" not in rooms.project_page(read_project(loop, NOW), Place())
    project = loop.project.model_copy(update={"environment": "staging", "folder": tmp_path})
    there = Place(environment="staging")
    staging = replace(loop, project=project)
    told = read(rooms.project_page(read_project(staging, NOW), there))
    assert "Updraft staging / " in told
    assert "Environment staging: there is no project.staging.yaml, project.yaml alone holds." in told
    (tmp_path / "project.staging.yaml").write_text("{}\n")
    told = read(rooms.project_page(read_project(staging, NOW), there))
    assert "Environment staging: project.staging.yaml overrides project.yaml." in told
    assert "Updraft staging" in read(rooms.fleet_page(make_fleet([], NOW), there, Filter()))


@pytest.mark.parametrize("layers", [2, 4])
def test_the_course_of_the_calibration_layer_has_a_heading_where_it_is_drawn(loop, layers):
    publish(loop)
    serve(loop)
    measure(loop)
    for number in range(layers):
        layer = {"intercept": 0.1, "slope": 1.0 + number / 10}
        decide(loop, "recalibrate", f"1@{number}", version="1", layer=layer, reason="walk-forward gain")
    page = rooms.project_page(read_project(loop, NOW), Place())
    assert (b"Slope of the calibration layer" in page) == (b"slope of the calibration layer on what serves" in page)
    assert (b"Slope of the calibration layer" in page) == (layers == 4)


def test_a_partition_is_ingested_anew_where_its_tick_has_passed_and_is_one(loop):
    assert partition_to_ingest(loop, KEY, NOW) == KEY
    with pytest.raises(InputError, match=r"is no tick of data\.schedule"):
        partition_to_ingest(loop, "2013-01-27T0500", NOW)
    with pytest.raises(InputError, match="does not read as a tick"):
        partition_to_ingest(loop, "yesterday", NOW)
    with pytest.raises(InputError, match="2013-02-04T0500 ends only at 2013-02-04 05:00 UTC"):
        partition_to_ingest(loop, "2013-02-04T0500", NOW)


@pytest.mark.parametrize("may", [frozenset(), frozenset({"ingest"})])
def test_a_partitions_page_offers_to_ingest_it_anew_to_who_may(loop, may):
    publish(loop, state="refused")
    page = rooms.partition_page(read_partition(loop, KEY), Place(may=may))
    assert (b'actions/ingest"' in page) is bool(may)
    assert (f'name="partition" value="{KEY}"'.encode() in page) is bool(may)


def test_the_fleet_shows_first_who_needs_a_person_and_why(loop, tmp_path):
    publish(loop)
    serve(loop)
    fresh = read_row(loop, NOW)
    diagnosis = {"cause": "performance", "remedy": "person", "words": "two trainings did not help"}
    loop.store.open_episode(EpisodeRow("e1", loop.name, KEY, "performance", "person", "closed", diagnosis, None, KEY))
    degraded = read_row(loop, NOW)
    assert (fresh.needs_person, degraded.state, degraded.reason) == (False, "degraded", "two trainings did not help")
    folder = tmp_path / "projects" / "alpha"
    folder.mkdir(parents=True)
    (folder / "project.yaml").write_text("name: alpha\n")
    broken = Catalogue(tmp_path / "projects").project("alpha")
    assert isinstance(broken, BrokenProject)
    others = [fresh.model_copy(update={"project": "b", "owner": "shop", "tags": ("eu",)}), broken_row(broken)]
    fleet = make_fleet([*others, degraded], NOW)
    assert [(row.project, row.state) for row in fleet.rows][:2] == [("alpha", "broken"), (loop.name, "degraded")]
    assert fleet.owners == (loop.spec.owner, "shop")
    told = read(rooms.fleet_page(fleet, Place(), Filter()))
    assert told.index("alpha") < told.index("two trainings did not help")
    only = read(rooms.fleet_page(fleet, Place(), Filter(owner="shop")))
    assert "two trainings" not in only
    assert loop.name in read(rooms.fleet_page(fleet, Place(), Filter(state="needs you")))
    assert "No project is like this." in read(rooms.fleet_page(fleet, Place(), Filter(tag="none")))


def test_a_project_is_read_again_when_a_file_of_it_changes(tmp_path):
    folder = tmp_path / "alpha"
    folder.mkdir()
    (folder / "project.yaml").write_text("name: alpha\n")
    catalogue = Catalogue(tmp_path)
    first = catalogue.project("alpha")
    assert catalogue.project("alpha") is first
    (folder / "project.yaml").write_text("name: alpha\nowner: me\n")
    assert catalogue.project("alpha") is not first


def test_ten_thousand_decisions_are_read_by_pages_of_them(loop):
    publish(loop)
    serve(loop)
    from updraft.store import tables as t

    last = loop.store.link(loop.name, loop.store.last_seq(loop.name))
    body = {"version": "1", "lane": "refresh", "gates": {}}
    kinds = [
        {"project": loop.name, "seq": last.seq + n, "key": KEY, "kind": "accept", "subject": f"run-{n}", "body": body}
        | {"previous_sha256": "0" * 64, "sha256": "1" * 64, "form": 2}
        for n in range(1, 10_001)
    ]
    with loop.store.engine.begin() as connection:
        connection.execute(t.decisions.insert(), kinds)
    newest = read_project(loop, NOW)
    assert [decision.seq for decision in newest.decisions] == [last.seq + 10_000 - n for n in range(DECISIONS)]
    older = read_project(loop, NOW, before=newest.older)
    assert older.decisions[0].seq == newest.older - 1
    assert len(rooms.project_page(newest, Place())) < 200_000


@pytest.mark.parametrize("words", TEXTS.values(), ids=TEXTS.keys())
def test_texts_of_a_feed_are_texts_on_each_page_and_in_json(loop, words):
    column = version = words
    publish(loop, sources={"flights": {"rows": 3, "reasons": {words: 2}, "quarantined": 2}})
    serve(loop)
    measure(loop)
    scores = {column or "c": 1.5}
    drift = {"score": 1.5, "threshold": 1.0, "alarm": True, "column": column, "reason": words, "scores": scores}
    diagnosis = {"remedy": "person", "words": words or "none"}
    decide(loop, "diagnose", KEY, drift=drift, diagnosis=diagnosis, episode=words)
    loop.store.open_episode(EpisodeRow("e", loop.name, KEY, "performance", "person", "closed", diagnosis, None, KEY))
    decide(loop, "pass_over", KEY, partition=KEY, fate=words, by=words, reason=words)
    view, partition = read_project(loop, NOW), read_partition(loop, KEY)
    row = view.row.model_copy(update={"champion": version, "tags": (words,), "owner": words})
    place = Place(may=frozenset({"readmit", "train"}), user=words)
    pages = [
        rooms.project_page(view.model_copy(update={"row": row}), place),
        rooms.partition_page(partition, place),
        rooms.fleet_page(make_fleet([row], NOW), place, Filter()),
        rooms.lost_page(words, place),
    ]
    for page in pages:
        assert b"<img" not in page
        assert page.count(b"<script") == 1
        assert b"onerror=alert(1)>\xef" not in page
        assert b" style=" not in page
    for answer in (view, partition):
        assert type(answer).model_validate_json(answer.model_dump_json().encode(errors="replace"))


def opened(loop, gains, lane="change"):
    publish(loop)
    serve(loop)
    result = {"gates": {"passed": True, "metrics": {}}, "trainer": {"name": "xgboost", "params": {"max_depth": 4}}}
    loop.store.record_training(TrainingRow("run-2", loop.name, KEY, None, None, "registered", "2", result))
    row = ReleaseRow(f"{loop.name}-v2", loop.name, lane, "2", "1", "shadow", None, None, KEY, None)
    open_release(loop.store, row)
    evidence = [EvidenceRow(f"day {n:02}", "2013-02-04T0500", 10, gain, {}) for n, gain in enumerate(gains)]
    loop.store.record_evidence(loop.name, row.id, evidence)
    return row


def test_a_release_shows_its_bound_and_when_a_verdict_is_likely(loop):
    row = opened(loop, [0.03 + 0.01 * (n % 3) for n in range(12)])
    view = read_release(loop, row.id)
    assert len(view.bound) == 12
    assert view.bound[-1].lower is not None
    assert view.bound[-1].lower < view.bound[-1].mean < view.bound[-1].upper
    assert view.likely.passes > view.likely.fails
    told = read(rooms.release_page(view, Place()))
    assert "After 12 days the mean gain is +0.0400" in told
    assert "if what comes is like what came" in told.lower()
    assert "Approve" not in told
    with pytest.raises(InputError, match="there is no release 'none'"):
        read_release(loop, "none")


def test_a_release_without_evidence_is_shown_all_the_same(loop):
    view = read_release(loop, opened(loop, []).id)
    assert (view.bound, view.likely) == ((), None)
    assert "No rows with known labels to compare yet." in read(rooms.release_page(view, Place()))


def test_who_may_answer_finds_both_answers_where_one_is_asked(loop):
    view = read_release(loop, opened(loop, []).id).model_copy(update={"asks": True, "state": "approval"})
    assert b'data-opens="act-approve"' in rooms.release_page(view, Place(may=frozenset({"answer"})))
    assert b"data-opens" not in rooms.release_page(view, Place())


def test_versions_are_compared_by_what_they_were_made_of(loop):
    opened(loop, [])
    view = read_version(loop, "2")
    assert view.others == ("1",)
    differences = {part.what: (part.this, part.other) for part in compare_versions(loop, "2", "1").differences}
    assert differences["parameter max_depth"] == ("4", "")
    assert "parameter max_depth" in read(rooms.version_page(view, Place(), compare_versions(loop, "2", "1")))
    assert [decision["kind"] for decision in audit_bundle(loop, "1")["decisions"]] == ["promote"]
    for wrong in ("2", "999"):
        with pytest.raises(InputError):
            compare_versions(loop, "2", wrong)


def test_the_same_gains_give_the_same_future_and_hopeless_ones_none():
    gains = [0.01, -0.02, 0.005, 0.0, 0.01, -0.01, 0.015, 0.0]
    assert likely_end(gains, 20, 0.0, 0.95, "day") == likely_end(gains, 20, 0.0, 0.95, "day")
    assert likely_end([0.0] * 8, 5, 0.0, 0.95, "day").clusters is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5), st.floats(-1, 1)), max_size=30))
def test_a_cluster_in_several_parts_is_one_point_of_the_bound(parts):
    clusters = [ClusterGain(name, KEY, rows, gain) for name, rows, gain in parts]
    points = bound_points(clusters, 0.95)
    assert sorted(point.cluster for point in points) == sorted({name for name, rows, _ in parts if rows})


def test_remedies_are_stopped_with_a_reason_and_status_says_so(loop):
    publish(loop)
    serve(loop)
    with pytest.raises(InputError, match="give a reason"):
        stop(loop, by="jane", reason=" ")
    assert stop(loop, by="jane", reason="clocks") == f"{loop.name}: the remedies are stopped"
    assert stop(loop, by="joe", reason="again") == f"{loop.name}: the remedies are stopped already"
    assert stopped_remedies(loop.store, loop.name).body["by"] == "jane"
    row = read_row(loop, NOW)
    assert row.state == "remedies stopped"
    assert row.reason in outlook(loop.spec, read_standing(loop, NOW))
    assert row.reason.startswith("no training: jane stopped the remedies")
    assert "stopped the remedies (by jane): clocks" in read(rooms.project_page(read_project(loop, NOW), Place()))
    assert resume(loop, by="jane", reason="done") == f"{loop.name}: the remedies go on"
    assert stop(loop, by="jane", reason="once more") == f"{loop.name}: the remedies are stopped"
    assert loop.store.verify_chain(loop.name) == 4
    with pytest.raises(InputError, match="is not kept out"):
        readmit_partition(loop, KEY, by="jane", reason="right")


def test_two_hundred_rows_are_shown_within_a_second_and_read_anew_beside(loop):
    publish(loop)
    serve(loop)
    row, clock, read = read_row(loop, NOW), [NOW], []

    def anew(name):
        read.append(name)
        return row.model_copy(update={"project": name})

    kept, names = KeptRows(anew, lambda: clock[0]), [f"project_{n:03}" for n in range(200)]
    kept.fleet(names)
    begun = time.process_time()
    assert len(rooms.fleet_page(kept.fleet(names), Place(), Filter())) > 100_000
    took = time.process_time() - begun
    assert read == names
    assert took < 1
    kept.forget("project_007")
    kept.fleet(names)
    assert read[200:] == ["project_007"]
    clock[0] += FRESH
    assert kept.fleet(names[:1]).as_of == NOW
    deadline = time.monotonic() + 20
    while len(read) < 202:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert read[201:] == names[:1]
    clock[0] += OLD
    assert kept.fleet(names[:3]).as_of == clock[0]


def test_an_empty_fleet_says_so():
    assert "There is no project that you may see." in read(rooms.fleet_page(make_fleet([], NOW), Place(), Filter()))


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_of_a_scale_lie_within_it(low, span):
    scale = Scale(low, low + span, 0, 100)
    beside = 1e-6 * (1 + span)
    assert all(low - beside <= tick <= low + span + beside for tick in scale.ticks())
    assert spanning([low], 0, 1)(low) == pytest.approx(0.5)


def test_an_element_escapes_its_attributes_and_texts():
    assert element("text", "<b>", x=1.0, class_='"') == '<text x="1" class="&#34;">&lt;b&gt;</text>'
