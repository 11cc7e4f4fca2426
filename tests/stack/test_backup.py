"""A deployment with a history is backed up while it decides, loses everything, and comes back as it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from updraft import files
from updraft.cli.main import app
from updraft.errors import InputError, StackError, StoreError
from updraft.loop.auditing import audit_decisions
from updraft.registry import signing
from updraft.settings import Settings
from updraft.stack import control
from updraft.stack.backup import Backup, back_up, copy_anchors
from updraft.stack.layout import Layout
from updraft.stack.manifest import NAME, Manifest
from updraft.stack.restore import restore
from updraft.stack.secrets import load_or_make
from updraft.store import migrations
from updraft.store.anchors import Anchors
from updraft.store.records import IngestedPartition
from updraft.store.store import Store

pytestmark = pytest.mark.integration

P = "flight_delays"
CONTENT = b"a published partition"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass(frozen=True)
class Lost:
    """A deployment that was lost, and its backups from before."""

    settings: Settings
    backup: Backup
    without_lake: Backup
    keys: dict[str, bytes]
    decided_meanwhile: int
    left_by_a_kill: list[str]


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    root = tmp_path_factory.mktemp("carried over")
    settings = Settings.from_env({"UPDRAFT_HOME": str(root / "ho me")})
    try:
        with control.database_alone(settings) as urls:
            write_history(settings, urls)
            left = kill_a_backup(settings, root / "killed")
            with deciding(urls["updraft"], settings) as decided:
                backup = back_up(settings, root / "backup", with_lake=True)
            without_lake = back_up(settings, None)
        keys = {path.name: path.read_bytes() for path in settings.keys.iterdir()}
        shutil.move(without_lake.folder, root / "without the lake")
        control.remove(settings)
        assert not Layout.of(settings).secrets.exists()
        yield Lost(
            settings,
            backup,
            Backup(folder=root / "without the lake", manifest=without_lake.manifest),
            keys,
            len(decided),
            left,
        )
    finally:
        control.remove(settings)


def write_history(settings: Settings, urls: dict[str, str]) -> None:
    """Decisions with their anchors, a partition in the lake, a version in MLflow with its file, a table of Airflow's."""
    from mlflow import MlflowClient

    migrations.upgrade(urls["updraft"])
    store = Store.open(urls["updraft"], Anchors.of(settings))
    for number in range(20):
        store.decide(P, key=f"k{number:02d}", kind="note", subject=str(number), body={"value": number / 7})
    url = f"{settings.lake}/{P}/partitions/k00/features.parquet"
    path = Path(url.removeprefix("file://"))
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    store.record_partition(P, IngestedPartition("k00", "published", url, SHA256, 1, 0, None, {}, None))
    store.close()
    signing.key_pair(settings.keys)
    client = MlflowClient(urls["mlflow"])
    experiment = client.create_experiment(P, artifact_location=(settings.home / "mlflow" / "1").as_uri())
    run = client.create_run(experiment).info.run_id
    (settings.home / "mlflow").mkdir(exist_ok=True)
    client.log_text(run, "a model", "model.ubj")
    client.create_registered_model(P)
    client.create_model_version(P, f"runs:/{run}/model.ubj", run)
    client.set_registered_model_alias(P, "champion", "1")
    engine = sa.create_engine(urls["airflow"])
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE dag AS SELECT 'flight_delays.ingest' AS dag_id"))
    engine.dispose()


class deciding:
    """Decisions are taken all the time, from another thread; gives those that were."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._store, self._over = Store.open(url, Anchors.of(settings)), threading.Event()
        self._thread, self._taken = threading.Thread(target=self._decide), list[int]()

    def _decide(self) -> None:
        while not self._over.is_set():
            number = len(self._taken)
            self._store.decide(P, key="later", kind="meanwhile", subject=str(number), body={})
            self._taken.append(number)

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._taken

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._store.close()


def command(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("UPDRAFT_")}
    env |= {"UPDRAFT_HOME": str(settings.home), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-m", "updraft.cli", *arguments],
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kill_when(process: subprocess.Popen[str], says: str) -> None:
    """Kill a command with signal 9 when it has told of something."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if says in line:
            process.kill()
            assert process.wait() == -signal.SIGKILL
            process.communicate()
            return
    raise AssertionError(f"it never said {says!r}: {told}")


