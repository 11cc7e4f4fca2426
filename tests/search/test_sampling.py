"""What is tried next: inside the space, the same for the same history, better than chance."""

from __future__ import annotations

import math
import statistics

from updraft.search.sampling import Tried, distributions, inside, suggest
from updraft.spec.search import Search

SPACE = Search.model_validate(
    {
        "space": {
            "max_depth": {"at_least": 2, "at_most": 12},
            "eta": {"at_least": 0.01, "at_most": 1.0, "log": True},
            "max_bin": {"at_least": 64, "at_most": 256, "step": 64},
            "subsample": {"at_least": 0.5, "at_most": 1.0, "step": 0.25},
            "grow_policy": ("depthwise", "lossguide"),
        }
    }
).space


def loss_of(params):
    return (params["max_depth"] - 7) ** 2 + abs(params["eta"] - 0.1) + (params["grow_policy"] == "lossguide")


def searched(trials, seed=1, space=SPACE):
    made, tried = distributions("xgboost", space), []
    for number in range(trials):
        params = suggest(made, tried, seed=seed, number=number, trials=trials)
        tried.append(Tried(params, loss_of(params)))
    return tried


def test_every_suggestion_lies_in_the_space_with_the_parameters_kind():
    for each in searched(12):
        assert inside(each.params, SPACE) == each.params
        assert isinstance(each.params["max_depth"], int)
        assert isinstance(each.params["max_bin"], int)
        assert each.params["max_bin"] in (64, 128, 192, 256)
        assert each.params["subsample"] in (0.5, 0.75, 1.0)


def test_the_same_history_gives_the_same_suggestion_and_another_seed_another_one():
    assert searched(8) == searched(8)
    assert searched(8) != searched(8, seed=2)


def test_no_two_of_the_first_suggestions_are_equal():
    made = distributions("xgboost", SPACE)
    first = [str(suggest(made, [], seed=1, number=number, trials=20)) for number in range(6)]
    assert len(set(first)) == 6


def test_on_a_smooth_loss_it_ends_much_nearer_to_the_best_than_chance():
    """Mean distance of the best of 20 trials to the optimum, over eight seeds; chance is the sampler without a history."""
    space = Search.model_validate(
        {"space": {"max_depth": {"at_least": 2, "at_most": 12}, "eta": {"at_least": 0.01, "at_most": 1.0, "log": True}}}
    ).space
    made = distributions("xgboost", space)

    def bowl(params):
        return ((params["max_depth"] - 7) / 3) ** 2 + (math.log(params["eta"] / 0.08) / 1.2) ** 2

    def best(seed, learns):
        tried = []
        for number in range(20):
            params = suggest(made, tried if learns else [], seed=seed, number=number, trials=20)
            tried.append(Tried(params, bowl(params)))
        return min(each.loss for each in tried)

    learnt, chance = (statistics.mean(best(seed, learns) for seed in range(8)) for learns in (True, False))
    assert learnt < 0.5 * chance, (learnt, chance)


def test_a_trial_that_was_given_up_is_learnt_from():
    made = distributions("xgboost", SPACE)
    history = searched(12)
    given_up = [*history[:-1], Tried(history[-1].params, history[-1].loss, pruned_at=3)]
    suggestions = [suggest(made, each, seed=1, number=12, trials=20) for each in (history[:-1], given_up)]
    assert suggestions[0] != suggestions[1]


def test_parameters_outside_of_the_space_are_not_taken_for_its_own():
    sound = {"max_depth": 4, "eta": 0.2, "max_bin": 64, "subsample": 1.0, "grow_policy": "depthwise", "rounds": 9}
    assert inside(sound, SPACE) == {name: sound[name] for name in SPACE}
    assert inside(sound | {"max_bin": 65}, SPACE) is None
    assert inside(sound | {"max_depth": 13}, SPACE) is None
    assert inside({"max_depth": 4}, SPACE) is None


def test_the_losses_of_a_search_fall():
    losses = [each.loss for each in searched(30)]
    assert statistics.mean(losses[20:]) < statistics.mean(losses[:10])
