"""In which order, and beside what, the tests run.

Cheap rooms come first, so that a mistake is seen within seconds (``make test ARGS=-x``). With several workers a file stays
on one worker, as its module's fixtures are built there. Files that share a server share a group: a real Airflow is
brought up once for its group, and removed when the group's last test has ended. Those tests mostly wait for Airflow.
So their group is begun as soon as the cheap rooms are through, and the other rooms are tested beside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parents[2]

CHEAP = (
    "spec",
    "pods",
    "evaluation",
    "search",
    "dags",
    "alerts",
    "support",
    "store",
    "release",
    "data",
    "plugins",
    "deploy",
    "monitoring",
)
"""Rooms that take seconds, in the order in which they are tested."""  # fmt: skip
LARGE = ("e2e", "backtest", "k8s", "loop", "security", "jobs", "stack", "training")
"""Rooms that take long. With several workers they come before what is left, so that none of them is begun last."""

GROUPS = {
    "tests/e2e/test_loop_in_airflow.py": "airflow",
    "tests/e2e/test_releases_in_airflow.py": "airflow",
    "tests/e2e/test_pages_in_a_browser.py": "airflow",
    "tests/e2e/test_search_in_airflow.py": "airflow",
    "tests/e2e/test_replay_command.py": "airflow",
    "tests/k8s": "cluster",
    "tests/registry": "mlflow",
    "tests/security/test_roles.py": "team",
    "tests/security/test_pages.py": "team",
    "tests/security/test_pages_in_a_browser.py": "team",
}
"""File, or room → the group that shares its server. Every other file is a group of its own."""

SLOW: dict[str, tuple[str, ...]] = {
    "tests/backtest/test_backtest.py": (),
    "tests/backtest/test_changed_history.py": (),
    "tests/backtest/test_spoilt_backtest.py": (),
    "tests/cli/test_backtest_command.py": (),
    "tests/control/test_carried_version.py": (),
    "tests/draft/test_first_champion.py": (),
    "tests/draft/test_odd_tables.py": (),
    "tests/loop/test_challenger.py": (),
    "tests/loop/test_kept_out.py": (),
    "tests/loop/test_loop.py": (),
    "tests/loop/test_loop_search.py": (),
    "tests/loop/test_refit.py": (),
    "tests/loop/test_torch_on_the_other_side.py": (),
    "tests/loop/test_leftovers.py": (),
    "tests/plugins/test_openlineage.py": (),
    "tests/plugins/test_training_in_pods.py": (),
    "tests/registry/test_mlflow_registry.py": (),
    "tests/security/test_alerts_told.py": (
        "test_a_refusal_is_heard_even_if_it_cannot_be_recorded",
        "test_many_processes_keep_and_record_at_once_and_nothing_is_lost_or_told_twice",
    ),
    "tests/security/test_bucket_rights.py": (),
    "tests/security/test_cluster_group.py": (
        "test_the_secret_of_a_group_is_in_its_workers_environment_and_nowhere_else",
    ),
    "tests/security/test_fuzz.py": (),
    "tests/security/test_pages.py": (),
    "tests/security/test_pages_in_a_browser.py": (),
    "tests/security/test_roles.py": (),
    "tests/security/test_supply_chain.py": (
        "test_make_sbom_tells_every_pinned_package_with_its_hashes_in_valid_cyclonedx",
    ),
    "tests/security/test_trainings.py": (),
    "tests/training/test_external.py": ("test_memory_stays_a_fraction_of_what_the_window_takes_in_memory",),
    "tests/jobs/test_group.py": (),
    "tests/jobs/test_object_store.py": (),
    "tests/jobs/test_survival.py": (),
}
"""File → names of tests that take seconds (measured, alone on one core); none for the whole file, whose set-up takes them."""


def place_of(item: pytest.Item) -> str:
    """The test's file, seen from the checkout."""
    return item.path.relative_to(ROOT).as_posix()


def group_of(place: str) -> str:
    """The group of a file."""
    return GROUPS.get(place) or GROUPS.get(place.rpartition("/")[0]) or place


def rank_of(place: str, *, side_by_side: bool) -> tuple[int, int]:
    """Where a file's room stands in the order.

    :param side_by_side: with several workers; with a single one, what takes longest comes last.
    """
    room = place.split("/")[1]
    if room in CHEAP:
        return 0, CHEAP.index(room)
    if room in LARGE:
        return (1, LARGE.index(room)) if side_by_side else (3, -LARGE.index(room))
    return 2, 0


class GroupScheduling(LoadScopeScheduling):
    """Hands whole groups to workers. (xdist's own ``loadgroup`` writes the group into a test's id, which pytest 9.2 does not let it.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    return GroupScheduling(config, log)


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by mark
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    side_by_side = hasattr(config, "workerinput")
    for item in items:
        place = place_of(item)
        names = SLOW.get(place)
        if names is not None and (not names or item.name.split("[")[0] in names):
            item.add_marker(pytest.mark.slow)
    items.sort(
        key=lambda item: rank_of(place_of(item), side_by_side=side_by_side)
    )  # stable: the order within a room stays
