from __future__ import annotations

import pytest
from tests.support.training_case import features_and_labels


@pytest.fixture(scope="session")
def frames():
    """Feature frames by key, and label frames."""
    return features_and_labels()
