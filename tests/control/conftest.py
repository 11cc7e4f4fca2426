"""A project with a history, for what is watched of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.support import hours

from updraft.loop.in_process import play
from updraft.store.store import Store

WRITTEN = 110
"""Hours of the history: the champion is the third version, on probation."""
PLAYED = 3
"""Hours after it that are played: of the newest ones everything is measured."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """The hours' project in a store of this process, and five minutes past its newest tick."""
    store = Store.in_memory()
    loop, models = hours.begin(tmp_path_factory.mktemp("watched"), store)
    hours.lengthen(loop, models, WRITTEN)
    for row in hours.ticks(loop, models, range(WRITTEN, WRITTEN + PLAYED)):
        play(loop, models, row)
    return loop, hours.START + timedelta(hours=WRITTEN + PLAYED, minutes=5)
