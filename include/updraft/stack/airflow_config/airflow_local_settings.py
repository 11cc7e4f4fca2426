"""Imported by every Airflow process of the stack; does something in those that fork: the scheduler and the DAG processor.

With LocalExecutor each task is a fork of the scheduler, and each look at a DAG file one of the DAG processor: what is imported here
once, none of them imports again. Import only, wait, and fork. A thread pool, a connection or an OpenMP region would not survive the fork.
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
    "model_signing.verifying", "slack_sdk", "sqlalchemy.dialects.postgresql.psycopg2", "matplotlib.figure",
    "great_expectations.expectations.core", "dvc.repo", "dulwich.porcelain", "croniter", "fsspec", "fsspec.implementations.chained",
    "jinja2.ext", "mlflow.tracking.request_header.registry",
    "updraft.data.gx", "updraft.data.docs_templates", "updraft.loop.card", "updraft.loop.ingest", "updraft.loop.registration", "updraft.loop.models",
    "updraft.loop.report", "updraft.loop.score", "updraft.loop.sensor_looks",
)  # fmt: skip
"""What tasks use."""
_OF_DAGS = (
    "airflow.sdk.execution_time.task_runner", "updraft_airflow.wiring", "updraft_airflow.operators.broken",
    "updraft_airflow.operators.ingest", "updraft_airflow.operators.loop", "updraft_airflow.operators.maintenance",
    "updraft_airflow.operators.placement",
    "updraft_airflow.operators.release", "updraft_airflow.operators.returning", "updraft_airflow.operators.search", "updraft_airflow.operators.train",
    "updraft_airflow.operators.trigger", "updraft_airflow.sensors.store",
)  # fmt: skip
"""What the DAG files import: each task parses one, and the DAG processor parses all of them twice a minute."""
_AHEAD = {"tasks": (*_HEAVY, *_OF_DAGS), "dags": _OF_DAGS}
"""What a process imports for its forks, by ``UPDRAFT_PRELOAD``."""

for _name in _AHEAD.get(os.environ.pop("UPDRAFT_PRELOAD", ""), ()):
    try:
        importlib.import_module(_name)
    except ImportError as _error:
        logging.getLogger("updraft").warning("not imported ahead: %s (%s); forks that need it import it", _name, _error)

if _needs := os.environ.pop("UPDRAFT_WAITS_FOR", ""):
    from pathlib import Path

    from updraft.stack.lives import live

    # The scheduler dies when its database goes away. What takes time is done by the time that it is back.
    live(Path(os.environ["UPDRAFT_HOME"], "stack"), "scheduler", [int(_port) for _port in _needs.split(",")])
