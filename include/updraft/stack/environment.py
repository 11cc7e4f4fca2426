"""The environment of each program of the stack, and what it tells the world in ``env.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from updraft.settings import METRICS_TOKEN, MLFLOW_PATIENCE, Settings
from updraft.stack import mlflow_accounts, postgres
from updraft.stack.layout import API_SERVER, DAG_PROCESSOR, LOOPBACK, MLFLOW, POSTGRES, SCHEDULER, Layout
from updraft.stack.processes import MARK
from updraft.stack.secrets import Secrets

AIRFLOW_CONFIG = Path(__file__).with_name("airflow_config")
"""Holds ``airflow_local_settings.py``, which Airflow imports by that name."""

NOT_INHERITED = (
    "AIRFLOW_",
    "MLFLOW_",
    "UPDRAFT_",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",
    "VIRTUAL_ENV",
)
"""Beginnings of the variables of the caller that no program of the stack gets: the stack sets its own."""

KEPT = (
    "UPDRAFT_SLACK",
    "AIRFLOW_CONN_",
    "AIRFLOW_VAR_",
    "AIRFLOW__METRICS__",
    "AIRFLOW__LOGGING__JSON_LOGS",
    "AIRFLOW__OPENLINEAGE__",
)
"""Of those, what a person sets on purpose for the programs."""

QUIET = {
    # Threads of XGBoost that wait must not spin: on a busy machine that costs a training four times its time.
    "OMP_WAIT_POLICY": "PASSIVE",
    # No program of the stack reports to its makers.
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "SCARF_ANALYTICS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def addresses(ports: Mapping[str, int]) -> tuple[str, str]:
    """Base URLs of MLflow and of Airflow."""
    return f"http://{LOOPBACK}:{ports['mlflow']}", f"http://{LOOPBACK}:{ports['airflow']}"


def public(settings: Settings, layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """What ``env.json`` holds: enough for ``Settings``, and for ``airflow`` commands by hand.

    It opens the store, Airflow's database and, as the programs' account, MLflow. PostgreSQL's superuser and MLflow's
    database it does not open. ``UPDRAFT_AIRFLOW_PASSWORDS`` is the path of a JSON object from Airflow's one user,
    ``admin``, to its password.
    """
    mlflow, airflow = addresses(ports)
    return {
        "UPDRAFT_HOME": str(settings.home),
        "UPDRAFT_PROJECTS": str(settings.projects),
        "UPDRAFT_DEPLOYMENT": str(settings.deployment),
        **({"UPDRAFT_ENVIRONMENT": settings.environment} if settings.environment else {}),
        "UPDRAFT_LAKE": settings.lake,
        **({"UPDRAFT_RAW": settings.raw} if settings.raw else {}),
        **({"UPDRAFT_AUDIT": settings.audit} if settings.audit else {}),
        "UPDRAFT_STORE": postgres.url("updraft", ports["postgres"], secrets.database_updraft),
        "UPDRAFT_MLFLOW": mlflow,
        "UPDRAFT_AIRFLOW": airflow,
        "UPDRAFT_AIRFLOW_PASSWORDS": str(layout.airflow_passwords),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_REGISTRY_URI": mlflow,
        "MLFLOW_TRACKING_USERNAME": mlflow_accounts.PROGRAMS,
        "MLFLOW_TRACKING_PASSWORD": secrets.mlflow_programs,
        "PYTHONPATH": os.pathsep.join(str(layout.root / part) for part in ("", "include", "plugins")),
        **airflow_settings(layout, ports, secrets),
        **QUIET,
    }


_SCHEDULER: Mapping[str, object] = {
    "scheduler_idle_sleep_time": 0,  # the executor waits in its place, until a task ends
    "task_queued_timeout": 90,  # a worker takes a task within milliseconds: one that is not begun by then was lost with it
    "task_queued_timeout_check_interval": 15,
    "scheduler_heartbeat_sec": 2,
    "scheduler_health_check_threshold": 20,
    # A killed scheduler takes its tasks with it (they are reaped): find that out in seconds, not minutes.
    "orphaned_tasks_check_interval": 10,
    "task_instance_heartbeat_timeout": 30,
    "task_instance_heartbeat_timeout_detection_interval": 5,
    "trigger_timeout_check_interval": 5,
    "enable_health_check": False,
    "catchup_by_default": False,
}
_DAG_PROCESSOR: Mapping[str, object] = {
    "refresh_interval": 10,
    "parsing_processes": 1,
    "min_file_process_interval": 30,
    "bundle_refresh_check_interval": 2,
    "print_stats_interval": 300,
}
_WORKERS: Mapping[str, object] = {
    # A worker that looks just before its task's process has gone looks again after this many seconds, and holds
    # its slot until then: with the usual 5 and eight workers, tasks at a fast pace wait for up to 5 s.
    "min_heartbeat_interval": 1,
    # The API server restarts in about 15 s; a running task waits for it instead of dying with it.
    "max_failed_heartbeats": 90,
    "execution_api_retries": 24,
    "execution_api_retry_wait_max": 4,  # a scheduler that dies with its database waits for its tasks to be told
}


_FORKS: Mapping[str, str] = {SCHEDULER: "tasks", DAG_PROCESSOR: "dags"}
"""Programs that fork for each piece of work, and what they import ahead for it."""


def airflow_settings(layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> dict[str, str]:
    """Airflow's configuration, as the environment variables that it reads."""
    base = addresses(ports)[1]
    sections: dict[str, Mapping[str, object]] = {
        "core": _core(layout, base, secrets),
        "database": _database(ports, secrets),
        "scheduler": _SCHEDULER,
        "dag_processor": _DAG_PROCESSOR,
        "triggerer": {"job_heartbeat_sec": 2, "triggerer_health_check_threshold": 20},
        "api": {
            "host": LOOPBACK,
            "port": ports["airflow"],
            "base_url": base,
            "workers": 1,
            "secret_key": secrets.web,
            "instance_name": "Updraft",
        },
        "api_auth": {"jwt_secret": secrets.jwt, "jwt_issuer": issuer(layout)},
        "workers": _WORKERS,
        "logging": _logging(layout),
    }
    env = {
        f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
        for section, keys in sections.items()
        for key, value in keys.items()
    }
    return {"AIRFLOW_HOME": str(layout.airflow_home), **env}


