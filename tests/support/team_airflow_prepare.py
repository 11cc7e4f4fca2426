"""Prepares the database of :mod:`.team_airflow`: tables, DAGs, roles from the project's files, users, releases that wait.

Run as a script, with the settings of that Airflow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path


def main() -> None:
    from airflow.utils.db import initdb

    initdb()
    _dags()
    _roles_and_users()
    _waiting_releases()


def _dags() -> None:
    from airflow.cli.commands.dag_command import dag_reserialize

    dag_reserialize(Namespace(bundle_name=None))


def _roles_and_users() -> None:
    from airflow.providers.fab.auth_manager.cli_commands import role_command
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from tests.support.team_airflow import ROLES

    folder = Path(os.environ["TEAM_ROLES"])
    made = subprocess.run([sys.executable, folder / "project_roles.py", "alpha"], check=True, capture_output=True)
    of_alpha = Path(os.environ["AIRFLOW_HOME"]) / "roles.alpha.json"
    of_alpha.write_bytes(made.stdout)
    with get_application_builder() as builder:
        builder.add_permissions(update_perms=True)  # what `airflow sync-perm --include-dags` does
        builder.sm.sync_roles()
        builder.sm.create_dag_specific_permissions()
        # `airflow roles import` builds the same again for each row of a file, half a second each.
        role_command.get_application_builder = lambda: nullcontext(builder)
        for file in (folder / "roles.json", of_alpha):
            role_command.roles_import(Namespace(file=str(file), verbose=False))
        for user, role in ROLES.items():
            added = builder.sm.add_user(
                user, user, "Team", f"{user}@example.org", builder.sm.find_role(role), os.environ["TEAM_PASSWORD"]
            )
            assert added, (user, role)


def _waiting_releases() -> None:
    from airflow.models.hitl import HITLDetail
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from tests.support.team_airflow import MARKED, RUN, TASK

    with create_session() as session:
        dag = SerializedDagModel.get_dag("alpha.release", session=session)
        now = datetime.now(UTC)
        for run in (RUN, MARKED):
            dag.create_dagrun(
                run_id=run,
                run_after=now,
                run_type=DagRunType.MANUAL,
                triggered_by=DagRunTriggeredByType.TEST,
                state=DagRunState.RUNNING,
                session=session,
            )
            session.flush()
            waiting = session.query(TaskInstance).filter_by(dag_id="alpha.release", run_id=run, task_id=TASK).one()
            waiting.state = TaskInstanceState.AWAITING_INPUT
            session.add(HITLDetail(ti_id=waiting.id, options=["Approve", "Reject"], subject="Promote?", params={}))


if __name__ == "__main__":
    main()
    print(json.dumps("ready"))
