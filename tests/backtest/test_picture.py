"""Every policy stands in the picture, with its name inside of it."""

from __future__ import annotations

from matplotlib.figure import Figure
from tests.support.pictures import assert_drawn

from updraft.backtest import picture
from updraft.backtest.picture import frontier
from updraft.backtest.run import Played


def test_every_policy_is_drawn_and_no_name_goes_beyond_the_edge(monkeypatch):
    names = [f"a policy whose name is long, number {number}" for number in range(13)]
    played = [
        Played(name, ("k",), (0.5 + number / 100,), tuple(map(str, range(3 * number))), ())
        for number, name in enumerate(names)
    ]
    kept: list[Figure] = []
    draw = picture._png
    monkeypatch.setattr(picture, "_png", lambda figure: (kept.append(figure), draw(figure))[1])
    assert_drawn(frontier(played, "log_loss"))
    [axes] = kept[0].axes
    assert [text.get_text() for text in axes.texts] == names
    width = kept[0].bbox.width
    for text in axes.texts:
        extent = text.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 <= width, text.get_text()


def test_policies_that_did_the_same_are_named_once_each_and_not_one_over_the_other(monkeypatch):
    played = [Played(name, ("k",), (0.5,), ("k",), ()) for name in ("never", "every 8", "every 4")]
    played.append(Played("ours", ("k",), (0.4,), ("k", "l", "m"), ()))
    kept: list[Figure] = []
    draw = picture._png
    monkeypatch.setattr(picture, "_png", lambda figure: (kept.append(figure), draw(figure))[1])
    assert_drawn(frontier(played, "log_loss"))
    [axes] = kept[0].axes
    assert [text.get_text() for text in axes.texts] == ["never\nevery 8\nevery 4", "ours"]
