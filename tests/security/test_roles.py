"""Who may do what: FAB's roles of a team, in a real Airflow; above all, who answers an approval."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.support.team_airflow import MARKED, RUN, TASK

pytestmark = pytest.mark.timeout(600)
ROLES = Path(__file__).resolve().parents[2] / "docker" / "airflow" / "roles.json"
DECIDE = Path(__file__).parent.parent / "support" / "team_airflow_decide.py"
ANSWER = {"chosen_options": ["Approve"], "params_input": {}}
READ_ALL = {"DAG", "RUN", "TASK_INSTANCE", "TASK_LOGS", "XCOM", "CODE", "HITL_DETAIL", "VERSION"}
"""Entities of a DAG, as Airflow asks about them; ``DAG`` is the DAG itself."""


def patch(client: httpx.Client, dag: str, run: str = RUN) -> httpx.Response:
    """Answer an approval."""
    return client.patch(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{TASK}/-1/hitlDetails", json=ANSWER)


def test_an_approver_answers_and_nobody_else_does(team_airflow):
    statuses = {}
    for user in ("viewer", "operator", "alpha_viewer", "alpha_operator", "nobody"):
        with team_airflow.client(user) as client:
            statuses[user] = patch(client, "alpha.release").status_code
    assert set(statuses.values()) == {403}, statuses
    with team_airflow.client("viewer") as client:
        task = client.get(f"/api/v2/dags/alpha.release/dagRuns/{RUN}/taskInstances/{TASK}").json()
        assert task["state"] == "awaiting_input"
        details = client.get(f"/api/v2/dags/alpha.release/dagRuns/{RUN}/taskInstances/{TASK}/-1/hitlDetails").json()
        assert not details["response_received"]

    with team_airflow.client("alpha_approver") as client:
        assert patch(client, "beta.release").status_code == 403
        answered = patch(client, "alpha.release")
        assert answered.status_code == 200, answered.text
        assert answered.json()["responded_by"]["name"].startswith("alpha_approver")
    for user in ("approver", "admin"):
        with team_airflow.client(user) as client:
            assert patch(client, "alpha.release").status_code == 409  # it was answered already
            assert patch(client, "beta.release", "no_such_run").status_code == 404


# (method, entity) → the users that Airflow lets through, of those below. A method on DAG itself: PUT pauses it.
TEAM = ("viewer", "operator", "approver", "admin")
ALLOWED = {
    **{("GET", entity): set(TEAM) for entity in READ_ALL},
    ("PUT", "HITL_DETAIL"): {"approver", "admin"},
    ("POST", "HITL_DETAIL"): set(),
    ("DELETE", "HITL_DETAIL"): set(),
    ("PUT", "DAG"): {"operator", "approver", "admin"},
    ("DELETE", "DAG"): {"admin"},
    ("POST", "RUN"): {"operator", "admin"},
    ("PUT", "RUN"): {"operator", "admin"},
    ("DELETE", "RUN"): {"admin"},
    ("PUT", "TASK_INSTANCE"): {"operator", "admin"},
    ("DELETE", "TASK_INSTANCE"): {"admin"},
    ("POST", "XCOM"): {"admin"},
    ("PUT", "XCOM"): {"admin"},
    ("DELETE", "XCOM"): {"admin"},
}


@pytest.fixture(scope="module")
def decided(team_airflow):
    """(user, method, entity, DAG) → FAB's decision."""
    rows = json.loads(team_airflow.python(DECIDE).splitlines()[-1])
    return {tuple(row[:4]): row[4] for row in rows}


@pytest.mark.parametrize(("method", "entity"), sorted(ALLOWED))
def test_the_roles_of_a_team_allow_what_the_table_says(decided, method, entity):
    allowed = {user for user in TEAM if decided[user, method, entity, "alpha.release"]}
    assert allowed == ALLOWED[method, entity]
    assert not decided["nobody", method, entity, "alpha.release"]


@pytest.mark.parametrize(("method", "entity"), sorted(ALLOWED))
def test_the_roles_of_a_project_allow_the_same_in_it_and_nothing_elsewhere(decided, method, entity):
    for role in ("viewer", "operator", "approver"):
        mine = decided[f"alpha_{role}", method, entity, "alpha.release"]
        assert mine == (role in ALLOWED[method, entity]), role
        assert not decided[f"alpha_{role}", method, entity, "beta.release"], role
    # Elsewhere in their project approvers read: only a release waits for them.
    if method == "PUT":
        assert not decided["alpha_approver", method, entity, "alpha.train"]


def test_airflows_own_roles_user_and_op_answer_approvals(decided):
    """Why a team gives nobody these roles: this is to be noticed, not wanted."""
    answers = {
        user for user in ("fab_viewer", "fab_user", "fab_op") if decided[user, "PUT", "HITL_DETAIL", "alpha.release"]
    }
    assert answers == {"fab_user", "fab_op"}


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_the_simple_auth_manager_of_one_machine_tells_approvers_from_viewers_alone(role):
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username="ann", role=role)
    answers = SimpleAuthManager().is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.HITL_DETAIL, details=DagDetails(id="alpha.release"), user=user
    )
    assert answers == (role != "viewer")


def test_no_role_of_a_team_changes_users_roles_connections_variables_or_pools():
    changes = {
        (row["name"], row["resource"])
        for row in json.loads(ROLES.read_text())
        if {"can_create", "can_edit", "can_delete"} & set(row["action"].split(","))
    }
    own = {"My Password", "My Profile"}
    assert {(role, resource) for role, resource in changes if resource not in own} == {
        *(("updraft_operator", resource) for resource in ("Backfills", "DAG Runs", "DAGs", "Task Instances")),
        *(("updraft_approver", resource) for resource in ("DAGs", "HITL Detail")),
    }
    hidden = {"Connections", "Variables", "Configurations", "Users", "Roles", "Passwords"}
    assert not hidden & {row["resource"] for row in json.loads(ROLES.read_text())}


def test_an_operator_marks_the_task_that_asks_as_a_success_and_airflow_lets_it(team_airflow):
    """What the promotion itself refuses: see test_approval among the plugin's tests."""
    with team_airflow.client("operator") as client:
        address = f"/api/v2/dags/alpha.release/dagRuns/{MARKED}/taskInstances/{TASK}"
        assert client.patch(address, json={"new_state": "success"}).status_code == 200
    with team_airflow.client("approver") as client:
        assert client.patch(address, json={"new_state": "success"}).status_code == 403