def kill_a_backup(settings: Settings, target: Path) -> list[str]:
    """Kill a backup half way; the names that it leaves beside its place."""
    kill_when(command(settings, "backup", "--to", str(target)), "dumped the database mlflow")
    return [path.name for path in target.parent.iterdir() if path.name.startswith("killed")]


def test_a_backup_that_was_killed_has_not_the_name_of_one_nor_a_manifest(lost: Lost) -> None:
    assert lost.left_by_a_kill == ["killed.unfinished"]
    with pytest.raises(InputError, match=r"manifest\.json is not there: .* was not finished"):
        restore(lost.settings, lost.backup.folder.parent / "killed.unfinished")


def test_a_backup_is_closed_to_others(lost: Lost) -> None:
    for path in (lost.backup.folder, *lost.backup.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_backup_names_every_file_of_the_lake_with_its_hash(lost: Lost) -> None:
    for backup in (lost.backup, lost.without_lake):
        lines = [json.loads(line) for line in (backup.folder / "lake.jsonl").read_text().splitlines()]
        assert {"path": f"{P}/partitions/k00/features.parquet", "size": len(CONTENT), "sha256": SHA256} in lines
    assert (lost.backup.folder / "lake" / P / "partitions" / "k00" / "features.parquet").read_bytes() == CONTENT
    assert not (lost.without_lake.folder / "lake").exists()


def test_everything_comes_back_also_when_the_first_try_was_killed(lost: Lost) -> None:
    kill_when(command(lost.settings, "restore", str(lost.backup.folder)), "the database mlflow is back")
    with pytest.raises(StackError, match=r"a backup was being restored here, .* run `updraft restore` again"):
        control.up(lost.settings)
    with pytest.raises(InputError, match="another backup was being restored here"):
        restore(lost.settings, lost.without_lake.folder)
    brought_back = lost.settings.home / "lake" / P / "brought-back.parquet"
    brought_back.parent.mkdir(parents=True, exist_ok=True)
    brought_back.write_bytes(CONTENT)
    try:
        restored = restore(lost.settings, lost.backup.folder)
        assert brought_back.read_bytes() == CONTENT  # a lake that somebody saved and moved back stays
        assert lost.decided_meanwhile > 0
        assert restored.decisions == {P: lost.backup.manifest.chains[P].seq}
        assert restored.decisions[P] >= 20
        assert (restored.lake_missing, restored.lake_changed) == ((), ())
        assert {path.name: path.read_bytes() for path in lost.settings.keys.iterdir()} == lost.keys
        with control.database_alone(lost.settings) as urls:
            need_history(lost.settings, urls)
    finally:
        control.remove(lost.settings)


def need_history(settings: Settings, urls: dict[str, str]) -> None:
    from mlflow import MlflowClient

    store = Store.open(urls["updraft"], Anchors.of(settings))
    decisions = store.decisions(P)
    assert [decision.body for decision in decisions[:20]] == [{"value": number / 7} for number in range(20)]
    audit = audit_decisions(store, settings, P, None)
    assert audit.problems == ()
    assert audit.anchored == len(decisions)
    store.decide(P, key="later", kind="note", subject="after the restore", body={})
    assert audit_decisions(store, settings, P, None).problems == ()
    partition = store.partition_row(P, "k00")
    assert partition is not None
    assert Path(str(partition.url).removeprefix("file://")).read_bytes() == CONTENT
    store.close()
    client = MlflowClient(urls["mlflow"])
    version = client.get_model_version_by_alias(P, "champion")
    assert str(version.version) == "1"
    assert (settings.home / "mlflow" / "1" / str(version.run_id) / "artifacts" / "model.ubj").read_text() == "a model"
    engine = sa.create_engine(urls["airflow"])
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT dag_id FROM dag")).scalars().all() == ["flight_delays.ingest"]
    engine.dispose()


def test_a_lake_that_is_not_what_it_was_is_told_by_name_and_by_exit_code(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(lost.settings.home))
    try:
        done = CliRunner().invoke(app, ["restore", str(lost.without_lake.folder), "--json"])
        assert done.exit_code == 3, done.output
        told = json.loads(done.stdout)
        assert f"{P}/partitions/k00/features.parquet" in told["lake_missing"]
        log = Path(lost.settings.lake.removeprefix("file://")) / P / "audit" / "log.jsonl"
        assert log.exists(), "the anchors are in every backup"
    finally:
        control.remove(lost.settings)


def test_a_home_that_is_not_empty_is_refused_and_stays(lost: Lost) -> None:
    other = Path(lost.settings.home / "lake" / "somebody.parquet")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"other")
    try:
        with pytest.raises(InputError, match=r"ho me is not empty \(.*lake\)"):
            restore(lost.settings, lost.backup.folder)
        assert other.read_bytes() == b"other"
        assert [path.name for path in lost.settings.home.iterdir() if path.name != "backups"] == ["lake"]
    finally:
        shutil.rmtree(other.parent)


