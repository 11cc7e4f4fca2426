"""What a scraper reads: of projects that run, that are broken, that are new; and that it costs the same after a long history."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import hours
from tests.support.flights import fresh_loop

from updraft.alerts import outbox
from updraft.alerts.alert import Alert
from updraft.control.exposition import Family, Sample, exposition
from updraft.control.metrics import FAMILIES, scrape
from updraft.data.partitions import tick_of
from updraft.loop.auditing import audit_decisions, keep_audit
from updraft.loop.stopping import stop_remedies
from updraft.spec.load import load_project_or_problems
from updraft.store.records import EpisodeRow, IngestedPartition
from updraft.store.store import Store

NAME = re.compile(r"[a-z_]+")
LINE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
NOW = datetime(2013, 1, 8, tzinfo=UTC)


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by family and labels, read as the format's grammar says, each family after its own HELP and TYPE."""
    assert text.endswith("\n")
    values: dict[str, dict[tuple[str, ...], float]] = {}
    head: list[str] = []
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            kind, name, _ = line[2:].split(" ", 2)
            head = [*head, kind] if kind == "TYPE" else [name, kind]
            assert head in ([name, "HELP"], [name, "HELP", "TYPE"])
            continue
        match = LINE.fullmatch(line)
        assert match is not None, line
        name, labels, value = match.groups()
        assert head == [name, "HELP", "TYPE"]
        shown = re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', labels or "")
        unescaped = tuple(
            re.sub(r"\\(.)", lambda escaped: {"n": "\n"}.get(escaped[1], escaped[1]), text) for _, text in shown
        )
        assert unescaped not in values.setdefault(name, {})
        values[name][unescaped] = float(value)
    return values


def scraped(loop, now):
    return read(scrape([loop.name], lambda _: loop, lambda: loop.store, loop.settings.home, now))


def test_what_runs_is_told_as_the_store_has_it(watched):
    (loop, now), p = watched, ("hours",)
    values = scraped(loop, now)
    newest = now - timedelta(minutes=5)
    ticks = values["updraft_partition_timestamp_seconds"]
    assert ticks == {(*p, step): newest.timestamp() for step in ("ingested", "published", "monitored")}
    assert values["updraft_partition_interval_seconds"] == {p: 3600}
    assert values["updraft_partitions"] == {(*p, "published"): 113}
    assert values["updraft_project_info"] == {(*p, "hours-ml", "binary", "log_loss"): 1}
    assert values["updraft_champion_info"] == {(*p, "3"): 1}
    trained = tick_of(hours.key(90)).timestamp()
    assert values["updraft_training_timestamp_seconds"] == {(*p, "helped"): trained, (*p, "newest"): trained}
    assert values["updraft_champion_since_timestamp_seconds"] == {p: trained}
    assert (values["updraft_training_budget"], values["updraft_training_budget_left"]) == ({p: 365}, {p: 362})
    [measured] = loop.store.performance("hours", newest=1)
    assert values["updraft_loss"] == {p: measured.metrics["log_loss"]}
    assert values["updraft_loss_partition_timestamp_seconds"] == {p: tick_of(measured.key).timestamp()}
    gates = loop.store.training_of("hours", "3").result["gates"]
    assert values["updraft_loss_at_promotion"] == {p: gates["metrics"]["log_loss"]["candidate"]}
    [diagnosis] = loop.store.newest_decisions("hours", ("diagnose",), 1)
    assert values["updraft_drift_score"] == {p: diagnosis.body["drift"]["score"]}
    assert values["updraft_drift_threshold"] == {p: diagnosis.body["drift"]["threshold"]}
    assert values["updraft_quarantined_ratio"] == {p: 1 / 61}
    assert values["updraft_kept_out_ratio"] == {p: 0}
    assert values["updraft_project_error"] == {(*p, "folder"): 0, (*p, "reading"): 0}
    assert values["updraft_project_state"][*p, "in probation"] == sum(values["updraft_project_state"].values()) == 1
    assert values["updraft_decisions"] == {p: len(loop.store.decisions("hours"))}
    assert 0 <= values["updraft_tick_duration_seconds"][p] < 3600
    assert "updraft_chain_verified_timestamp_seconds" not in values, "nobody has looked yet"
    labels = (*p, "hours-v3", "3", "refresh", "probation")
    assert values["updraft_release_opened_timestamp_seconds"] == {labels: trained}
    assert values["updraft_release_partitions"] == {(*p, "hours-v3"): 22}
    assert values["updraft_releases_open"] == {(*p, "shadow"): 0, (*p, "approval"): 0, (*p, "probation"): 1}


