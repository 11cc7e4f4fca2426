from __future__ import annotations

import os
import signal
import threading

import pytest

from updraft.errors import TrainingInterrupted
from updraft.jobs.watch import ProgressLine, TrainingWatch, watching
from updraft.training.host import leave


def test_a_line_reads_back_equal():
    line = ProgressLine("proof", 35, 200, 1234560.0, 187.5, 812.25, 900.5, 0.5123, 0.51, 45.0, 1024.0)
    assert ProgressLine.parse(f"2013-01-01 INFO {line}") == line
    short = ProgressLine("release", 1, 2, 10.0, 99.0, 1.0, 2.0)
    assert ProgressLine.parse(str(short)) == short
    assert "loss" not in str(short)


@pytest.mark.parametrize("line", ["", "progress", "progress phase=proof round=3", "progress phase=a round=x of=3"])
def test_a_line_that_is_none_or_was_cut_is_none(line):
    assert ProgressLine.parse(line) is None


def test_lines_come_at_intervals_with_speed_and_memory():
    told = []
    watch = TrainingWatch(told.append, every=0.0)
    watch.saw("proof", 1, 10, 1000, 0.6, 0.6)
    TrainingWatch(told.append, every=3600).saw("proof", 1, 10, 1000)
    [line] = map(ProgressLine.parse, told)
    assert line is not None
    assert (line.phase, line.round, line.of, line.loss, line.best) == ("proof", 1, 10, 0.6, 0.6)
    assert line.rows_per_s > 0
    assert 1 < line.memory_mb <= line.peak_mb * 1.01


def test_sigterm_is_heard_while_watching_and_the_former_handler_put_back():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with watching() as watch:
            assert watch.leaving is None
            os.kill(os.getpid(), signal.SIGTERM)
            assert watch.leaving is not None
            assert not heard
            os.kill(os.getpid(), signal.SIGTERM)  # the second one is not for us
            assert heard == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_a_watch_only_tells():
    found = []

    def watch_there():
        with watching() as watch:
            found.append(watch.leaving)

    thread = threading.Thread(target=watch_there)
    thread.start()
    thread.join()
    assert found == [None]


def test_leaving_says_how_far_it_came():
    with pytest.raises(TrainingInterrupted, match="proof is kept up to round 7; the same request goes on"):
        leave("proof", 7)
