"""The bootstrap finds a suitable Python, refuses a full disk, and does nothing twice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from updraft.stack import bootstrap


def test_the_running_python_is_used_when_it_is_suitable() -> None:
    assert bootstrap.find_python(("/a", (3, 12)), iter([("/b", (3, 11))])) == "/a"


def test_another_python_on_the_path_is_used_when_the_running_one_is_too_old() -> None:
    assert bootstrap.find_python(("/a", (3, 9)), [("/b", None), ("/c", (3, 14)), ("/d", (3, 13))]) == "/d"


def test_without_a_suitable_python_the_error_names_those_that_were_found() -> None:
    with pytest.raises(
        bootstrap.BootstrapError, match=r"needs Python 3\.11 to 3\.13.*/a is 3\.9, /c is 3\.14.*PYTHON="
    ):
        bootstrap.find_python(("/a", (3, 9)), [("/b", None), ("/c", (3, 14))])


def test_a_shim_without_a_version_behind_it_is_no_python(tmp_path: Path) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert bootstrap.version_of(str(shim)) is None
    assert bootstrap.version_of(str(tmp_path / "absent")) is None


def test_a_full_disk_is_refused_with_both_numbers() -> None:
    with pytest.raises(bootstrap.BootstrapError, match=r"/clone: 1\.5 GiB are free on its disk, 5 GiB are needed"):
        bootstrap.need_disk(int(1.5 * 1024**3), "/clone")
    bootstrap.need_disk(5 * 1024**3, "/clone")


def test_the_file_can_be_read_by_an_old_python() -> None:
    ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 6))


def test_package_sources_of_pip_are_handed_to_uv() -> None:
    env = {"PIP_FIND_LINKS": "/wheels /more", "PIP_INDEX_URL": "https://index.example/simple"}
    expected = ["--default-index", env["PIP_INDEX_URL"], "--find-links", "/wheels", "--find-links", "/more"]
    assert bootstrap.sources(env) == expected
    assert bootstrap.sources({}) == []


def test_packages_are_installed_with_bytecode_and_without_another_venv() -> None:
    env = {"PYTHONDONTWRITEBYTECODE": "1", "VIRTUAL_ENV": "/x", "PATH": "/bin", "PIP_CERT": "/ca.pem"}
    cleaned = bootstrap.clean(env)
    assert not set(cleaned) & {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    assert cleaned["SSL_CERT_FILE"] == "/ca.pem"


def _checkout(root: Path) -> None:
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").touch()
    (root / "requirements.txt").write_text("a==1\n")
    (root / "requirements-dev.txt").write_text("b==1\n")
    (root / "requirements-uv.txt").write_text("uv==1.2.3 \\\n    --hash=sha256:0\n")
    (root / "pyproject.toml").write_text("[project]\n")


def _uv(root: Path, script: str) -> None:
    """A program in uv's place that is of the pinned version and does for the rest what a script says."""
    uv = root / ".venv-uv" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(f'#!/bin/sh\n[ "$1" != --version ] || {{ echo "uv 1.2.3 (x)"; exit; }}\n{script}\n')
    uv.chmod(0o755)


def test_an_environment_counts_as_built_until_its_requirements_change(tmp_path: Path) -> None:
    _checkout(tmp_path)
    assert not bootstrap.is_built(str(tmp_path))
    (tmp_path / ".venv" / "updraft.json").write_text(f'{{"stamp": "{bootstrap.stamp_of(str(tmp_path))}"}}')
    assert bootstrap.is_built(str(tmp_path))
    (tmp_path / "requirements.txt").write_text("a==2\n")
    assert not bootstrap.is_built(str(tmp_path))


def test_an_interrupted_build_starts_from_an_empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _checkout(tmp_path)
    (tmp_path / ".venv" / "half-built").touch()
    (tmp_path / ".venv" / "half-written.py").touch()
    # Does what uv does for the build: `uv venv … PATH` makes an interpreter; everything else succeeds.
    _uv(tmp_path, 'if [ "$1" = venv ]; then for p; do :; done; mkdir -p "$p/bin"; touch "$p/bin/python"; fi')
    bootstrap.build(str(tmp_path), "/usr/bin/python3", {"PATH": "/usr/bin:/bin"})
    assert bootstrap.is_built(str(tmp_path))
    assert not (tmp_path / ".venv" / "half-written.py").exists()
    assert not (tmp_path / ".venv" / "half-built").exists()


def test_a_failed_step_leaves_the_build_to_be_done_again(tmp_path: Path) -> None:
    _checkout(tmp_path)
    _uv(tmp_path, '[ "$1" != pip ]')
    with pytest.raises(bootstrap.BootstrapError, match=r"exit status 1.*it goes on from here"):
        bootstrap.build(str(tmp_path), "/usr/bin/python3", {"PATH": "/usr/bin:/bin"})
    assert not bootstrap.is_built(str(tmp_path))
    assert (tmp_path / ".venv" / "half-built").exists()


def test_an_extra_is_installed_once_and_kept_by_later_builds(tmp_path: Path) -> None:
    _checkout(tmp_path)
    _uv(tmp_path, f'echo "$@" >> {tmp_path}/said')
    root, python, env = str(tmp_path), "/usr/bin/python3", {"PATH": "/usr/bin:/bin"}
    bootstrap.build(root, python, env)
    assert bootstrap.is_built(root)
    assert not bootstrap.is_built(root, ["torch"])
    bootstrap.build(root, python, env, ["torch"])
    (tmp_path / "requirements.txt").write_text("a==2\n")
    bootstrap.build(root, python, env)
    assert bootstrap.is_built(root, ["torch"])
    asked = [line.split()[-1] for line in (tmp_path / "said").read_text().splitlines() if "--constraint" in line]
    assert asked == [f"{root}[torch]"] * 2


def test_the_tools_of_tests_are_added_by_an_extra_of_their_own_and_everything_by_its_hash(tmp_path: Path) -> None:
    _checkout(tmp_path)
    _uv(tmp_path, f'echo "$@" >> {tmp_path}/said')
    root, python, env = str(tmp_path), "/usr/bin/python3", {"PATH": "/usr/bin:/bin"}
    bootstrap.build(root, python, env)
    [hashed, _editable] = (tmp_path / "said").read_text().splitlines()
    assert (
        f"--build-constraints {root}/requirements.txt --require-hashes --requirement {root}/requirements.txt" in hashed
    )
    assert "requirements-dev.txt" not in hashed
    assert not bootstrap.is_built(root, ["dev"])
    bootstrap.build(root, python, env, ["dev"])
    assert bootstrap.is_built(root, ["dev"])
    [hashed, _editable] = (tmp_path / "said").read_text().splitlines()[2:]
    assert f"--require-hashes --requirement {root}/requirements.txt --requirement {root}/requirements-dev.txt" in hashed


def test_a_uv_of_another_version_than_the_pinned_one_is_replaced_by_its_hash(tmp_path: Path) -> None:
    _checkout(tmp_path)
    (tmp_path / "requirements-uv.txt").write_text("uv==1.2.4 \\\n    --hash=sha256:0\n")
    _uv(tmp_path, "exit 1")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    python.chmod(0o755)
    bootstrap.get_uv(str(python), str(tmp_path), {"PATH": "/usr/bin:/bin"})
    [_, install] = (tmp_path / "asked").read_text().splitlines()
    assert "--only-binary :all: --require-hashes" in install
    assert install.endswith(f"{tmp_path}/requirements-uv.txt")
    assert not (tmp_path / ".venv-uv").exists()
