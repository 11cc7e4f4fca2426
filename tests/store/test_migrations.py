"""Migrations: frozen once released, in step with the tables, and tried on stores of every earlier revision with rows in them."""

from __future__ import annotations

import datetime
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from updraft.errors import StoreError
from updraft.store import migrations, tables
from updraft.store.records import TrainingRow
from updraft.store.store import Store

RELEASED = {
    "0001_the_first_schema.py": "d00b2914dcfb119d52e4ce2d5bf9e752a61e27cd909eb61943b0f0b7bfde0d6f",
    "0002_nothing_is_forged.py": "b79d84f8a1a141b8fbddc5a33aa15203d237a993ebfd8d5881675ff95067df3c",
    "0003_no_tick_reads_history.py": "b041705ef9356765920962a0ea3adbb2c52cd03fdfc4fcfd0e6add181c4dce71",
    "0004_an_incident_has_an_end.py": "86292570d2d857142c751da3aad323f0a1654952f98073675915552bc9cea227",
    "0005_a_shadow_goes_on_younger.py": "5d54e23b2f52b87707189b53279835c4c53a06b3bc14a5342a23a05c981f8c1e",
    "0006_taken_back_is_kept.py": "b190491c6c61690c3a345d27589d35ad6d1e7f3857f289b30e9841acc235f7f9",
    "0007_estimates.py": "91c361599fe577e77b67fc56f91e8ea04848980026164278e16fe4c144c34025",
    "0008_what_a_partition_was_worth_is_kept.py": "e3d4104fd4b0a48c0f4c2620ab61d16e8074040e4e333e5e43f6963e7761f844",
}
"""SHA-256 of every migration that is merged: stores out there were made by exactly these files."""

EARLIER = migrations.revisions()[:-1]
P = "flights"

VERSIONS = Path(migrations.__file__).parent / "versions"


def test_a_released_migration_is_never_edited():
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VERSIONS.glob("*.py")}
    changed = [name for name, digest in RELEASED.items() if files.get(name) != digest]
    assert not changed, (
        f"{', '.join(changed)} was changed or removed, and stores that it has made count as up to date. Take it back, and "
        'write a new migration: make migration MESSAGE="why"'
    )
    new = {name: digest for name, digest in files.items() if name not in RELEASED}
    assert not new, f"from now on nobody may edit {', '.join(new)}; list it in RELEASED: {new}"


def test_revisions_count_up_one_after_the_other():
    assert migrations.revisions() == [f"{number + 1:04d}" for number in range(len(migrations.revisions()))]
    names = sorted(path.name for path in VERSIONS.glob("*.py"))
    assert [name[:4] for name in names] == migrations.revisions()


def test_migrations_and_tables_agree(postgres_url):
    migrations.upgrade(postgres_url)
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        found = migrations.differences(connection)
    engine.dispose()
    assert found == [], 'tables.py was changed without a migration: make migration MESSAGE="why"'


@pytest.mark.parametrize("revision", EARLIER)
def test_a_store_of_an_earlier_revision_keeps_its_rows(postgres_url, revision):
    migrations.upgrade(postgres_url, revision)
    before = fill(postgres_url)
    assert migrations.pending(postgres_url) == migrations.revisions()[migrations.revisions().index(revision) + 1 :]
    migrations.upgrade(postgres_url)
    assert migrations.pending(postgres_url) == []
    after = rows(postgres_url)
    for table, kept in before.items():
        for row in kept:
            assert any(row.items() <= now.items() for now in after[table]), (table, row, after[table])


@pytest.mark.parametrize("revision", migrations.revisions())
def test_a_store_of_an_earlier_revision_is_read_and_written_after_its_upgrade(postgres_url, revision):
    migrations.upgrade(postgres_url, revision)
    fill(postgres_url)
    migrations.upgrade(postgres_url)
    store = Store.open(postgres_url)
    try:
        [partition] = store.partitions(P, state=None)
        assert (partition.key, partition.rows) == ("key", 1)
        assert store.predictions(P, "key")["role"].version == "version"
        [decision] = store.decisions(P)
        assert (decision.kind, decision.body) == ("kind", {"filled": 1})
        store.record_training(TrainingRow("manual", P, "key", None, "a" * 64, "running", None, {}))
        [training] = [row for row in store.trainings(P) if row.id == "manual"]
        assert training.state == "running"
    finally:
        store.close()


@pytest.mark.parametrize("revision", migrations.revisions())
def test_the_way_back_is_whole_or_refused_with_words(postgres_url, revision):
    older = [None, *migrations.revisions()][migrations.revisions().index(revision)]
    if older is None:
        return  # before the first revision there is no store
    migrations.upgrade(postgres_url, revision)
    before = fill(postgres_url)
    refusal = refused_way_back(postgres_url, older)
    if refusal:
        assert "restore" in refusal
        assert migrations.revision_of(postgres_url) == revision
        assert rows(postgres_url) == before
    else:
        assert migrations.revision_of(postgres_url) == older
        migrations.upgrade(postgres_url, revision)


