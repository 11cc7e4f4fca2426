"""UPDRAFT_HOME on a machine with other users: they read nothing in it, plant nothing in it, and cannot pass theirs off as it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.others import OTHER, another_user, common_folder

from updraft.errors import SettingsError, StackError
from updraft.settings import Settings
from updraft.stack import control, doctor, home, plan, postgres
from updraft.stack.layout import Layout

OURS = ("keys", "lake", "logs", "postgres")


@pytest.fixture
def common() -> Iterator[Path]:
    with common_folder() as folder:
        yield folder


@pytest.fixture
def open_home(common: Path) -> Path:
    """A home as an older version left it, opened wide by somebody's `chmod`."""
    folder = common / "ho me"
    for name in OURS:
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o755)
        (folder / name / "kept").write_text("secret")
        (folder / name / "kept").chmod(0o644)
    (folder / "env.json").write_text('{"UPDRAFT_AIRFLOW": "secret"}')
    (folder / "env.json").chmod(0o644)
    folder.chmod(0o777)
    return folder


def attempts(folder: Path) -> dict[str, bool]:
    """What another user can do in a home, by what was tried."""
    tried = {"list": 'ls "$1"', "plant": 'echo x > "$1/planted"', "take away": 'mv "$1/lake" "$1/gone"'}
    tried |= {f"read {name}": f'cat "$1/{name}/kept"' for name in OURS}
    tried |= {f"list {name}": f'ls "$1/{name}"' for name in OURS}
    tried |= {f"plant in {name}": f'echo x > "$1/{name}/planted"' for name in OURS}
    tried |= {"read env.json": 'cat "$1/env.json"'}
    return {what: another_user(script, folder).returncode == 0 for what, script in tried.items()}


def test_an_open_home_is_closed_to_every_other_user(open_home: Path) -> None:
    before = attempts(open_home)
    assert before["read keys"]
    assert before["plant"]
    (open_home / "gone").rename(open_home / "lake")
    home.claim(open_home, ours=OURS)
    assert [what for what, done in attempts(open_home).items() if done] == []
    assert stat.S_IMODE(open_home.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as another user only where root starts it")
def test_the_user_of_roots_postgresql_passes_through_to_its_own_folder_and_nowhere_else(open_home: Path) -> None:
    for path in (open_home / "postgres", open_home / "postgres" / "kept"):
        os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
    (open_home / "postgres").chmod(0o700)
    home.claim(open_home, ours=OURS, servants={"postgres": OTHER.pw_uid})
    able = [what for what, done in attempts(open_home).items() if done]
    assert able == ["read postgres", "list postgres", "plant in postgres"]


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as another user only where root starts it")
def test_data_that_an_older_version_put_outside_of_a_closed_home_is_found_there_again(
    open_home: Path, common: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SYSTEM_FOLDER", common / "system")
    layout = Layout.of(Settings.from_env({"UPDRAFT_HOME": str(open_home)}))
    shutil.rmtree(open_home / "postgres")
    assert postgres.place(layout).data == open_home / "postgres"
    postgres.outside(layout).mkdir(parents=True)
    os.chown(postgres.outside(layout), OTHER.pw_uid, OTHER.pw_gid)
    assert postgres.place(layout).data == postgres.outside(layout)
    assert postgres.servants(layout) == {}


def test_a_home_is_made_closed_whatever_the_callers_umask(common: Path) -> None:
    before = os.umask(0)
    try:
        home.claim(common / "new", ours=OURS)
        Layout.of(Settings.from_env({"UPDRAFT_HOME": str(common / "new")})).make_folders()
    finally:
        os.umask(before)
    assert [path for path in (common / "new").rglob("*") if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("planted", ['mkdir "$1/home"', 'ln -s "$2" "$1/home"', 'ln -s "$1/nowhere" "$1/home"'])
def test_a_home_that_another_user_made_is_refused(common: Path, tmp_path: Path, planted: str) -> None:
    common.chmod(0o1777)  # as /tmp is
    assert another_user(planted, common, tmp_path).returncode == 0
    with pytest.raises(StackError, match=rf"home, the home .* user {OTHER.pw_uid}, .* set UPDRAFT_HOME"):
        control.up(Settings.from_env({"UPDRAFT_HOME": str(common / "home")}))
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_planted_while_home_was_open_is_named_and_not_used(open_home: Path) -> None:
    for name in ("keys", "postgres"):
        shutil.rmtree(open_home / name)
    assert another_user('mkdir -m 777 "$1/keys"', open_home).returncode == 0
    with pytest.raises(StackError, match=rf"keys belongs to user {OTHER.pw_uid}"):
        control.up(Settings.from_env({"UPDRAFT_HOME": str(open_home)}))
    assert list((open_home / "keys").iterdir()) == []


def test_settings_that_another_user_planted_are_not_read(open_home: Path) -> None:
    (open_home / "env.json").unlink()
    planted = 'echo "{\\"UPDRAFT_PROJECTS\\": \\"/tmp/theirs\\"}" > "$1/env.json"'
    assert another_user(planted, open_home).returncode == 0
    with pytest.raises(SettingsError, match=rf"env\.json belongs to user {OTHER.pw_uid}"):
        Settings.from_env({"UPDRAFT_HOME": str(open_home)})


def test_a_home_of_ones_own_may_stand_behind_a_link(common: Path) -> None:
    (common / "real").mkdir()
    (common / "link").symlink_to(common / "real")
    home.claim(common / "link", ours=OURS)
    assert stat.S_IMODE((common / "real").stat().st_mode) == 0o700


def test_a_program_of_the_stack_writes_for_nobody_else(tmp_path: Path) -> None:
    written = tmp_path / "written"
    program = plan.Program(command=["/bin/sh", "-c", f"echo x > '{written}'"], env={}, cwd=str(tmp_path), waits_for=[])
    path = tmp_path / "plan.json"
    plan.Plan(stack_id="none", postgres_data="", programs={"scheduler": program}).write(path)
    command = [sys.executable, "-m", "updraft.stack.wrapper", str(path), "scheduler"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, umask=0, check=True)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


@pytest.mark.parametrize(("env", "mode"), [({}, 0o600), ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 0o644)])
def test_a_command_writes_for_nobody_else_except_in_a_pod(tmp_path: Path, env: dict[str, str], mode: int) -> None:
    script = "import os; from updraft.cli.edge import enter; enter(os.environ); open('written', 'w').close()"
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "UPDRAFT_HOME": str(tmp_path), **env}
    subprocess.run([sys.executable, "-c", script], env=given, cwd=tmp_path, umask=0o022, check=True)
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == mode


def test_the_doctor_tells_an_open_home_and_a_folder_above_in_which_it_can_be_replaced(open_home: Path) -> None:
    layout = Layout.of(Settings.from_env({"UPDRAFT_HOME": str(open_home)}))
    assert [found.message for found in doctor.closed_home(layout)] == [f"{open_home} is open to others (mode 777)"]
    home.claim(open_home, ours=OURS)
    assert [found.level for found in doctor.closed_home(layout)] == [doctor.Level.OK]
    open_home.parent.chmod(0o777)
    [finding] = doctor.closed_home(layout)
    assert finding.level is doctor.Level.WARNING
    assert f"{open_home.parent}, above home, can be written by everybody" in finding.message
