"""The question whether a version may serve says what the answer depends on, as of now, and lets no text of others be more than text."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from tests.support import releases
from tests.support.flights import PROJECTS

from updraft.alerts.outbox import recent
from updraft.loop.alerting import release_alerts
from updraft.loop.approval_question import approval_question
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels
from updraft.settings import Settings
from updraft.spec.load import load_project
from updraft.store.records import EvidenceRow, ReleaseRow, TrainingRow
from updraft.store.store import Store
from updraft.store.transitions import open_release

PROJECT, KEY, NOW = "flight_delays", "2013-03-04T0500", "2013-03-18T0500"
ASKED = datetime(2026, 11, 29, 15, 30, tzinfo=UTC)
UNTIL = datetime(2026, 12, 6, 15, 30, tzinfo=UTC)
LINKS = {"Evidence": "http://airflow/evidence.png", "Nowhere": "javascript:alert(1)"}


@pytest.fixture
def loop(store_url, tmp_path):
    store = Store.open(store_url)
    env = {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_PROJECTS": str(PROJECTS), "UPDRAFT_AIRFLOW": "http://airflow"}
    yield Loop(load_project(PROJECTS / PROJECT), Settings.from_env(env), store, KeptModels())
    store.close()


def trained(loop: Loop, version: str, *, params: dict[str, object], reason: str = "", features: str = "a") -> None:
    gates = {"passed": True, "against": "champion", "metrics": {"log_loss": {"candidate": 0.4, "against": 0.5}}}
    result = {"trainer": {"name": "xgboost", "params": params}, "gates": gates, "recipe_sha256": f"{params}{features}"}
    run = f"run-{version}"
    loop.store.record_training(TrainingRow(run, PROJECT, KEY, None, None, "registered", version, result))
    loop.store.record_run(PROJECT, run, "plan", {"reason": reason})
    loop.store.record_run(PROJECT, run, "request", {"features_sha256": features})


def with_champion(loop: Loop, version: str, *, against: str | None = None) -> None:
    release = f"{PROJECT}-v{version}"
    open_release(loop.store, ReleaseRow(release, PROJECT, "refresh", version, against, "shadow", None, None, KEY, None))
    releases.promoted(loop.store, release, key=KEY)


def asked(loop: Loop, *, days: int, gain: float, slices: dict[str, tuple[int, float]] | None = None) -> str:
    release = f"{PROJECT}-v9"
    open_release(loop.store, ReleaseRow(release, PROJECT, "change", "9", "1", "shadow", None, None, KEY, None))
    noise = np.random.default_rng(1).normal(0, 0.01, days).tolist()
    rows = [
        EvidenceRow(
            *(f"2013-03-{n + 1:02}", KEY, 500, gain + each),
            slices={name: (count, mean + each) for name, (count, mean) in (slices or {}).items()},
            against="1",
        )
        for n, each in enumerate(noise)
    ]
    loop.store.record_evidence(PROJECT, release, rows)
    releases.approval(loop.store, release, key=NOW, reason="shown better | <b>really</b>")
    return release


def body_of(loop: Loop, release: str) -> str:
    return approval_question(loop, release, ASKED, UNTIL, LINKS).body


def test_it_shows_what_serves_gain_and_bound_margin_changes_slices_who_asks_and_until_when(loop):
    trained(loop, "1", params={"max_depth": 2, "eta": 0.1})
    with_champion(loop, "1")
    trained(loop, "9", params={"max_depth": 6, "eta": 0.1, "rounds": 60}, reason="deeper trees", features="b")
    release = asked(loop, days=20, gain=0.05, slices={"origin=JFK": (500, 0.02), "origin=EWR": (500, -0.3)})
    question = approval_question(loop, release, ASKED, UNTIL, LINKS)
    assert question.subject == "flight_delays: may version 9 serve in place of version 1?"
    assert question.body.startswith("| As of 2026-11-29 15:30 UTC |")
    rows = dict(line.strip("|").split("|", 1) for line in question.body.splitlines()[2:] if line.startswith("|"))
    facts = {what.strip(" *"): words.strip() for what, words in rows.items()}
    assert facts["Serves now"] == f"version 1, since {KEY}"
    assert facts["Gain"].startswith("+0.05")
    assert "over 20 days" in facts["Gain"]
    assert "Between +0.0" in facts["Gain"]
    assert facts["To be passed"].startswith("-0.02, by the lower end")
    assert facts["What changed"] == "max\\_depth: 2 → 6; rounds: default → 60; features.py"
    assert facts["Slices, least gain first"].startswith("origin=EWR -0.29")
    assert "shown worse\\), origin=JFK +0.02" in facts["Slices, least gain first"]
    assert facts["Trained"] == f"at {KEY}, started by hand: deeper trees"
    assert facts["Answer until"].startswith("2026-12-06 15:30 UTC")
    assert "Mind" not in facts
    assert "**Approve**: version 9 serves" in question.body
    assert "**Reject**: the release is closed, and version 1 serves on" in question.body
    assert "[Evidence](http://airflow/evidence.png)" in question.body


def test_text_of_others_is_text_and_a_link_leads_to_a_page(loop):
    release = asked(loop, days=3, gain=0.0)
    body = body_of(loop, release)
    assert "shown better \\| \\<b\\>really\\</b\\>" in body
    assert "javascript" not in body


def test_it_says_why_there_is_no_band_yet(loop):
    release = asked(loop, days=3, gain=0.01)
    assert "No band yet: the first look is after 7" in body_of(loop, release)


def test_it_minds_that_something_else_serves_than_what_the_evidence_compares_with(loop):
    with_champion(loop, "1")
    release = asked(loop, days=10, gain=0.05)
    with_champion(loop, "2", against="1")
    body = body_of(loop, release)
    assert "version 2, since" in body
    assert "of 10 clusters 10 compare with what does not serve any more: 10 with version 1" in body


def test_the_first_model_of_a_project_takes_nobodys_place(loop):
    release = asked(loop, days=0, gain=0.0)
    question = approval_question(loop, release, ASKED, UNTIL, {})
    assert question.subject == "flight_delays: may version 9 serve?"
    assert "nothing serves" in question.body
    assert "no rows with known labels to compare yet" in question.body


def test_the_verdict_before_an_approval_says_that_it_waits_and_links_to_the_release(loop):
    with_champion(loop, "1")
    release = asked(loop, days=20, gain=0.05)
    body = {"version": "9", "verdict": "promote", "reason": "shown better", "evidence": {}}
    loop.store.decide(PROJECT, key=NOW, kind="verdict", subject=release, body=body)
    release_alerts.of_release(loop, release)
    [alert] = [entry.alert for entry in recent(loop.store.engine, PROJECT) if entry.alert.title == "Version 9: promote"]
    assert alert.does.startswith("It waits for a person's approval")
    assert list(alert.links.values()) == [f"http://airflow/updraft/projects/{PROJECT}/releases/{release}"]
