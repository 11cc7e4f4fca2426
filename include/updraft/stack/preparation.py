"""What happens once per version, or once per start, between PostgreSQL and the rest: migrations and settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version

from updraft.errors import StackError
from updraft.stack import airflow_settings, environment
from updraft.stack.access import ADMIN, sign_in
from updraft.stack.home import UMASK
from updraft.stack.layout import API_SERVER, Layout, write_private
from updraft.stack.plan import Plan

_PACKAGES = ("apache-airflow-core", "apache-airflow-providers-standard")


def migrate(layout: Layout, plan: Plan, say: Callable[[str], None]) -> None:
    """Bring the databases of Airflow and of the store to the installed version; skipped where they are.

    :raises StackError: when Airflow's migration fails, with what it said.
    """
    env = plan.programs[API_SERVER].env
    stamp = layout.stack / "migrated.json"
    wanted = {**{name: version(name) for name in _PACKAGES}, "data": plan.postgres_data}
    try:
        done = json.loads(stamp.read_text())
    except (FileNotFoundError, ValueError):
        done = None
    if done != wanted:
        say("creating Airflow's tables")
        _run(layout, env, "-m", "airflow", "db", "migrate")
        write_private(stamp, json.dumps(wanted))
    from updraft.store.migrations import upgrade

    upgrade(env["UPDRAFT_STORE"])


def _run(layout: Layout, env: Mapping[str, str], *arguments: str) -> None:
    full = {**environment.inherited(os.environ), **env}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=full, cwd=layout.home, umask=UMASK, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
        raise StackError(f"`{' '.join(arguments[1:])}` failed (exit status {done.returncode}):\n{said}")


def load_airflow_settings(layout: Layout, env: Mapping[str, str], say: Callable[[str], None]) -> None:
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
