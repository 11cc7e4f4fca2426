"""Imported by every Airflow process of the stack; does something in the scheduler alone.

With LocalExecutor each task is a fork of the scheduler: what is imported here once, no task imports again. Import only.
A thread pool, a connection or an OpenMP region would not survive the fork.
"""

from __future__ import annotations

import importlib
import logging
import os

__all__: list[str] = []  # nothing here replaces a setting of Airflow

_HEAVY = (
    "numpy", "pandas", "pandas.core.arrays.arrow.extension_types", "pyarrow.parquet", "pyarrow.dataset", "scipy.stats",
    "sklearn.metrics", "duckdb", "xgboost", "matplotlib.pyplot",
    "great_expectations", "mlflow", "mlflow.models", "evidently", "evidently.presets", "model_signing.signing",
    "model_signing.verifying", "slack_sdk", "duckdb_engine", "sqlalchemy.dialects.postgresql.psycopg2", "matplotlib.figure",
    "great_expectations.execution_engine.sqlalchemy_execution_engine", "great_expectations.expectations.core",
    "great_expectations.validator.validator", "dvc.repo", "dulwich.porcelain", "croniter", "fsspec",
    "updraft.data.gx", "updraft.loop.card", "updraft.loop.ingest", "updraft.loop.register", "updraft.loop.registered",
    "updraft.loop.report", "updraft.loop.waiting",
)  # fmt: skip

if os.environ.pop("UPDRAFT_PRELOAD", ""):
    for _name in _HEAVY:
        try:
            importlib.import_module(_name)
        except ImportError as _error:
            logging.getLogger("updraft").warning(
                "not imported ahead: %s (%s); tasks that need it import it", _name, _error
            )