def change(folder: Path, **values: object) -> None:
    content = json.loads((folder / NAME).read_text())
    (folder / NAME).write_text(json.dumps(content | values))


def altered(folder: Path) -> None:
    path = folder / "databases" / "updraft.dump"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], None], type[Exception], str]] = {
    "a byte of a dump": (altered, InputError, r"1 altered \(databases/updraft\.dump\); nothing was restored"),
    "a lost key": (
        lambda folder: (folder / "keys" / "stack.json").unlink(),
        InputError,
        r"1 missing \(keys/stack\.json\)",
    ),
    "a file put in": (
        lambda folder: (folder / "keys" / "mine.pem").touch(),
        InputError,
        r"1 not of the backup \(keys/mine\.pem\)",
    ),
    "no manifest": (lambda folder: (folder / NAME).unlink(), InputError, "was not finished"),
    "half a manifest": (lambda folder: (folder / NAME).write_text("{"), InputError, "is not JSON"),
    "another manifest": (lambda folder: (folder / NAME).write_text("{}"), InputError, "is no manifest of a backup"),
    "a newer form": (lambda folder: change(folder, format=2), InputError, "a newer version made the backup"),
    "a newer store": (lambda folder: change(folder, schema="9001"), StoreError, "a newer version made it"),
    "a newer server": (lambda folder: change(folder, postgres=99), InputError, "of PostgreSQL 99"),
    "another lake": (
        lambda folder: change(folder, lake="s3://lake"),
        InputError,
        r"UPDRAFT_LAKE='s3://lake', not .* nothing was restored",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_whole_backup_of_this_version_is_refused_before_anything_is_written(
    lost: Lost, tmp_path: Path, damage: str
) -> None:
    inflict, error, says = DAMAGES[damage]
    folder = tmp_path / "backup"
    shutil.copytree(lost.backup.folder, folder)
    inflict(folder)
    with pytest.raises(error, match=says):
        restore(lost.settings, folder)
    assert not any((lost.settings.home / name).exists() for name in control.WRITTEN)


def test_what_is_there_is_not_written_over_and_what_is_backed_up_is_no_place_for_it(tmp_path: Path) -> None:
    settings = Settings.from_env({"UPDRAFT_HOME": str(tmp_path / "home")})
    load_or_make(Layout.of(settings).secrets)
    with pytest.raises(InputError, match="is there already"):
        back_up(settings, tmp_path)
    for name in ("lake", "keys", "mlflow"):
        with pytest.raises(InputError, match=f"lies in .*{name}, which is backed up itself"):
            back_up(settings, settings.home / name / "backup")
    with pytest.raises(StackError, match="PostgreSQL does not run; a backup is taken of a stack that is up: make up"):
        back_up(settings, tmp_path / "backup")


def test_anchors_in_a_bucket_are_fetched_once_and_those_on_a_disk_as_they_grow(tmp_path: Path) -> None:
    for base, second in (("memory://anchors", b"first"), (f"file://{tmp_path}/lake", b"first and more")):
        files.write_bytes(f"{base}/{P}/audit/1.json", b"first")
        copy_anchors(base, [P], tmp_path / base[:4])
        files.write_bytes(f"{base}/{P}/audit/1.json", b"first and more")
        files.write_bytes(f"{base}/{P}/audit/2.json", b"second")
        copy_anchors(base, [P], tmp_path / base[:4])
        copied = {path.name: path.read_bytes() for path in (tmp_path / base[:4] / P).iterdir()}
        assert copied == {"1.json": second, "2.json": b"second"}


def test_a_home_without_a_stack_is_told_that_it_is_none(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="is not the home of an embedded stack"):
        back_up(Settings.from_env({"UPDRAFT_HOME": str(tmp_path)}), tmp_path / "backup")


def test_a_manifest_survives_its_file(lost: Lost) -> None:
    assert Manifest.read(lost.backup.folder) == lost.backup.manifest
