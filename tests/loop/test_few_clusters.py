"""Hours as partitions and as clusters: what rests on too few of them says so in the decision, and decides nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support import hours

from updraft.backtest.policies import Policy
from updraft.backtest.run import play_policy
from updraft.loop.decision_words import in_words
from updraft.loop.in_process import play
from updraft.loop.labelled import unseen_by
from updraft.loop.plan import newest_labelled
from updraft.store.store import Store


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A day of hours with a holdout of two, which the project states."""
    loop, models = hours.begin(tmp_path_factory.mktemp("few"), Store.in_memory())
    for row in hours.ticks(loop, models, range(hours.PLAYED, 24)):
        play(loop, models, row)
    return loop


def test_a_first_model_goes_on_and_its_decision_says_on_how_little(played):
    [accepted] = played.store.decisions(played.name, kinds=("accept",))
    note = "the holdout holds 2 clusters, too few to show anything (the least is 5)"
    assert accepted.body["gates"]["note"] == note
    assert in_words(accepted).endswith(f"({note})")


def test_layers_wait_for_five_hours_and_say_so(played):
    layers = played.store.decisions(played.name, kinds=("recalibrate",))
    few = [decision for decision in layers if decision.body.get("too_few")]
    assert few == layers[: len(few)]
    assert 0 < len(few) < len(layers)
    assert all(decision.body["layer"] is None for decision in few)
    assert few[0].body["reason"].startswith("no layer: the last ")
    assert all("too_few" not in decision.body for decision in layers[len(few) :])


def test_a_backtest_counts_what_decided_nothing(played):
    rows = [played.store.partition(played.name, row.key) for row in played.store.partitions(played.name)]
    told = play_policy(played.project, played.settings, Policy("as it is", played.spec), rows)
    layers = played.store.decisions(played.name, kinds=("recalibrate",))
    few = sum(bool(decision.body.get("too_few")) for decision in layers)
    assert told.undecided == ("1 of 1 trainings at the gates", f"{few} of {len(layers)} calibration layers")
    assert told.published == 24


def test_partitions_whose_labels_have_not_matured_push_out_none_that_have(played):
    """Where labels mature late, the newest predictions are of rows that nobody knows yet."""
    label = played.spec.data.label.model_copy(update={"matures_after": timedelta(hours=10)})
    spec = played.spec.model_copy(update={"data": played.spec.data.model_copy(update={"label": label})})
    late = type(played)(played.project.model_copy(update={"spec": spec}), played.settings, played.store, played.models)
    version, newest = played.store.serving(played.name).champion, played.store.newest_partition(played.name)
    matured_until = newest_labelled(spec, newest)
    parts = unseen_by(late, version, newest)
    scored = {row.key for row in played.store.predictions_of(played.name, version, until=newest, newest=100)}
    assert [part.key for part in parts if part.key in scored]
    assert all(part.key <= matured_until for part in parts)
