"""Prints what FAB's auth manager decides: rows of user, method, entity, DAG, and whether it is allowed, as JSON.

Run as a script, with the settings of :mod:`.team_airflow`.
"""

from __future__ import annotations

import json


def main() -> None:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
    from tests.support.team_airflow import ROLES

    manager = FabAuthManager()
    rows = []
    with get_application_builder() as builder:
        manager.appbuilder = builder
        for name in ROLES:
            user = manager.deserialize_user({"sub": str(builder.sm.find_user(name).id)})
            for method in ("GET", "POST", "PUT", "DELETE"):
                for entity in (None, *DagAccessEntity):
                    for dag in ("alpha.release", "alpha.train", "beta.release"):
                        allowed = manager.is_authorized_dag(
                            method=method, user=user, access_entity=entity, details=DagDetails(id=dag)
                        )
                        rows.append([name, method, entity.name if entity else "DAG", dag, bool(allowed)])
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
