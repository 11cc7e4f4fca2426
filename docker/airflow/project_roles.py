"""Print the roles of one project, in the form that ``airflow roles import`` reads.

``python docker/airflow/project_roles.py flight_delays > roles.flight_delays.json`` makes ``updraft_viewer_flight_delays``,
``updraft_operator_flight_delays`` and ``updraft_approver_flight_delays`` of ``roles.json``. They reach the project's DAGs
in place of all DAGs; an approver may change ``<project>.release`` alone. Airflow must know the project's DAGs first
(``airflow sync-perm --include-dags``). A project with searches has one DAG more: add ``search`` after its name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STAGES = ("ingest", "score", "monitor", "watch", "train", "release", "rollback")
ALL_DAGS = "DAGs"
CHANGES = "can_edit"


def project_roles(project: str, roles: list[dict[str, Any]], stages: tuple[str, ...] = STAGES) -> list[dict[str, Any]]:
    """The roles of a project: what they allow for all DAGs they allow for its own. Menus are for everybody."""
    made = []
    for role in roles:
        name = f"{role['name']}_{project}"
        if role["resource"] != ALL_DAGS:
            made.append({**role, "name": name})
            continue
        actions = role["action"].split(",")
        menus = [action for action in actions if action == "menu_access"]
        if menus:
            made.append({"name": name, "resource": ALL_DAGS, "action": ",".join(menus)})
        approver = role["name"] == "updraft_approver"
        for stage in stages:
            own = [
                action
                for action in actions
                if action not in menus and (action != CHANGES or not approver or stage == "release")
            ]
            made.append({"name": name, "resource": f"DAG:{project}.{stage}", "action": ",".join(own)})
    return made


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} PROJECT [STAGE…]; named are the stages beside {', '.join(STAGES)}")
    known = json.loads(Path(__file__).with_name("roles.json").read_text())
    print(json.dumps(project_roles(sys.argv[1], known, (*STAGES, *sys.argv[2:])), indent=1))
