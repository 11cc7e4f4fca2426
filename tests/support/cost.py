"""What the tests cost: seconds of a processor, those of child processes included, told when all have ended.

On a busy machine, and where a test waits, the clock says little of what a test costs; ``--durations`` has the clock. A fixture counts in the
set-up of the first test that asks for it. A server that a fixture starts counts when it has ended, in a tear-down.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator

import pytest

DEAREST = 25
_PROPERTY = "processor seconds"
_read_before = pytest.StashKey[float]()


def processor_seconds() -> float:
    """Of this process and its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.config.stash[_read_before] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    now = processor_seconds()
    report.user_properties.append((_PROPERTY, now - item.config.stash[_read_before]))
    item.config.stash[_read_before] = now
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    dear: list[tuple[float, str, str]] = []
    by_room: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, seconds in getattr(report, "user_properties", ()):
                if name == _PROPERTY:
                    dear.append((seconds, report.when, report.nodeid))
                    by_room[report.nodeid.split("/")[1]] += seconds
    dear = [row for row in sorted(dear, reverse=True)[:DEAREST] if row[0] >= 1]
    if dear:
        terminalreporter.section(f"dearest {len(dear)}, in {_PROPERTY}")
        for seconds, when, test in dear:
            terminalreporter.write_line(f"{seconds:6.1f}s {when:8} {test}")
        rooms = ", ".join(f"{room} {seconds:.0f}" for room, seconds in by_room.most_common())
        terminalreporter.write_line(f"{sum(by_room.values()):6.0f}s in all: {rooms}")
