from __future__ import annotations

import pytest
from tests.support.mlflow_server import running_mlflow


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory):
    """Where the server keeps its database and artifacts."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def mlflow_url(mlflow_folder):
    """A real MLflow server, one for the run."""
    with running_mlflow(mlflow_folder) as url:
        yield url
