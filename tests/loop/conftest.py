"""Thirteen weeks of flights, ingested once."""

import pytest
from tests.support import flights


@pytest.fixture(scope="session")
def lake(tmp_path_factory):
    home = tmp_path_factory.mktemp("flights")
    return home, flights.ingested(home, 13)
