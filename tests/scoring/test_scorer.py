"""One scorer, whether rows come as a partition, as its features, or one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.support import flights

from updraft import files
from updraft.data.columns import CLUSTER, EVENT_TIME, MARGIN, ROW, SCORE
from updraft.errors import DataError, IntegrityError
from updraft.loop.in_process import play
from updraft.loop.release import check_staging
from updraft.scoring.scorer import Scorer, Scores, rows_frame
from updraft.tasks.binary import BINARY
from updraft.tasks.calibration import AffineLayer

LAYER = {"intercept": 0.25, "slope": 0.5}


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Nine weeks: the ninth is the first that a champion scores."""
    home = tmp_path_factory.mktemp("flights")
    rows = flights.ingested(home, 9)
    loop, models = flights.fresh_loop(home)
    for row in rows:
        play(loop, models, row)
    return loop, rows[-1].key


@pytest.fixture(scope="module")
def scorer(played) -> Scorer:
    loop, _ = played
    return loop.scorer(loop.store.serving(loop.name).champion, LAYER)


def published(loop, key: str) -> pd.DataFrame:
    row = loop.published(key)
    return files.read_parquet(row.url, row.sha256).drop(columns=[ROW, EVENT_TIME, CLUSTER])


def test_rows_one_by_one_score_as_their_partition_did(played, scorer) -> None:
    loop, key = played
    rows = published(loop, key)
    of_the_partition = scorer.score_features(loop.feature_frame(key, scorer.features))
    in_a_frame = scorer.score(rows)
    np.testing.assert_array_equal(in_a_frame.margin, of_the_partition.margin)
    np.testing.assert_array_equal(in_a_frame.score, of_the_partition.score)
    records = rows.head(200).to_dict("records")
    np.testing.assert_array_equal(scorer.score(records).score, of_the_partition.score[:200])
    np.testing.assert_array_equal(scorer.score(records[:1]).score, of_the_partition.score[:1])


def test_batch_scoring_stores_what_the_scorer_says(played) -> None:
    loop, key = played
    served = loop.store.predictions(loop.name, key)["champion"]
    stored = files.read_parquet(served.url, served.sha256)
    scorer = loop.scorer(served.version, served.calibration)
    scores = scorer.score_features(loop.feature_frame(key, scorer.features))
    np.testing.assert_array_equal(stored[MARGIN], scores.margin)
    np.testing.assert_array_equal(stored[SCORE], scores.score)


def test_the_layer_moves_the_score_and_leaves_the_margin_to_later_layers(played, scorer) -> None:
    loop, key = played
    bare = replace(scorer, layer=AffineLayer())
    features = loop.feature_frame(key, scorer.features)
    with_layer, without = scorer.score_features(features), bare.score_features(features)
    np.testing.assert_array_equal(with_layer.margin, without.margin)
    np.testing.assert_array_equal(with_layer.score, BINARY.link(0.25 + 0.5 * without.margin))
    np.testing.assert_array_equal(without.score, BINARY.link(without.margin))


def test_no_rows_have_no_scores(scorer) -> None:
    assert len(scorer.score([]).score) == 0


def test_a_layer_of_another_kind_is_refused(played, scorer) -> None:
    loop, _ = played
    with pytest.raises(DataError, match="not temperature"):
        Scorer.of(loop.project, scorer.model, scorer.features, {"temperature": 2.0})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"a": 1}, {"b": 1}], "row 1 has no column 'a', which row 0 has"),
        ([{"a": 1}, {"a": 1, "b": 2}], "row 1 has a column 'b', which row 0 has not"),
        ([{"a": 1}, [1]], "row 1 is a list; a row is a mapping"),
        ([3], "row 0 is a int"),
    ],
)
def test_what_is_no_row_is_named_by_its_number_and_column(rows, words) -> None:
    with pytest.raises(DataError, match=words):
        rows_frame(rows)


def test_a_row_without_a_column_that_the_features_read_names_the_column(played, scorer) -> None:
    loop, key = played
    row = published(loop, key).iloc[0].to_dict()
    column = "carrier"
    del row[column]
    with pytest.raises(DataError, match=f"no column '{column}'"):
        scorer.score([row])


def test_a_text_where_the_model_reads_a_number_names_row_and_feature(played, scorer) -> None:
    loop, key = played
    features = loop.feature_frame(key, scorer.features).head(5)
    name = next(column.name for column in scorer.model.encoder.columns if column.kind == "number")
    values = features[name].astype(object)
    values.iloc[1], values.iloc[3] = None, "far"
    with pytest.raises(DataError, match=f"row 3: feature '{name}' is 'far', and the model reads a number there"):
        scorer.score_features(features.assign(**{name: values}))
    with pytest.raises(DataError, match="row 3: feature"):
        scorer.score_features(features.assign(**{name: values.astype("string")}))
    with pytest.raises(DataError, match=f"\\['{name}'\\] are missing"):
        scorer.score_features(features.drop(columns=name))


def test_scores_that_are_no_numbers_are_found_and_fail_the_staging_check(played) -> None:
    broken = Scores.of(BINARY, AffineLayer(), np.array([0.0, np.nan, 1.0, np.inf]))
    assert broken.broken == [1, 3]
    loop, key = played
    champion = loop.store.serving(loop.name).champion
    release = next(row.id for row in loop.store.releases(loop.name) if row.version == champion)
    assert check_staging(loop, release)["partition"] == key
    model = loop.models.load(champion)
    loop.models.versions[champion] = replace(model, weights=_without_numbers(model.weights))
    try:
        with pytest.raises(IntegrityError, match="scores that are no numbers"):
            check_staging(loop, release)
    finally:
        loop.models.versions[champion] = model


def _without_numbers(weights: bytes) -> bytes:
    """The booster with leaves that add up to infinity."""
    import json

    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(weights))
    told = json.loads(bytes(booster.save_raw("json")))
    for tree in told["learner"]["gradient_booster"]["model"]["trees"]:
        tree["split_conditions"] = [3e38] * len(tree["split_conditions"])
    booster.load_model(bytearray(json.dumps(told).encode()))
    return bytes(booster.save_raw("ubj"))
