from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from updraft import files
from updraft.data.snapshots import Snapshot, load_snapshot, read_snapshot_file, take_snapshot
from updraft.errors import DataError, IntegrityError


@pytest.fixture
def parts(shop) -> dict[str, tuple[str, str]]:
    """Six small files in the lake."""
    made = {}
    for number in range(6):
        url = f"{shop.settings.lake}/shop/features/day-{number}.parquet"
        made[f"features/day-{number}.parquet"] = (url, files.write_parquet(url, pd.DataFrame({"x": range(number + 1)})))
    return made


def take(shop, parts, name: str = "first", **record: object) -> Snapshot:
    return take_snapshot(shop.project, shop.settings, name=name, files=parts, record={"seed": 1, **record})


def state(shop) -> dict[str, bytes]:
    lake = files.local_path(shop.settings.lake)
    repository = shop.settings.home / "datasets" / "shop"
    kept = [
        *lake.rglob("*"),
        *repository.glob("data/**/*"),
        *repository.glob("*.*"),
        *repository.glob(".git/refs/**/*"),
    ]
    return {str(path): path.read_bytes() for path in kept if path.is_file()}


def test_a_snapshot_binds_files_and_record(shop, parts) -> None:
    taken = take(shop, parts, code_commit="abc")
    manifest = load_snapshot(taken.url, taken.sha256)
    assert manifest.record == {"seed": 1, "code_commit": "abc"}
    assert manifest.project == "shop"
    assert {name: (file.url, file.sha256) for name, file in manifest.files.items()} == parts
    assert [file.rows for file in manifest.files.values()] == [1, 2, 3, 4, 5, 6]
    assert len(read_snapshot_file(manifest, "features/day-3.parquet")) == 4


def test_the_same_snapshot_twice_changes_nothing(shop, parts) -> None:
    taken = take(shop, parts)
    take(shop, {name: parts[name] for name in list(parts)[:2]}, name="second")
    before = state(shop)
    assert take(shop, parts) == taken
    assert state(shop) == before


def test_another_record_is_another_snapshot_of_the_same_data(shop, parts) -> None:
    first, second = take(shop, parts), take(shop, parts, seed=2)
    assert first.sha256 != second.sha256
    assert load_snapshot(first.url, first.sha256).dvc == load_snapshot(second.url, second.sha256).dvc


def test_identity_does_not_depend_on_where_the_data_repository_stands(shop, parts, tmp_path) -> None:
    from dataclasses import replace

    first = take(shop, parts)
    shop.settings = replace(shop.settings, home=tmp_path / "another home")
    second = take(shop, parts)
    assert (first.url, first.sha256) == (second.url, second.sha256)
    assert first.revision != second.revision or first == second


def test_dvc_brings_back_what_the_lake_lost(shop, parts, tmp_path) -> None:
    taken = take(shop, parts)
    take(shop, {name: parts[name] for name in list(parts)[3:]}, name="second")
    repository = shop.settings.home / "datasets" / "shop"
    copy = tmp_path / "a copy"
    from dulwich import porcelain

    porcelain.clone(str(repository), str(copy)).close()
    porcelain.checkout(str(copy), taken.revision)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=copy, check=True, capture_output=True)
    found = sorted(path.name.rsplit("-", 1)[0] for path in copy.glob("data/features/*"))
    assert found == [f"day-{number}" for number in range(6)]
    assert len(pd.read_parquet(next(copy.glob("data/features/day-5-*")))) == 6


def test_a_changed_file_is_refused_when_taken_and_when_read(shop, parts) -> None:
    taken = take(shop, parts)
    url, sha256 = parts["features/day-3.parquet"]
    files.write_parquet(url, pd.DataFrame({"x": [9]}))
    manifest = load_snapshot(taken.url, taken.sha256)
    with pytest.raises(IntegrityError, match=f"expected {sha256}"):
        read_snapshot_file(manifest, "features/day-3.parquet")
    fresh = {"features/again.parquet": (url, sha256)}
    with pytest.raises(IntegrityError, match="changed after it was written"):
        take(shop, fresh, name="second")


def test_a_changed_manifest_is_refused(shop, parts) -> None:
    taken = take(shop, parts)
    files.write_bytes(taken.url, files.read_bytes(taken.url).replace(b'"seed": 1', b'"seed": 2'))
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_snapshot(taken.url, taken.sha256)


