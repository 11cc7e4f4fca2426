"""Imported by every Airflow process, of the stack and of the image; does something in those that fork: the scheduler and the DAG processor.

With LocalExecutor each task is a fork of the scheduler, and each look at a DAG file one of the DAG processor: what is imported here
once, none of them imports again. Import only, wait, and fork. A thread pool, a connection or an OpenMP region would not survive the fork.

Where each task is a pod of its own (KubernetesExecutor), it also says which template the pod is made from: ``UPDRAFT_POD_TEMPLATES`` is a folder with
``light.yaml``, ``heavy.yaml`` and ``launcher.yaml`` (docker/helm/values.yaml).
"""

from __future__ import annotations

import importlib
import logging
import os
from pathlib import Path
from typing import Any

__all__: list[str] = []  # nothing here replaces a setting of Airflow, but the policy below where tasks are pods

_TEMPLATES = os.environ.get("UPDRAFT_POD_TEMPLATES", "")

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
_OF_PODS = ("updraft_airflow.operators.search_pod",)
"""What those of a project import that trains in pods: most of a second, for the client of Kubernetes."""
_AHEAD = {"tasks": (*_HEAVY, *_OF_DAGS), "dags": _OF_DAGS}
"""What a process imports for its forks, by ``UPDRAFT_PRELOAD``."""

_HOLDS_ROWS = (
    "extract_partition", "validate_partition", "publish_partition", "score_partition", "measure_performance", "recalibrate_models",
    "decide_remedies", "write_report", "snapshot_data", "train_model", "search_trial", "evaluate_model", "register_model", "compare_versions",
)  # fmt: skip
"""Tasks that hold partitions or a model in memory."""


def task_policy(task: Any) -> None:
    """Have the pod of a task of Updraft's made from the template of its kind; a task of a team's own DAG keeps the chart's.

    :param task: an operator, mapped or not, as the processor of DAG files has read it.
    """
    operator = getattr(task, "operator_class", type(task))
    if not operator.__module__.startswith("updraft_airflow."):
        return
    if any(base.__name__ == "KubernetesPodOperator" for base in operator.__mro__):
        kind = "launcher"
    else:
        kind = "heavy" if task.task_id.rpartition(".")[2] in _HOLDS_ROWS else "light"
    config = {"pod_template_file": f"{_TEMPLATES}/{kind}.yaml", **(task.executor_config or {})}
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs["executor_config"] = config
    else:
        task.executor_config = config


if _TEMPLATES:
    __all__ += ["task_policy"]


def _some_train_in_pods() -> bool:
    """Whether a project speaks of Kubernetes, read as text: this is a hint, and a project that does not read keeps no program from starting."""
    folder = os.environ.get("UPDRAFT_PROJECTS")
    files = Path(folder).glob("*/project*.yaml") if folder else ()
    try:
        return any(b"kubernetes" in file.read_bytes() for file in files)
    except OSError:
        return False


_names = _AHEAD.get(os.environ.pop("UPDRAFT_PRELOAD", ""), ())
if _names and _some_train_in_pods():
    _names += _OF_PODS
for _name in _names:
    try:
        importlib.import_module(_name)
    except ImportError as _error:
        logging.getLogger("updraft").warning("not imported ahead: %s (%s); forks that need it import it", _name, _error)

if _needs := os.environ.pop("UPDRAFT_WAITS_FOR", ""):
    from updraft.stack.lives import live

    # The scheduler dies when its database goes away. What takes time is done by the time that it is back.
    live(Path(os.environ["UPDRAFT_HOME"], "stack"), "scheduler", [int(_port) for _port in _needs.split(",")])
