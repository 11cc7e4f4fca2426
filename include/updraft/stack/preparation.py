"""What happens once per version, or once per start, between PostgreSQL and the rest: migrations and settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from updraft.errors import StackError
from updraft.stack import airflow_settings, dumps, environment, supervision
from updraft.stack.access import ADMIN, sign_in
from updraft.stack.dumps import dump_before
from updraft.stack.home import UMASK
from updraft.stack.layout import API_SERVER, MLFLOW, POSTGRES, PROGRAMS, Layout, write_private
from updraft.stack.plan import Plan

_AIRFLOW = ("apache-airflow-core", "apache-airflow-providers-standard")
_UPGRADE_MLFLOW = (
    "import os; from mlflow.db import commands; commands(['upgrade', os.environ['MLFLOW_BACKEND_STORE_URI']])"
)
"""As `mlflow db upgrade` does it; its argument holds a password, and a command line can be read by others."""

Say = Callable[[str], None]


def migrate_mlflow(layout: Layout, plan: Plan, say: Say) -> None:
    """Bring the tables of MLflow to the installed version, after a dump, before MLflow is started; an empty database it fills itself.

    :raises StackError: when the dump or the migration fails, with what it said.
    """
    env = plan.programs[MLFLOW].env
    installed = {"mlflow": version("mlflow")}
    if _reached(layout, plan, "mlflow") == installed:
        return
    database = env["MLFLOW_BACKEND_STORE_URI"]
    if dumps.has_tables(database):
        _stop_programs(layout)
        dump_before("mlflow", database, layout.backups, say)
        _run(layout, env, "-c", _UPGRADE_MLFLOW)
    _note_reached(layout, plan, "mlflow", installed)


def migrate(layout: Layout, plan: Plan, say: Say) -> None:
    """Bring the databases of Airflow and of the store to the installed version, after a dump; skipped where they are.

    :raises StackError: when a dump or Airflow's migration fails, with what it said.
    :raises StoreError: when the store is of a newer version.
    """
    env = plan.programs[API_SERVER].env
    installed = {name: version(name) for name in _AIRFLOW}
    if _reached(layout, plan, "airflow") != installed:
        database = env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        if dumps.has_tables(database):
            _stop_programs(layout)
            dump_before("airflow", database, layout.backups, say)
        say("bringing Airflow's tables to this version")
        _run(layout, env, "-m", "airflow", "db", "migrate")
        _note_reached(layout, plan, "airflow", installed)
    migrate_store(env["UPDRAFT_STORE"], layout.backups, say, stop=lambda: _stop_programs(layout))


def _stop_programs(layout: Layout) -> None:
    """Stop what was started by an earlier version and still uses the tables: `make up` starts it again."""
    if supervision.running(layout) is not None:
        supervision.stop_programs(layout, [name for name in PROGRAMS if name != POSTGRES], seconds=30)


def migrate_store(url: str, backups: Path, say: Say, *, stop: Callable[[], None] = lambda: None) -> None:
    """Bring the store to the newest schema, and Optuna's tables in it to the installed version; after a dump when there is something to lose.

    :param url: SQLAlchemy URL.
    :param backups: folder of the dump.
    :param stop: stops what uses the store; called when there is something to do.
    :raises StackError: when it cannot be dumped; nothing was changed.
    :raises StoreError: when the store is of a newer version, or not what it says it is.
    """
    from updraft.search.schema import search_schema_behind, upgrade_search_schema
    from updraft.store import migrations

    missing, current = migrations.pending(url), migrations.revision_of(url)
    searches = search_schema_behind(url)
    if current is not None and (missing or searches):
        stop()
        dump_before(f"store-{current}", url, backups, say)
    if missing:
        migrations.upgrade(url)
        if current is not None:
            say(f"the store's schema went from {current} to {missing[-1]}")
    if searches:
        upgrade_search_schema(url)
        say(f"Optuna's tables in the store went on from {searches}")


def _reached(layout: Layout, plan: Plan, database: str) -> Any:
    """The versions that a database was brought to at the last start; None when nobody knows, or PostgreSQL's data is another by now."""
    try:
        stamp = json.loads(layout.migrated.read_text())
        return stamp[database] if stamp["data"] == plan.postgres_data else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _note_reached(layout: Layout, plan: Plan, database: str, versions: Mapping[str, str]) -> None:
    others = {name: known for name in ("airflow", "mlflow") if (known := _reached(layout, plan, name)) is not None}
    stamp = {**others, database: versions, "data": plan.postgres_data}
    write_private(layout.migrated, json.dumps(stamp, indent=1))


def _run(layout: Layout, env: Mapping[str, str], *arguments: str) -> None:
    full = {**environment.inherited(os.environ), **env}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=full, cwd=layout.home, umask=UMASK, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
        shown = "MLflow's migration" if arguments[0] == "-c" else f"`{' '.join(arguments[1:])}`"
        raise StackError(f"{shown} failed (exit status {done.returncode}):\n{said}")


def load_airflow_settings(layout: Layout, env: Mapping[str, str], say: Say) -> None:
    """Load ``airflow_settings.yaml`` of the checkout, if there is one, into the running Airflow.

    :raises SettingsError: when the file is wrong.
    :raises StackError: when Airflow does not take it.
    """
    path = layout.root / "airflow_settings.yaml"
    if not path.exists():
        return
    settings = airflow_settings.load(path)
    api = sign_in(layout, env["UPDRAFT_AIRFLOW"], ADMIN)
    count = airflow_settings.push(settings, api)
    say(f"loaded {count} item(s) of {path.name}")
