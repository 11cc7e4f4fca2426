"""Order, groups and marks of the tests are about tests that exist."""

from __future__ import annotations

import re

import pytest
from tests.support import lanes


@pytest.mark.parametrize("place", [*lanes.GROUPS, *lanes.SLOW])
def test_what_is_listed_exists(place: str) -> None:
    assert (lanes.ROOT / place).exists()


@pytest.mark.parametrize(("place", "names"), [(place, names) for place, names in lanes.SLOW.items() if names])
def test_a_slow_test_that_is_listed_exists(place: str, names: tuple[str, ...]) -> None:
    defined = re.findall(r"^(?:async )?def (test_\w+)", (lanes.ROOT / place).read_text(), re.MULTILINE)
    assert set(names) <= set(defined)


def test_every_room_that_is_ordered_exists() -> None:
    assert all((lanes.ROOT / "tests" / room).is_dir() for room in (*lanes.CHEAP, *lanes.LARGE))


@pytest.mark.parametrize("side_by_side", [True, False])
def test_cheap_rooms_come_first_and_a_single_worker_brings_airflow_up_last(side_by_side: bool) -> None:
    places = ["tests/e2e/test_x.py", "tests/spec/test_x.py", "tests/cli/test_x.py", "tests/loop/test_x.py"]
    ordered = sorted(places, key=lambda place: lanes.rank_of(place, side_by_side=side_by_side))
    assert ordered[0] == "tests/spec/test_x.py"
    assert ordered.index("tests/e2e/test_x.py") == (1 if side_by_side else 3)


def test_what_shares_a_server_shares_a_group_and_every_other_file_is_its_own() -> None:
    assert lanes.group_of("tests/security/test_pages.py") == lanes.group_of("tests/security/test_roles.py")
    assert lanes.group_of("tests/registry/test_signing.py") == "mlflow"
    assert lanes.group_of("tests/store/test_store.py") == "tests/store/test_store.py"