def _core(layout: Layout, base: str, secrets: Secrets) -> dict[str, object]:
    return {
        "executor": "updraft_airflow.executor.PromptLocalExecutor",
        "parallelism": 16,  # idle workers are forks of the scheduler and share its memory
        "mp_start_method": "fork",  # tasks share what the scheduler has imported
        "dags_folder": layout.dags,
        "plugins_folder": layout.root / "plugins",
        "load_examples": False,
        "dags_are_paused_at_creation": False,
        "fernet_key": secrets.fernet,
        "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "simple_auth_manager_users": "admin:admin",
        "simple_auth_manager_passwords_file": layout.airflow_passwords,
        "execution_api_server_url": f"{base}/execution/",
        "default_task_retry_delay": 5,
        "min_serialized_dag_update_interval": 5,
        "hostname_callable": "socket.gethostname",  # the full name asks DNS, for 5 s where there is none
    }


def _database(ports: Mapping[str, int], secrets: Secrets) -> dict[str, object]:
    port, password = ports["postgres"], secrets.database_airflow
    return {
        "sql_alchemy_conn": postgres.url("airflow", port, password),
        "sql_alchemy_conn_async": postgres.url("airflow", port, password, driver="psycopg"),
    }


def _logging(layout: Layout) -> dict[str, object]:
    return {
        "base_log_folder": layout.airflow_home / "logs",
        "dag_processor_child_process_log_directory": layout.airflow_home / "logs" / "dag_processor",
        "colored_console_log": False,
        "file_task_handler_new_folder_permissions": "0o700",
        "file_task_handler_new_file_permissions": "0o600",
    }


