"""The Secrets of a deployment, as docker/helm/secrets makes them."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.chart import HELM, SETTINGS


@pytest.fixture(scope="session")
def secrets_script() -> ModuleType:
    """The script as a module."""
    path = str(HELM / "secrets")
    module = ModuleType("helm_secrets")
    module.__file__ = path
    exec(compile(SourceFileLoader("helm_secrets", path).get_data(path), path, "exec"), module.__dict__)
    return module


@pytest.fixture(scope="session")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person has written before the Secrets are made."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "settings.env").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="session")
def secrets(secrets_script: ModuleType, secrets_folder: Path) -> dict[str, dict[str, bytes]]:
    """Every Secret by name, with what it holds."""
    return dict(secrets_script.secrets_of(secrets_folder, "updraft", "airflow"))