def test_what_is_not_there_is_named(shop, parts) -> None:
    with pytest.raises(DataError, match="has no files"):
        take(shop, {})
    with pytest.raises(DataError, match="no relative file name"):
        take(shop, {"../x.parquet": next(iter(parts.values()))})
    with pytest.raises(DataError, match=r"gone\.parquet is not there"):
        take(shop, {"gone": (f"{shop.settings.lake}/gone.parquet", "0" * 64)})
    taken = take(shop, parts)
    with pytest.raises(DataError, match="has no file 'labels/x'"):
        read_snapshot_file(load_snapshot(taken.url, taken.sha256), "labels/x")


def test_a_lost_manifest_is_written_again(shop, parts) -> None:
    taken = take(shop, parts)
    files.local_path(taken.url).unlink()
    assert take(shop, parts) == taken
    load_snapshot(taken.url, taken.sha256)


def test_locks_and_pieces_of_a_dead_process_are_cleared_away(shop, parts) -> None:
    first = take(shop, {name: parts[name] for name in list(parts)[:3]})
    repository = shop.settings.home / "datasets" / "shop"
    (repository / ".git" / "index.lock").touch()
    (repository / ".dvc" / "tmp").mkdir()
    (repository / ".dvc" / "tmp" / "rwlock").write_text("{not json")
    (repository / "data" / "features" / ".day-9-0.parquet.aside").write_text("half")
    second = take(shop, parts, name="second")
    assert first.sha256 != second.sha256
    assert not list(repository.glob("data/**/*.aside"))


def test_the_data_repository_is_its_owners_alone_although_dvc_opens_its_folders(shop, parts) -> None:
    taken = take(shop, parts)
    datasets = shop.settings.home / "datasets"
    for folder in (datasets, datasets / "shop"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not (datasets / "shop" / ".dvc" / "tmp").exists()
    for folder in (datasets, datasets / "shop"):  # as earlier versions left it, under the usual umask
        folder.chmod(0o755)
    assert take(shop, parts) == taken
    for folder in (datasets, datasets / "shop"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_tag_that_was_moved_to_another_snapshot_is_refused(shop, parts) -> None:
    take(shop, parts)
    tags = shop.settings.home / "datasets" / "shop" / ".git" / "refs" / "tags"
    [first] = tags.iterdir()
    take(shop, parts, name="second")
    [second] = set(tags.iterdir()) - {first}
    first.write_bytes(second.read_bytes())
    with pytest.raises(IntegrityError, match="holds the manifest of another snapshot"):
        take(shop, parts)


_KILLED = """
import sys, pickle
from pathlib import Path
from updraft.data.snapshots import take_snapshot
project, settings, parts = pickle.loads(Path(sys.argv[1]).read_bytes())
print("ready", flush=True)
take_snapshot(project, settings, name="first", files=parts, record={"seed": 1})
"""


@pytest.mark.parametrize("after", [0.02, 0.3, 0.6])
def test_killed_half_way_the_next_call_mends_it(shop, parts, tmp_path, after) -> None:
    import pickle

    (tmp_path / "arguments").write_bytes(pickle.dumps((shop.project, shop.settings, parts)))
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "arguments")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    taken = take(shop, parts)
    assert take(shop, parts) == taken
    manifest = load_snapshot(taken.url, taken.sha256)
    assert all(len(read_snapshot_file(manifest, name)) for name in parts)


def test_a_remote_that_cannot_be_written_is_named(shop, parts, tmp_path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="DVC could not version"):
        take_snapshot(shop.project, shop.settings, name="x", files=parts, record={}, remote=f"file://{tmp_path}/file")


def test_nothing_is_written_outside_the_deployment(shop, parts, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home of a user"))
    Path(tmp_path / "home of a user").mkdir()
    take(shop, parts)
    assert list(Path(tmp_path / "home of a user").iterdir()) == []


def test_a_snapshot_of_a_lake_in_an_object_store_is_versioned_there_and_restored_from_there(shop, object_store) -> None:
    lake = f"{object_store.lake}/snapshots"
    settings = replace(shop.settings, lake=lake)
    url = f"{lake}/shop/features/day.parquet"
    parts = {"features/day.parquet": (url, files.write_parquet(url, pd.DataFrame({"x": range(3)})))}
    taken = take_snapshot(shop.project, settings, name="first", files=parts, record={})
    assert taken.url.startswith("s3://")
    repository = settings.home / "datasets" / "shop"
    [path] = repository.glob("data/**/*.parquet")
    content = path.read_bytes()
    for folder in (repository / "data", repository / ".dvc" / "cache"):
        shutil.rmtree(folder)
    dvc = [sys.executable, "-m", "dvc", "pull", "--quiet"]
    done = subprocess.run(dvc, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == content
    assert len(read_snapshot_file(load_snapshot(taken.url, taken.sha256), "features/day.parquet")) == 3