def test_what_people_wait_for_is_told(watched):
    (loop, now), p = watched, ("hours",)
    store, before = loop.store, scraped(loop, now)
    assert before["updraft_alerts_undelivered"][p] == 0
    assert before["updraft_incidents_open"] == {p: 0}
    alert = Alert(
        project="hours", kind="failure", dedup="a", title="t", text="", does="", needs="", incident="task:x", part="p"
    )
    outbox.record(store.engine, alert)
    store.open_episode(EpisodeRow("e", "hours", hours.key(111), "drift", "retrain", "due", {"words": ""}, None, None))
    stop_remedies(store, "hours", by="ann", reason="a look")
    keep_audit(store, audit_decisions(store, loop.settings, "hours", None), now)
    after = scraped(loop, now)
    assert after["updraft_alerts_undelivered"][p] == 1
    assert abs(after["updraft_alerts_undelivered_timestamp_seconds"][p] - datetime.now(UTC).timestamp()) < 60
    assert after["updraft_incidents_open"] == {p: 1}
    assert after["updraft_episodes_open"] == {(*p, "due"): 1, (*p, "started"): 0}
    assert after["updraft_episode_opened_timestamp_seconds"] == {p: tick_of(hours.key(111)).timestamp()}
    assert after["updraft_remedies_stopped"] == {p: 1}
    assert after["updraft_chain_verified_timestamp_seconds"] == {p: now.timestamp()}
    later = scraped(loop, now + timedelta(hours=6))
    assert later["updraft_partitions_wanted"][*p, "late"] == 5
    assert later["updraft_project_needs_person"] == {p: 1}


def test_a_project_that_cannot_be_read_takes_nothing_from_the_others(watched, tmp_path, caplog):
    (tmp_path / "broken").mkdir()
    broken = load_project_or_problems(tmp_path / "broken")

    def project(name):
        if name == "harmed":
            raise RuntimeError("the disk is full")
        return broken if name == "broken" else watched[0]

    values = read(scrape(["broken", "harmed", "hours"], project, lambda: watched[0].store, tmp_path, watched[1]))
    errors = values["updraft_project_error"]
    assert {labels for labels, value in errors.items() if value} == {("broken", "folder"), ("harmed", "reading")}
    assert set(values["updraft_partition_interval_seconds"]) == {("hours",)}
    assert values["updraft_projects"] == {(): 3}
    assert "the disk is full" in caplog.text


def test_a_store_that_is_away_is_asked_once_and_told(watched, tmp_path):
    asked = Counter()

    def project(name):
        asked[name] += 1
        return watched[0]

    away = Store(sa.create_engine("postgresql+psycopg2://u:p@127.0.0.1:1/d"))
    values = read(scrape(["hours"], project, lambda: away, tmp_path, watched[1]))
    assert values["updraft_store_up"] == {(): 0}
    assert not asked
    assert "updraft_partitions" not in values


def test_a_project_without_a_partition_has_no_figures_and_no_error(tmp_path):
    loop, _ = fresh_loop(tmp_path)
    values = scraped(loop, NOW)
    assert not sum(values["updraft_project_error"].values())
    assert values["updraft_project_state"][loop.name, "no model yet"] == 1
    assert not {"updraft_loss", "updraft_drift_score", "updraft_partition_timestamp_seconds"} & set(values)


def test_names_are_as_prometheus_asks():
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert NAME.fullmatch(family.name)
        assert family.name.startswith("updraft_")
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket")), "all are gauges"
        assert ("timestamp" in family.name) <= family.name.endswith("_timestamp_seconds")
        assert family.help.endswith(".")


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read_back_as_it_was(text, value):
    family = Family("updraft_tried", 'a \\ and a "line\nbreak".', ("text",))
    shown = exposition([family], [Sample(family, (text,), value)])
    sound = text.encode("utf-8", "replace").decode()
    assert read(shown) == {"updraft_tried": {(sound,): value}}


def test_two_samples_of_the_same_labels_are_an_error_before_a_scraper_finds_it():
    family = Family("updraft_tried", "Tried.", ("text",))
    with pytest.raises(ValueError, match="come twice"):
        exposition([family], [Sample(family, ("a",), 1), Sample(family, ("a",), 2)])
    with pytest.raises(ValueError, match="no such name: a-b, __c"):
        Family("a-b", "x.", ("__c",))


def test_an_empty_partition_has_no_share_of_quarantine(tmp_path):
    loop, _ = fresh_loop(tmp_path)
    row = IngestedPartition("2013-01-07T0500", "empty", None, None, 0, 0, None, checks={}, profile=None)
    loop.store.record_partition(loop.name, row)
    values = scraped(loop, NOW)
    assert "updraft_quarantined_ratio" not in values
    assert values["updraft_rows"] == {(loop.name, "published"): 0, (loop.name, "quarantined"): 0}