def issuer(layout: Layout) -> str:
    """Who signs the tokens of this Airflow: a token of another deployment is none here."""
    return f"updraft-{layout.id}"


def of_program(name: str, layout: Layout, shared: Mapping[str, str], waits_for: Sequence[int] = ()) -> dict[str, str]:
    """The environment that one program of Airflow gets on top of the caller's.

    :param waits_for: ports that the scheduler waits for when it has imported what takes time.

    They share Airflow's own secrets: each of them works on Airflow's database and runs code of the projects.
    """
    env = {
        **shared,
        **_of_any(name, layout),
        "PYTHONPATH": os.pathsep.join([shared["PYTHONPATH"], str(AIRFLOW_CONFIG)]),
        "MPLBACKEND": "Agg",
        **MLFLOW_PATIENCE,
    }
    if name != API_SERVER:
        del env["AIRFLOW__API__SECRET_KEY"]  # signs people's web sessions
    if name in _FORKS:
        env |= {"UPDRAFT_PRELOAD": _FORKS[name], "OPENBLAS_NUM_THREADS": "1"}  # no thread pool before the fork
    if name == SCHEDULER:
        env |= {"UPDRAFT_WAITS_FOR": ",".join(str(port) for port in waits_for)}
    return env


def _of_any(name: str, layout: Layout) -> dict[str, str]:
    return {
        **QUIET,
        MARK: f"{layout.id}:{name}",
        "SPT_NOENV": "1",  # setproctitle would write the title over the environment, and so over the mark
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # libraries' own, one per parsed DAG file
    }


def of_mlflow(layout: Layout, ports: Mapping[str, int], secrets: Secrets) -> tuple[list[str], dict[str, str]]:
    """Arguments after the interpreter, and the variables, of the MLflow server. No password is an argument.

    It gets nothing of what the other programs share: its own database and its accounts are all it has to know.
    """
    artifacts = (layout.home / "mlflow").as_uri()
    arguments = ["-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(ports["mlflow"]), "--workers", "1"]
    arguments += ["--app-name", "basic-auth"]
    env = {
        **_of_any(MLFLOW, layout),
        "MLFLOW_BACKEND_STORE_URI": mlflow_database(ports, secrets),
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 15 processes less
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.mlflow,
        "MLFLOW_AUTH_CONFIG_PATH": str(layout.mlflow_sign_in),
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",  # what MLflow has no rule for is refused
    }
    return arguments, env


def mlflow_database(ports: Mapping[str, int], secrets: Secrets) -> str:
    """SQLAlchemy URL of MLflow's database: runs, models and accounts."""
    return postgres.url("mlflow", ports["postgres"], secrets.database_mlflow)


def inherited(env: Mapping[str, str], program: str = "") -> dict[str, str]:
    """What a program of the stack keeps of the caller's environment: connections are for Airflow's programs alone, the scraper's token for
    the one that answers it.

    :param program: empty for what starts the programs.
    """
    if program == POSTGRES:
        return postgres.kept_of(env)
    kept = () if program == MLFLOW else KEPT
    if program in ("", API_SERVER):
        kept = (*kept, METRICS_TOKEN)
    return {name: value for name, value in env.items() if not name.startswith(NOT_INHERITED) or name.startswith(kept)}


def as_shell(env: Mapping[str, str]) -> str:
    """The variables as a file for ``.`` of a POSIX shell."""
    lines = [
        f"export {name}='{value.replace(chr(39), chr(39) + chr(92) + chr(39) * 2)}'" for name, value in env.items()
    ]
    return "\n".join(["# Written by `make up`: the embedded stack's environment, for commands by hand.", *lines, ""])