def refused_way_back(url: str, revision: str) -> str:
    """Why a store does not go back to a revision; empty when it went."""
    try:
        migrations.downgrade(url, revision)
    except StoreError as error:
        return str(error)
    return ""


def test_a_way_back_to_a_revision_that_is_none_names_those_there_are(postgres_url):
    migrations.upgrade(postgres_url)
    with pytest.raises(StoreError, match=r"no revision 'first' of the store; there are 0001, 0002"):
        migrations.downgrade(postgres_url, "first")


def test_a_store_of_a_newer_version_is_refused_and_stays(postgres_url):
    migrations.upgrade(postgres_url)
    execute(postgres_url, f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9001'")
    for refused in (migrations.upgrade, migrations.pending, lambda url: migrations.downgrade(url, "0001")):
        with pytest.raises(StoreError, match=r"the store has schema 9001, .* a newer version made it"):
            refused(postgres_url)
    assert migrations.revision_of(postgres_url) == "9001"


def test_a_store_whose_tables_are_not_those_of_its_revision_is_told_and_stays(postgres_url):
    """The first migration was rewritten three times before it was frozen."""
    migrations.upgrade(postgres_url, "0001")
    execute(postgres_url, "ALTER TABLE trainings DROP COLUMN episode")
    with pytest.raises(StoreError, match=r"not those of the schema that it names.*add column trainings\.episode"):
        migrations.upgrade(postgres_url)
    assert migrations.revision_of(postgres_url) == "0001"
    engine = sa.create_engine(postgres_url)
    assert not sa.inspect(engine).has_table("run_records")
    engine.dispose()


def test_an_index_of_somebodys_own_does_not_stop_an_upgrade(postgres_url):
    migrations.upgrade(postgres_url, "0001")
    execute(postgres_url, "CREATE INDEX for_a_report ON trainings (state)")
    migrations.upgrade(postgres_url)
    assert migrations.pending(postgres_url) == []


def test_the_command_upgrades_and_refuses_with_words(postgres_url):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(Path(migrations.__file__).parents[3]), "UPDRAFT_STORE": postgres_url}
        command = [sys.executable, "-m", "updraft.store.migrations", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)

    behind = run("check")
    assert (behind.returncode, behind.stdout) == (1, "")
    assert behind.stderr.startswith("the store lacks 0001 to ")
    assert run().returncode == 0
    assert migrations.pending(postgres_url) == []
    assert run("check").returncode == 0
    refused = run("downgrade", "0001")
    assert refused.returncode == 1
    assert "restore the dump from before it" in refused.stderr
    assert "Traceback" not in refused.stderr


def fill(url: str) -> dict[str, list[dict[str, object]]]:
    """Put a row into every table, as its columns ask for it at the revision that the store has; all rows by table."""
    engine = sa.create_engine(url)
    known = sa.MetaData()
    with engine.begin() as connection:
        known.reflect(connection)
        for table in known.sorted_tables:
            if table.name != migrations.VERSION_TABLE:
                connection.execute(table.insert().values({c.name: value_of(c) for c in table.columns if needed(c)}))
    engine.dispose()
    return rows(url)


def needed(column: sa.Column[object]) -> bool:
    """Whether a row of the test has a value of its own there; counted keys and times of writing come by themselves."""
    return column.server_default is None or column.name == "form"


def value_of(column: sa.Column[object]) -> object:
    """A value that a column takes: its name, as long as it fits."""
    if column.name == "project":
        return P
    if isinstance(column.type, sa.String | sa.Text):
        return column.name[: getattr(column.type, "length", None)]
    if isinstance(column.type, sa.JSON):
        return {"filled": 1}
    if isinstance(column.type, sa.DateTime):
        return datetime.datetime(2013, 1, 7, 5, tzinfo=datetime.UTC)
    if isinstance(column.type, sa.LargeBinary):
        return b"filled"
    if isinstance(column.type, sa.Boolean):
        return True
    return 1


def rows(url: str) -> dict[str, list[dict[str, object]]]:
    """Every row of every table of ours, by table."""
    engine = sa.create_engine(url)
    known = sa.MetaData()
    with engine.connect() as connection:
        known.reflect(connection)
        found = {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in known.sorted_tables
            if table.name != migrations.VERSION_TABLE
        }
    engine.dispose()
    return found


def execute(url: str, statement: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_every_table_of_ours_is_filled_by_these_tests(postgres_url):
    migrations.upgrade(postgres_url)
    assert {name for name, kept in fill(postgres_url).items() if kept} == set(tables.metadata.tables)
