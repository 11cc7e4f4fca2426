"""The Secrets that the chart's values name: whole, drawn once, and readable by those who get them."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from tests.support.chart import HELM, SETTINGS, values

from updraft.data.privacy import load_key
from updraft.registry.signing import key_pair
from updraft.store.anchors import AuditKey


def run(folder):
    command = [sys.executable, str(HELM / "secrets"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_every_secret_that_the_values_name_is_made_with_its_keys(secrets):
    named = values("values.yaml")
    assert named["data"]["metadataSecretName"] in secrets
    assert {"connection", "kedaConnection"} <= set(secrets[named["data"]["metadataSecretName"]])
    for setting, key in {
        "fernetKeySecretName": "fernet-key",
        "apiSecretKeySecretName": "api-secret-key",
        "jwtSecretName": "jwt-secret",
    }.items():
        assert key in secrets[named[setting]]
    assert {"pgbouncer.ini", "users.txt", named["pgbouncer"]["metricsExporterSidecar"]["statsSecretKey"]} <= set(
        secrets[named["pgbouncer"]["configSecretName"]]
    )
    assert named["updraft"]["secret"] in secrets
    Fernet(secrets["updraft-airflow"]["fernet-key"])


def test_the_store_and_asynchronous_sessions_go_to_postgresql_itself_and_the_rest_through_pgbouncer(secrets):
    through = sa.make_url(secrets["updraft-metadata"]["connection"].decode())
    assert (through.host, through.port, through.database) == ("updraft-pgbouncer.airflow", 6543, "updraft-metadata")
    assert through.password == 'p@ss/"word'
    bouncer = configparser.ConfigParser()
    bouncer.read_string(secrets["updraft-pgbouncer"]["pgbouncer.ini"].decode())
    assert "dbname=airflow" in bouncer["databases"]["updraft-metadata"]
    assert bouncer["pgbouncer"]["pool_mode"] == "transaction"
    assert secrets["updraft-pgbouncer"]["users.txt"].decode().splitlines()[0] == '"airflow" "p@ss/""word"'
    for name in ("UPDRAFT_STORE", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"):
        direct = sa.make_url(secrets["updraft"][name].decode())
        assert (direct.host, direct.port) == ("db.example.com", 5432)
        direct.get_dialect().import_dbapi()


def test_a_container_that_gets_the_keys_makes_none_of_its_own(secrets, tmp_path):
    for name, content in secrets["updraft-keys"].items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    load_key(tmp_path / "pseudonym.key")
    key_pair(tmp_path)
    AuditKey(tmp_path).private.public_key()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_was_drawn_stays_when_a_setting_changes_and_is_closed_to_others(secrets_folder, secrets, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(secrets_folder, folder)
    (folder / "settings.env").write_text(SETTINGS.replace("=other", "=changed"))
    done = run(folder)
    assert done.returncode == 0, done.stderr
    made = {item["metadata"]["name"]: item["data"] for item in json.loads(done.stdout)["items"]}
    assert set(made) == set(secrets)
    again = run(folder)
    assert again.stdout == done.stdout
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "drawn.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SETTINGS.replace("POSTGRES_HOST=db.example.com\n", ""), "settings.env: POSTGRES_HOST not set"),
        (SETTINGS + "AWS_REGION\n", "settings.env, line 10: not NAME=VALUE"),
        (SETTINGS + "POSTGRESS=x\n", "settings.env, line 10: POSTGRESS is read by nothing"),
        (None, "settings.env: no such file"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(secrets_script, tmp_path, text, words):
    if text is not None:
        (tmp_path / "settings.env").write_text(text)
    with pytest.raises(SystemExit, match=words):
        secrets_script.secrets_of(tmp_path, "updraft", "airflow")
    assert not (tmp_path / "drawn.json").exists()
