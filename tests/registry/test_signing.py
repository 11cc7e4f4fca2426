from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from updraft.errors import IntegrityError, SettingsError
from updraft.registry.signing import PRIVATE, PUBLIC, SIGNATURE, key_pair, sign, verify


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def folder(tmp_path, keys):
    folder = tmp_path / "a model"
    folder.mkdir()
    (folder / "model.ubj").write_bytes(os.urandom(100_000))
    (folder / "meta.json").write_text("{}")
    sign(folder, keys)
    return folder


def test_what_was_signed_verifies_wherever_it_is_moved(folder, keys, tmp_path):
    verify(folder, keys)
    verify(folder.rename(tmp_path / "7"), keys)


def test_signing_again_replaces_the_signature(folder, keys):
    (folder / "meta.json").write_text('{"new": 1}')
    sign(folder, keys)
    verify(folder, keys)
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", SIGNATURE, "model.ubj"]


def test_one_changed_byte_is_refused_by_name(folder, keys):
    content = bytearray((folder / "model.ubj").read_bytes())
    content[50_000] ^= 1
    (folder / "model.ubj").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"refused: Hash mismatch for 'model.ubj'; find out"):
        verify(folder, keys)


@pytest.mark.parametrize("name", ["evil.py", ".gitattributes", "sub/evil.py", ".git/config"])
def test_a_file_that_was_added_is_refused_by_name(folder, keys, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("import os")
    with pytest.raises(IntegrityError, match=f"Extra files.*{name}"):
        verify(folder, keys)


def test_a_file_that_was_removed_is_refused_by_name(folder, keys):
    (folder / "meta.json").unlink()
    with pytest.raises(IntegrityError, match=r"Missing files.*meta.json"):
        verify(folder, keys)


def test_a_symbolic_link_is_refused(folder, keys, tmp_path):
    (tmp_path / "elsewhere").write_text("{}")
    (folder / "meta.json").unlink()
    (folder / "meta.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="refused"):
        verify(folder, keys)


def test_a_missing_signature_is_refused(folder, keys):
    (folder / SIGNATURE).unlink()
    with pytest.raises(IntegrityError, match=r"model.sig is missing"):
        verify(folder, keys)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe"])
def test_a_signature_that_is_none_is_refused(folder, keys, content):
    (folder / SIGNATURE).write_bytes(content)
    with pytest.raises(IntegrityError, match=r"model.sig is no valid signature"):
        verify(folder, keys)


def test_the_signature_of_another_key_is_refused(folder, keys, tmp_path):
    sign(folder, tmp_path / "others")
    with pytest.raises(IntegrityError, match="signed with the key of another deployment"):
        verify(folder, keys)


def test_without_the_public_key_nothing_is_loaded(folder, tmp_path):
    with pytest.raises(IntegrityError, match=r"signing.pub.pem is missing"):
        verify(folder, tmp_path / "none")


def test_the_private_key_is_for_its_owner_only(folder, keys):
    assert stat.S_IMODE((keys / PRIVATE).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    (keys / PRIVATE).chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        sign(folder, keys)


def test_the_public_key_comes_back_when_it_was_lost(folder, keys):
    (keys / PUBLIC).unlink()
    key_pair(keys)
    verify(folder, keys)


def test_processes_that_make_the_key_at_the_same_time_share_one(tmp_path):
    code = "import sys, pathlib\nfrom updraft.registry.signing import key_pair\nkey_pair(pathlib.Path(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "keys")]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [PRIVATE, PUBLIC]
