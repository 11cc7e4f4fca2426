"""Groups are compared at the gates of a training: on flights, and on a table whose groups are as ugly as tables are."""

from __future__ import annotations

import copy
import csv

import numpy as np
import pytest
from markupsafe import escape
from tests.support import flights
from tests.support.made_project import MadeProject

from updraft.alerts import outbox
from updraft.control.version import read_version
from updraft.loop.alerting import training_alerts
from updraft.loop.context import Loop
from updraft.loop.decision_words import in_words
from updraft.loop.in_process import KeptModels, play
from updraft.loop.ingest import ingest
from updraft.pages import rooms
from updraft.pages.rooms import Place
from updraft.spec.fairness import Fairness
from updraft.store.store import Store

STRANGE = 'x, "q" <b>&amp;'
DAYS, ROWS, STRANGE_ROWS = 5, 480, 3


def write_day(made: MadeProject, day: int) -> None:
    """Orders of a day: those of `f` are larger, and so late more often; some of no group, three of a strange one."""
    rng = np.random.default_rng(day)
    sex = np.where(rng.random(ROWS) < 0.5, "f", "m").astype(object)
    sex[rng.random(ROWS) < 0.1] = ""
    sex[:STRANGE_ROWS] = STRANGE
    amount = rng.normal(0, 1, ROWS) + np.where(sex == "f", 1.2, 0)
    late = rng.random(ROWS) < 1 / (1 + np.exp(-2 * (amount - 0.6)))
    with made.file(day).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "at", "shop", "amount", "sex", "late"])
        writer.writerows(
            (
                1000 * day + n,
                f"2024-01-{day:02}T{n % 24:02}:{n // 24:02}:00Z",
                "abc"[n % 3],
                amount[n],
                sex[n],
                int(late[n]),
            )
            for n in range(ROWS)
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The orders, whose features are amount and shop: the protected column is none of them."""
    project = MadeProject(tmp_path_factory.mktemp("groups"), DAYS)
    for day in range(1, DAYS + 1):
        write_day(project, day)
    return project


def played(made: MadeProject, **fairness: object) -> Loop:
    policy = {
        "by": ["sex"],
        "metrics": ["selection_rate", "true_positive_rate", "calibration"],
        "min_rows": 50,
        **fairness,
    }
    made.write(lambda spec: spec.update(gates={"fairness": policy} if fairness else {}))
    models = KeptModels()
    loop = Loop(made.project, made.settings, Store.in_memory(), models)
    for day in range(1, DAYS + 1):
        play(loop, models, ingest(loop, f"2024-01-{day + 1:02}T0000"))
    return loop


def test_a_model_whose_groups_are_shown_to_lie_too_far_apart_is_refused_and_it_is_told(made):
    loop = played(made, no_worse_than=0.15)
    first = loop.store.decisions(loop.name, kinds=("accept", "refuse"))[0]
    assert first.kind == "refuse"
    gaps = first.body["gates"]["fairness"]
    assert [name for name, gap in gaps.items() if not gap["passed"]] == [
        "selection_rate by sex",
        "true_positive_rate by sex",
    ]
    groups = gaps["selection_rate by sex"]["groups"]
    assert {*list(groups)[:2]} == {"f", "m"}
    assert list(groups)[2:] == [STRANGE, "(no value)"]
    assert [group["decides"] for group in groups.values()] == [True, True, False, False]
    assert groups[STRANGE]["rows"] == STRANGE_ROWS
    assert groups["f"]["clusters"] == groups["m"]["clusters"] == 23, "labels of the last hour are not known yet"
    assert groups["f"]["candidate"] - groups["m"]["candidate"] == pytest.approx(
        gaps["selection_rate by sex"]["candidate"]
    )
    assert "selection_rate by sex: gap 0." in in_words(first)
    assert "shown to be above the 0.15 allowed" in in_words(first)
    assert loop.store.serving(loop.name).champion is None
    [training] = [row for row in loop.store.trainings(loop.name) if row.id == first.subject]
    training_alerts.trained(loop, training.id, first.body["version"], first.body["gates"])
    told = " ".join(str(stored.alert) for stored in outbox.standing(loop.store.engine, loop.name).latest)
    assert "selection_rate by sex: gap 0." in told
    loop.store.close()


def test_one_that_is_as_allowed_serves_and_its_page_has_the_groups(made):
    loop = played(made, no_worse_than=0.9)
    first = loop.store.decisions(loop.name, kinds=("accept", "refuse"))[0]
    assert first.kind == "accept"
    assert f"left out as too small: {STRANGE}" in in_words(first)
    gaps = {gap.name: gap for gap in read_version(loop, first.body["version"]).gate_groups}
    assert set(gaps) == {f"{rate} by sex" for rate in ("selection_rate", "true_positive_rate", "calibration")}
    assert all(gap.passed and gap.limit == 0.9 for gap in gaps.values())
    assert gaps["selection_rate by sex"].lower > 0.15
    page = rooms.version_page(read_version(loop, first.body["version"]), Place()).decode()
    assert "selection rate by sex" in page
    assert str(escape(STRANGE)) in page
    assert STRANGE not in page
    loop.store.close()


def test_nothing_else_is_decided_or_learnt_otherwise_for_it(made):
    plain, with_groups = played(made), played(made, no_worse_than=0.9)
    decisions = [copy.deepcopy(loop.store.decisions(loop.name)) for loop in (plain, with_groups)]
    compared = [decision.body["gates"].pop("fairness", None) for decision in decisions[1] if "gates" in decision.body]
    assert compared
    assert all(compared)
    bodies = [[(d.key, d.kind, d.subject, d.body) for d in of_loop] for of_loop in decisions]
    assert bodies[0] == bodies[1]
    recipes = [
        [row.result["recipe_sha256"] for row in loop.store.trainings(loop.name)] for loop in (plain, with_groups)
    ]
    assert recipes[0] == recipes[1]
    for loop in (plain, with_groups):
        loop.store.close()


@pytest.fixture(scope="module")
def by_airport(lake):
    """Flights whose later models may not treat airports and carriers further apart than the champion does."""
    home, rows = lake
    project = flights.flights()
    fairness = Fairness(
        by=("origin", "carrier"),
        metrics=("selection_rate", "false_positive_rate"),
        no_worse_than="champion",
        threshold=0.25,
    )
    gates = project.spec.gates.model_copy(update={"fairness": fairness})
    spec = project.spec.model_copy(update={"gates": gates})
    loop, _ = flights.played(home, rows, project.model_copy(update={"spec": spec}))
    yield loop
    loop.store.close()


def test_flights_are_compared_by_airport_and_carrier_with_the_champion_on_the_same_rows(by_airport):
    trained = [row.result["gates"] for row in by_airport.store.trainings(by_airport.name)]
    assert len(trained) > 1
    names = {
        f"{rate} by {column}" for column in ("origin", "carrier") for rate in ("selection_rate", "false_positive_rate")
    }
    assert all(set(gates["fairness"]) == names for gates in trained)
    assert {gap["undecided"] for gap in trained[0]["fairness"].values()} == {"no champion to compare with"}
    assert trained[0]["passed"]
    for gap in trained[-1]["fairness"].values():
        assert gap["undecided"] == ""
        assert gap["champion"] is not None
        assert gap["lower"] <= gap["candidate"] - gap["champion"] <= gap["upper"]
        assert gap["passed"] == (gap["lower"] <= 1e-9)
    origins = trained[-1]["fairness"]["selection_rate by origin"]["groups"]
    assert set(origins) == {"EWR", "JFK", "LGA"}
    assert sum(group["rows"] for group in origins.values()) == trained[-1]["rows"]
    carriers = trained[-1]["fairness"]["selection_rate by carrier"]["groups"]
    assert {group["decides"] for group in carriers.values()} == {True, False}
