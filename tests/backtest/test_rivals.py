"""The policies of the literature: when each calls for a training, on losses whose truth is known, and in a backtest."""

import numpy as np
import pytest

from updraft.backtest.rivals import PRICE, RIVALS, Adwin, Cara, Scored, Upf


def scored(trained, by_partition):
    return Scored(trained, {number: np.asarray(rows, float) for number, rows in by_partition.items()})


def rows(generator, mean, count=300):
    """Losses of a model of classes, skewed as such losses are."""
    return generator.gamma(2.0, mean / 2.0, count)


def test_adwin_is_quiet_where_nothing_changes():
    generator = np.random.default_rng(1)
    calls = 0
    for _ in range(100):
        model = scored(3, {number: rows(generator, 0.5) for number in range(20)})
        calls += Adwin().calls(19, [model])
    assert calls <= 2


def test_adwin_sees_a_rise_and_no_fall():
    generator = np.random.default_rng(2)
    before = {number: rows(generator, 0.5) for number in range(10)}
    assert Adwin().calls(10, [scored(3, before | {10: rows(generator, 0.8)})])
    assert not Adwin().calls(10, [scored(3, before | {10: rows(generator, 0.2)})])
    assert not Adwin().calls(3, [scored(3, {3: rows(generator, 0.5)})])


def test_adwin_allows_what_its_formula_says():
    """Two halves of n rows with variance s2: m = n / 4, and the least difference that counts follows."""
    rest = np.tile([0.0, 1.0], 500)
    for factor, expected in ((0.9, False), (1.1, True)):
        shift = 0.1
        for _ in range(20):  # the variance holds the shift itself
            both = np.concatenate([rest, rest + shift])
            confidence = np.log(2 * np.log(2000) / Adwin.level)
            shift = factor * (np.sqrt(2 / 500 * both.var() * confidence) + 2 / 1500 * confidence)
        assert Adwin().calls(1, [scored(0, {0: rest, 1: rest + shift})]) is expected


def test_cara_trains_when_keeping_has_cost_as_much_as_a_training():
    steady = {number: [0.5] for number in range(4)}
    stale = 0.5 * (1 + PRICE / 2)
    assert not Cara().calls(4, [scored(3, steady | {4: [stale]})])
    assert Cara().calls(6, [scored(3, steady | {4: [stale], 5: [stale], 6: [stale]})])
    assert not Cara().calls(4, [scored(3, {4: [9.0]})])  # without a loss at its training, staleness is nothing


def test_upf_trains_at_first_and_then_when_age_is_forecast_to_cost_more_than_a_training():
    assert Upf().calls(1, [scored(0, {1: [0.5]})])
    assert not Upf().calls(0, [scored(0, {0: [0.5]})])

    def world(rise):
        generator = np.random.default_rng(3)
        return [
            scored(
                start,
                {
                    number: [0.5 + rise * (number - start) + generator.normal(0, 0.002)]
                    for number in range(start + 1, end)
                },
            )
            for start, end in ((0, 6), (6, 12), (12, 20))
        ]

    assert Upf().calls(19, world(0.05))
    assert not Upf().calls(19, world(0.0))


def test_every_rival_has_its_paper_and_a_name():
    assert list(RIVALS) == ["adwin", "cara", "upf"]
    for name, rival in RIVALS.items():
        assert rival.name == name
        assert "(20" in (rival.__doc__ or "")


@pytest.mark.parametrize("losses", [{}, {0: [0.4]}])
def test_a_rival_without_losses_calls_for_nothing(losses):
    for rival in RIVALS.values():
        assert not rival().calls(1, [scored(1, losses)])
