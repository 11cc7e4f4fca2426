"""What is brought to a new version is dumped before: the store, Optuna's tables in it, and MLflow's database."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from updraft.errors import StackError, StoreError
from updraft.search.schema import search_schema_behind, upgrade_search_schema
from updraft.search.study import SCHEMA, Study
from updraft.settings import Settings
from updraft.stack import dumps, preparation
from updraft.stack.layout import MLFLOW, Layout
from updraft.stack.plan import Plan, Program
from updraft.store import migrations

pytestmark = pytest.mark.integration

OLD_OPTUNA = "v3.0.0.d"


def execute(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def value(url: str, query: str) -> object:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(query)).scalar_one()
    engine.dispose()
    return found


def old_store(url: str) -> None:
    migrations.upgrade(url, "0001")
    execute(url, "INSERT INTO seen (project, sensor, key) VALUES ('flights', 'watch', '2013-01-07T0500')")


def test_an_older_store_is_dumped_and_then_upgraded_and_the_dump_brings_it_back(
    postgres_url: str, tmp_path: Path
) -> None:
    old_store(postgres_url)
    told: list[str] = []
    preparation.migrate_store(postgres_url, tmp_path / "backups", told.append)
    [dump] = (tmp_path / "backups").iterdir()
    assert dump.name.startswith("store-0001-")
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert stat.S_IMODE(dump.parent.stat().st_mode) == 0o700
    assert str(dump) in told[0]
    assert told[1] == f"the store's schema went from 0001 to {migrations.revisions()[-1]}"
    assert migrations.pending(postgres_url) == []
    execute(postgres_url, "DROP SCHEMA IF EXISTS search CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    dumps.load(postgres_url, dump)  # as docs/backup.md says
    assert migrations.revision_of(postgres_url) == "0001"
    assert value(postgres_url, "SELECT key FROM seen") == "2013-01-07T0500"
    preparation.migrate_store(postgres_url, tmp_path / "backups", told.append)
    assert migrations.pending(postgres_url) == []


def test_a_store_that_is_up_to_date_and_one_that_is_new_are_not_dumped(postgres_url: str, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        preparation.migrate_store(postgres_url, tmp_path / "backups", told.append)
        assert migrations.pending(postgres_url) == []
    assert not (tmp_path / "backups").exists()
    assert told == []


def test_a_store_that_cannot_be_dumped_stays_as_it_is_and_that_is_told(postgres_url: str, tmp_path: Path) -> None:
    old_store(postgres_url)
    (tmp_path / "backups").write_text("somebody's file")
    with pytest.raises(
        StackError, match=r"store is to be brought to this version, but it cannot be dumped into .*backups"
    ):
        preparation.migrate_store(postgres_url, tmp_path / "backups", print)
    assert migrations.revision_of(postgres_url) == "0001"


def test_a_dump_of_a_database_that_is_not_there_says_so_without_its_password(postgres_url: str, tmp_path: Path) -> None:
    nowhere = postgres_url.replace("postgres@", "postgres:hunter2@") + "_not"
    with pytest.raises(StackError, match=r"pg_dump failed .*does not exist") as caught:
        dumps.dump(nowhere, tmp_path / "dump")
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_dump_goes_into_an_empty_database_alone(postgres_url: str, tmp_path: Path) -> None:
    old_store(postgres_url)
    dumps.dump(postgres_url, tmp_path / "dump")
    with pytest.raises(StackError, match=r"pg_restore failed .*already exists"):
        dumps.load(postgres_url, tmp_path / "dump")


def test_the_newest_dumps_of_each_database_stay(postgres_url: str, tmp_path: Path) -> None:
    execute(postgres_url, "CREATE TABLE small (id int)")
    (tmp_path / "mlflow-20200101T000000000000Z.dump").write_bytes(b"of another database")
    made = [dumps.dump_before("store-0001", postgres_url, tmp_path, lambda text: None) for _ in range(dumps.KEPT + 2)]
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["mlflow-20200101T000000000000Z.dump", *sorted(path.name for path in made[2:])]


@pytest.fixture
def searched(postgres_url: str) -> str:
    """A store with a search, whose tables an older Optuna made."""
    from alembic import command
    from optuna.storages import RDBStorage

    migrations.upgrade(postgres_url)
    engine = sa.create_engine(postgres_url)
    study = Study(engine, "flights at 2013-01-07T0500")
    study.begin(0, {"eta": 0.3}, None, {})
    study.end(0, [0.6, 0.5], pruned=False)
    study.close()
    engine.dispose()
    url = sa.make_url(postgres_url).update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    # Optuna's newest migration adds this index, which the tables of its models have under another name.
    execute(postgres_url, f"CREATE INDEX trials_study_id_key ON {SCHEMA}.trials (study_id)")
    storage = RDBStorage(url.render_as_string(hide_password=False))
    command.downgrade(storage._version_manager._create_alembic_config(), OLD_OPTUNA)
    storage.engine.dispose()
    return postgres_url


def test_the_tables_of_an_older_optuna_are_dumped_and_brought_on_with_their_trials(
    searched: str, tmp_path: Path
) -> None:
    assert search_schema_behind(searched) == OLD_OPTUNA
    told: list[str] = []
    preparation.migrate_store(searched, tmp_path, told.append)
    assert search_schema_behind(searched) is None
    assert len(list(tmp_path.glob("store-*.dump"))) == 1
    assert told[-1] == f"Optuna's tables in the store went on from {OLD_OPTUNA}"
    engine = sa.create_engine(searched)
    study = Study(engine, "flights at 2013-01-07T0500")
    assert study.rows()[0].loss == 0.5
    study.close()
    assert not sa.inspect(engine).has_table("alembic_version"), "nothing of Optuna's is in the store's own schema"
    engine.dispose()


def test_the_command_for_a_store_elsewhere_brings_optunas_tables_on(searched: str) -> None:
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "UPDRAFT_STORE": searched}
    done = subprocess.run(
        [sys.executable, "-m", "updraft.search"], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert search_schema_behind(searched) is None


def test_the_tables_of_a_newer_optuna_are_refused(searched: str) -> None:
    execute(searched, f"UPDATE {SCHEMA}.alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(StoreError, match=r"of a newer Optuna \(v99\.0\.0\.a\)"):
        upgrade_search_schema(searched)


def test_a_store_without_searches_gets_no_tables_of_optunas(postgres_url: str) -> None:
    upgrade_search_schema(postgres_url)
    engine = sa.create_engine(postgres_url)
    assert SCHEMA not in sa.inspect(engine).get_schema_names()
    engine.dispose()


def test_an_older_mlflow_is_dumped_and_brought_on_once(postgres_url: str, tmp_path: Path) -> None:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.tracking.dbmodels.initial_models import Base as FirstModels

    engine = sa.create_engine(postgres_url)
    FirstModels.metadata.create_all(engine)  # as the first MLflow with a database made it
    engine.dispose()
    execute(
        postgres_url,
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) VALUES (7, 'flights', 'mlflow-artifacts:/7', 'active')",
    )
    layout = Layout.of(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}))
    layout.make_folders()
    env = {"MLFLOW_BACKEND_STORE_URI": postgres_url, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    program = Program(command=[], env=env, cwd=str(tmp_path), waits_for=[])
    plan = Plan(stack_id="test", postgres_data="here", programs={MLFLOW: program})
    told: list[str] = []
    for _ in range(2):
        preparation.migrate_mlflow(layout, plan, told.append)
    [dump] = layout.backups.iterdir()
    assert len(told) == 1
    assert str(dump) in told[0]
    assert value(postgres_url, "SELECT name FROM experiments") == "flights"
    engine = sa.create_engine(postgres_url)
    assert set(Base.metadata.tables) - set(sa.inspect(engine).get_table_names()) == set()
    engine.dispose()
    assert "mlflow" in json.loads(layout.migrated.read_text())
