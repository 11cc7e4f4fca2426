"""The whole loop with a label of three classes: what is published, scored, measured, recalibrated, judged, and told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.support.grades import CLASSES, ROWS, Grades, by_score

from updraft import files
from updraft.alerts import outbox
from updraft.backtest.history import history
from updraft.data.vectors import as_cells, as_values
from updraft.errors import DataError
from updraft.evaluation.card import card_html
from updraft.loop.accounting import accounted, in_words
from updraft.loop.card import card_data
from updraft.loop.context import Loop
from updraft.loop.in_process import KeptModels, play
from updraft.loop.ingest import ingest
from updraft.loop.labelled import guard, holdout_of
from updraft.loop.side_by_side import side_by_side
from updraft.loop.train import evaluate, prepare, train_here
from updraft.registry.mlflow_registry import _assemble
from updraft.store.store import Store
from updraft.tasks.losses import CLIP
from updraft.training.model import load_model

DAYS, FIRST_HIGH, UNLISTED = 11, 6, 8
LAST = f"2024-01-{DAYS + 1:02}T0000"


def key(day: int) -> str:
    return f"2024-01-{day + 1:02}T0000"


def late_high(day: int, x: np.ndarray, rng: np.random.Generator) -> list[str]:
    """The highest class does not come before a day; on another one, some labels are of a class that nobody named."""
    grades = by_score(day, x, rng)
    if day < FIRST_HIGH:
        grades = [CLASSES[1] if grade == CLASSES[2] else grade for grade in grades]
    return ["outstanding", *grades[1:]] if day == UNLISTED else grades


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    made = Grades(tmp_path_factory.mktemp("grades"), DAYS, late_high)
    models = KeptModels()
    loop = Loop(made.project, made.settings, Store.in_memory(), models)
    for day in range(1, DAYS + 1):
        play(loop, models, ingest(loop, key(day)))
    yield loop
    loop.store.close()


def test_labels_are_positions_in_the_list_and_one_of_no_class_is_left_out_counted_and_told(played) -> None:
    row = played.store.partition("grades", key(UNLISTED + 1))
    counts = played.store.partition("grades", key(UNLISTED)).checks["labels"]
    of_day = [played.store.partition("grades", key(day)) for day in (UNLISTED, UNLISTED + 1)]
    assert sum(each.checks["labels"]["unlisted"] for each in of_day) == 1
    labels = files.read_parquet(row.labels_url, row.labels_sha256)["label"]
    assert set(labels) == {0.0, 1.0, 2.0}
    [with_it] = [each for each in of_day if each.checks["labels"]["unlisted"]]
    assert "1 of no class in data.label.classes" in in_words(accounted(with_it))
    told = [stored.alert for stored in outbox.standing(played.store.engine, "grades").latest]
    [alert] = [alert for alert in told if alert.entry == "labels_unlisted"]
    assert alert.key == with_it.key
    assert counts["missing"] == 0


def test_what_is_served_is_a_probability_for_each_class(played) -> None:
    for day in range(4, DAYS + 1):
        prediction = played.store.predictions("grades", key(day))["champion"]
        scored = files.read_parquet(prediction.url, prediction.sha256)
        score = as_values(scored["score"])
        assert score.shape == as_values(scored["margin"]).shape == (ROWS, len(CLASSES))
        np.testing.assert_allclose(score.sum(axis=1), 1, rtol=1e-12)


def test_a_class_that_no_model_had_seen_costs_a_high_and_finite_loss_until_one_has_learnt_it(played) -> None:
    """The champion of the day when the class comes first was learnt without it."""
    measured = {row.key: row for row in played.store.performance("grades") if row.role == "champion"}
    assert set(measured) == {key(day) for day in range(4, DAYS + 1)}
    for row in measured.values():
        assert set(row.metrics) == {"log_loss", "brier", "accuracy", "auc"}
        assert np.isfinite(list(row.metrics.values())).all()
    before, first, last = (measured[key(day)].metrics for day in (FIRST_HIGH - 1, FIRST_HIGH, DAYS))
    assert before["log_loss"] < 1.0 < first["log_loss"] < -np.log(CLIP)
    assert last["log_loss"] < first["log_loss"] / 2


def test_a_refresh_is_proved_promoted_and_judged_by_paired_losses(played) -> None:
    store = played.store
    assert len(store.trainings("grades")) >= 3
    assert {row.state for row in store.trainings("grades")} == {"registered"}
    gates = store.trainings("grades")[-1].result["gates"]
    assert gates["passed"]
    assert set(gates["slices"]) == {"place=a", "place=b"}
    assert [decision.kind for decision in store.decisions("grades", kinds=("promote",))].count("promote") >= 3
    first = store.trainings("grades")[0].version
    champion = store.serving("grades").champion
    assert champion not in (None, first)
    later = store.trainings("grades")[-2].version
    beside = side_by_side(played, later, first)
    assert beside.serving_loss is not None
    assert beside.other_loss is not None
    assert beside.serving_loss < beside.other_loss
    assert guard(played, champion, LAST) is None


def test_a_layer_is_fitted_for_each_class_and_read_back(played) -> None:
    layers = [decision.body["layer"] for decision in played.store.decisions("grades", kinds=("recalibrate",))]
    in_force = [layer for layer in layers if layer]
    assert len(in_force) == len(layers)  # of the class that no model had seen, too
    names = {f"{name}_{position}" for name in ("intercept", "slope") for position in range(len(CLASSES))}
    assert set(in_force[-1]) == names
    layered = [
        row
        for day in range(4, DAYS + 1)
        if (row := played.store.predictions("grades", key(day))["champion"]).calibration is not None
    ]
    scored = files.read_parquet(layered[-1].url, layered[-1].sha256)
    layer = played.spec.task_type.calibration.layer(layered[-1].calibration)
    expected = played.spec.task_type.link(layer.apply(as_values(scored["margin"])))
    np.testing.assert_array_equal(as_values(scored["score"]), expected)


def test_the_model_that_ranks_the_classes_the_wrong_way_round_is_seen_by_the_guard(played) -> None:
    """What serves, with the scores of its classes exchanged."""
    from updraft.monitoring.guard import Served, worse_than_none

    task, label, cluster = played.spec.task_type, [], []
    champion = played.store.serving("grades").champion
    holdout = holdout_of(played, champion)
    for day in range(1, 13):
        label.append(holdout["label"].to_numpy())
        cluster.append(np.full(len(holdout), f"d{day}", object))
    score = np.tile(as_values(holdout["score"]), (12, 1))
    rng = np.random.default_rng(0)
    some = rng.random(len(score)) < 0.9  # days differ
    served = Served(np.concatenate(label)[some], score[some], np.concatenate(cluster)[some])
    known = holdout["label"].to_numpy()
    assert worse_than_none(task, served, known) is None
    worst = worse_than_none(task, Served(served.label, (1 - served.score) / 2, served.cluster), known)
    assert worst is not None
    assert worst.startswith("its scores rank the wrong way round: classes came less often")


@pytest.mark.parametrize(
    "trainer",
    [
        {"name": "xgboost", "params": {"rounds": 6, "max_depth": 2}},
        {"name": "xgboost", "params": {"rounds": 6, "max_depth": 2, "external_memory": True}},
        {"name": "torch", "params": {"rounds": 15, "width": 16, "layers": 1, "batch": 64, "learning_rate": 0.01}},
    ],
    ids=["memory", "disk", "torch"],
)
def test_a_training_as_the_dag_does_it_leaves_a_signed_description_and_a_card_with_its_classes(
    tmp_path, trainer
) -> None:
    made = Grades(tmp_path, 4, late_high, trainers=[trainer])
    loop = Loop(made.project, made.settings, Store.in_memory(), KeptModels())
    for day in range(1, 5):
        ingest(loop, key(day))
    prepare(loop, "run", key(4))
    result = train_here(loop, "run")
    assert loop.training("run").request.classes == CLASSES
    model = load_model(result.model_url, result.model_sha256)
    assert model.classes == CLASSES
    assert result.metrics["rows_of_class_2"] == 0
    comparison = evaluate(loop, "run")
    assert comparison.gates.passed, comparison.gates.reasons
    page = card_html(card_data(loop, "run", comparison))
    assert "low (" in page
    assert "high (0 rows)" in page
    assert "never seen" in page
    assert "<b>it" not in page
    assert sum(result.importance.values()) == pytest.approx(1)
    folder = tmp_path / "assembled"
    folder.mkdir()
    _assemble(result, folder, "m1")
    described = (folder / "MLmodel").read_text()
    assert "score of low" in described
    assert load_model(f"file://{folder}", result.model_sha256).classes == CLASSES
    loop.store.close()


def test_another_list_of_classes_publishes_nothing_more(tmp_path) -> None:
    made = Grades(tmp_path, 3)
    loop = Loop(made.project, made.settings, Store.in_memory(), KeptModels())
    ingest(loop, key(1))
    made.spec["data"]["label"]["classes"] = [CLASSES[1], CLASSES[0], CLASSES[2]]
    made.write()
    changed = Loop(made.project, made.settings, loop.store, KeptModels())
    with pytest.raises(DataError, match=r"data\.label\.classes is \[mid.* and was \[low.* when the first labels"):
        ingest(changed, key(2))
    assert loop.store.partition("grades", key(2)) is None
    ingest(loop, key(2))  # put back, it goes on
    loop.store.close()


def test_a_backtest_of_another_list_ingests_all_partitions_again(tmp_path) -> None:
    made = Grades(tmp_path, 3)
    settings = made.settings.of_backtests()
    before = history(made.project, settings, None, lambda _: None).rows
    made.spec["data"]["label"]["classes"] = [CLASSES[2], CLASSES[1], CLASSES[0]]
    made.write()
    said: list[str] = []
    after = history(made.project, settings, None, said.append).rows
    assert any("3 partitions are ingested again, as there is a change in data.label.classes" in words for words in said)
    for old, new in zip(before, after, strict=True):
        labels = [files.read_parquet(row.labels_url, row.labels_sha256)["label"].to_numpy() for row in (old, new)]
        np.testing.assert_array_equal(labels[0], 2 - labels[1])


def test_cells_and_values_undo_each_other() -> None:
    for values in (np.array([1.0, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0]])):
        cells = pd.DataFrame({"score": as_cells(values)})["score"]
        np.testing.assert_array_equal(as_values(cells), values)
    assert as_values(pd.Series([], dtype=object)).shape == (0,)
    with pytest.raises(ValueError, match="another number of classes"):
        as_values(pd.Series([np.array([1.0, 2.0]), np.array([1.0])]))
