"""airflow_settings.yaml: the Astro CLI's format, checked as a whole, turned into bodies of Airflow's API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from updraft.errors import SettingsError
from updraft.stack import airflow_settings
from updraft.stack.layout import ROOT


def _load(tmp_path: Path, text: str) -> airflow_settings.AirflowSettings:
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return airflow_settings.load(path)


def test_the_projects_own_file_is_in_order() -> None:
    found = airflow_settings.load(ROOT / "airflow_settings.yaml")
    assert [pool["name"] for pool in found.pools] == ["training", "gpu"]


def test_every_key_of_the_format_arrives(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        """
airflow:
  connections:
    - conn_id: db
      conn_type: postgres
      conn_host: db.example
      conn_schema: analytics
      conn_login: reader
      conn_password: secret
      conn_port: 5433
      conn_uri:
      conn_extra: {sslmode: require}
  pools:
    - {pool_name: training, pool_slot: 2, pool_description: one at a time}
  variables:
    - {variable_name: region, variable_value: eu}
    - {variable_name: limits, variable_value: {rows: 5}}
""",
    )
    assert found.connections == (
        {
            "connection_id": "db",
            "conn_type": "postgres",
            "host": "db.example",
            "schema": "analytics",
            "login": "reader",
            "password": "secret",
            "port": 5433,
            "extra": '{"sslmode": "require"}',
        },
    )
    assert found.pools == ({"name": "training", "slots": 2, "include_deferred": True, "description": "one at a time"},)
    assert found.variables == ({"key": "region", "value": "eu"}, {"key": "limits", "value": '{"rows": 5}'})


def test_a_connection_uri_is_taken_apart(tmp_path: Path) -> None:
    uri = "postgresql://me:p%40ss@db.example:5432/sales%2Feu?sslmode=require"
    found = _load(tmp_path, f"airflow: {{connections: [{{conn_id: db, conn_uri: '{uri}'}}]}}").connections[0]
    assert json.loads(found.pop("extra")) == {"sslmode": "require"}
    assert found == {
        "connection_id": "db",
        "conn_type": "postgres",
        "host": "db.example",
        "login": "me",
        "password": "p@ss",
        "schema": "sales/eu",
        "port": 5432,
    }


@pytest.mark.parametrize("text", ["", "airflow:\n", "airflow: {connections: , pools: []}\n"])
def test_an_empty_file_names_nothing(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text) == airflow_settings.AirflowSettings()


def test_items_of_the_untouched_template_are_skipped(tmp_path: Path) -> None:
    text = "airflow: {connections: [{conn_id: , conn_type: , conn_extra: {}}], pools: [{pool_name: , pool_slot: }]}"
    assert _load(tmp_path, text) == airflow_settings.AirflowSettings()


def test_every_problem_is_named_at_once_with_item_and_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(
            tmp_path,
            """
airflow:
  connection: []
  connections:
    - {conn_id: a, conn_type: http, conn_hots: x}
    - {conn_id: b, conn_type: http, conn_port: "80"}
    - {conn_type: http}
    - {conn_id: c, conn_uri: "http://x", conn_login: me}
    - {conn_id: d, conn_type: http, conn_extra: "not json"}
    - {conn_id: e, conn_type: http, conn_password: 5}
  pools:
    - {pool_name: p}
    - training
  variables:
    - {variable_name: v, variable_value: 1}
    - {variable_name: v, variable_value: 2}
""",
        )
    text = str(caught.value)
    assert "airflow_settings.yaml has 10 problem(s)" in text
    for expected in (
        "airflow: unknown key 'connection'; did you mean `connections`?",
        "airflow.connections[0]: unknown key 'conn_hots'; did you mean `conn_host`?",
        "airflow.connections[1].conn_port: expected a whole number, found '80'",
        "airflow.connections[2]: conn_id is missing",
        "airflow.connections[3]: give conn_uri or conn_login, not both",
        "airflow.connections[4].conn_extra: expected a mapping or the text of a JSON object",
        "airflow.connections[5].conn_password: expected text, found (hidden)",
        "airflow.pools[0]: pool_slot missing",
        "airflow.pools[1]: expected a mapping",
        "airflow.variables: 'v' is there 2 times",
    ):
        assert expected in text


def test_what_is_not_yaml_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"airflow_settings\.yaml:2: not YAML"):
        _load(tmp_path, "airflow: [")
