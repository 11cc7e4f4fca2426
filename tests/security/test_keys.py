"""Keys that were lost, exchanged or replaced: never silently, and what they made before stays told apart."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import stat
from dataclasses import replace

import pytest
from tests.support import flights

from updraft.data.key_ring import Rotation, key_ring, next_key
from updraft.data.privacy import check_key, key_id, load_key
from updraft.errors import IntegrityError, SettingsError
from updraft.registry import signing
from updraft.registry.signing import PRIVATE, PUBLIC, SIGNATURE, key_pair, retired_keys, rotate, sign, verify
from updraft.settings import Settings


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "keys"


@pytest.fixture
def folder(tmp_path, keys):
    return signed(tmp_path / "old", keys)


def signed(folder, keys):
    folder.mkdir()
    (folder / "model.ubj").write_bytes(os.urandom(1_000))
    sign(folder, keys)
    return folder


# -- signing -----------------------------------------------------------------------------------------------------------


def test_a_lost_private_key_is_named_and_no_new_pair_is_made(folder, keys):
    (keys / PRIVATE).unlink()
    with pytest.raises(SettingsError, match=r"signing.pem is lost.*backup.*updraft keys rotate signing"):
        sign(folder, keys)

    assert not (keys / PRIVATE).exists()
    verify(folder, keys)


def test_a_pair_that_was_lost_but_for_what_it_replaced_is_not_made_anew_either(folder, keys):
    rotate(keys)
    (keys / PRIVATE).unlink()
    (keys / PUBLIC).unlink()
    with pytest.raises(SettingsError, match="is lost"):
        sign(folder, keys)


def test_a_private_key_of_another_pair_signs_nothing(folder, keys, tmp_path):
    key_pair(tmp_path / "others")
    (keys / PRIVATE).write_bytes((tmp_path / "others" / PRIVATE).read_bytes())
    with pytest.raises(SettingsError, match="do not belong together"):
        sign(folder, keys)


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff\x00"])
def test_a_damaged_key_is_named(folder, keys, content):
    (keys / PRIVATE).write_bytes(content)
    with pytest.raises(SettingsError, match=r"signing.pem is no private key"):
        sign(folder, keys)
    (keys / PUBLIC).write_bytes(content)
    with pytest.raises(SettingsError, match=r"signing.pub.pem is no public key"):
        verify(folder, keys)


@pytest.mark.parametrize("lost", [False, True])
def test_after_a_rotation_on_purpose_old_versions_and_new_ones_verify(folder, keys, tmp_path, lost):
    before = (keys / PUBLIC).read_bytes()
    if lost:
        (keys / PRIVATE).unlink()
    rotate(keys)
    new = signed(tmp_path / "new", keys)

    verify(folder, keys)
    verify(new, keys)
    assert stat.S_IMODE((keys / PRIVATE).stat().st_mode) == 0o600
    [old] = retired_keys(keys)
    assert old.read_bytes() == before
    rotate(keys)
    newest = signed(tmp_path / "newest", keys)
    for version in (folder, new, newest):
        verify(version, keys)
    assert len(retired_keys(keys)) == 2
    assert not [path.name for path in keys.iterdir() if path.name.startswith(".")]


def test_a_change_of_an_old_version_is_still_named_after_a_rotation(folder, keys):
    rotate(keys)
    (folder / "model.ubj").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"Hash mismatch for 'model\.ubj'"):
        verify(folder, keys)


def test_after_a_leak_what_the_old_key_signed_is_refused_once_its_public_half_is_removed(folder, keys, tmp_path):
    stolen = (keys / PRIVATE).read_bytes()
    rotate(keys)
    for path in retired_keys(keys):
        path.unlink()
    thief = tmp_path / "thief"
    thief.mkdir(mode=0o700)
    (thief / PRIVATE).write_bytes(stolen)
    (thief / PRIVATE).chmod(0o600)
    forged = signed(tmp_path / "forged", thief)

    for version in (folder, forged):
        with pytest.raises(IntegrityError, match="signed with the key of another deployment"):
            verify(version, keys)


def test_a_signature_that_names_a_trusted_key_must_have_been_made_with_it(folder, keys, tmp_path):
    forged = signed(tmp_path / "forged", tmp_path / "others")
    rotate(keys)
    for trusted in (keys / PUBLIC, *retired_keys(keys)):
        bundle = json.loads((forged / SIGNATURE).read_bytes())
        bundle["verificationMaterial"]["publicKey"]["hint"] = signing.key_id(trusted)
        (forged / SIGNATURE).write_text(json.dumps(bundle))
        with pytest.raises(IntegrityError, match="no valid signature"):
            verify(forged, keys)


def test_a_rotation_that_was_killed_half_way_is_done_by_the_next_signing(folder, keys, tmp_path):
    old = (keys / PUBLIC).read_bytes()
    rotate(keys)
    (keys / PUBLIC).write_bytes(old)  # as it was before the last step
    verify(folder, keys)
    new = signed(tmp_path / "new", keys)

    assert (keys / PUBLIC).read_bytes() != old
    verify(folder, keys)
    verify(new, keys)


def test_two_rotations_at_once_leave_a_pair_that_belongs_together(folder, keys):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=rotate, args=(keys,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 4
    sign(folder, keys)
    verify(folder, keys)
    assert len(retired_keys(keys)) == 4


def test_keys_that_cannot_be_written_say_so(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SettingsError, match="mounted"):
        rotate(tmp_path / "file")


# -- pseudonyms --------------------------------------------------------------------------------------------------------


def test_a_lost_pseudonym_key_is_refused_and_no_new_one_is_made(keys):
    path = keys / "pseudonym.key"
    name = key_id(load_key(path))
    path.unlink()
    with pytest.raises(SettingsError, match=rf"is lost: restore the key {name} from a backup"):
        load_key(path)
    assert not path.exists()


def test_another_pseudonym_key_is_refused(keys):
    path = keys / "pseudonym.key"
    load_key(path)
    path.write_bytes(os.urandom(32))
    with pytest.raises(SettingsError, match="restore that key from a backup"):
        load_key(path)


def test_the_id_tells_nothing_of_the_key_and_an_older_deployment_gets_one(keys):
    path = keys / "pseudonym.key"
    keys.mkdir()
    path.write_bytes(b"k" * 32)
    assert load_key(path) == b"k" * 32
    note = keys / "pseudonym.key.id"
    assert note.read_text() == key_id(b"k" * 32)
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert b"k" * 8 not in note.read_bytes()


def test_a_deployment_that_lost_all_its_keys_is_told_by_its_lake(tmp_path):
    project, settings = flights.flights(), flights.settings(tmp_path)
    assert project.spec.data.private
    before = key_ring(project, settings).newest.pseudonym("tailnum", "N14228")
    assert key_ring(project, settings).newest.pseudonym("tailnum", "N14228") == before
    for path in settings.keys.iterdir():
        path.unlink()

    with pytest.raises(SettingsError, match=r"lake/flight_delays/pseudonym.key.id says that pseudonyms were made with"):
        key_ring(project, settings)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 16])
def test_a_damaged_id_is_no_leave_to_go_on(tmp_path, content):
    note = tmp_path / "pseudonym.key.id"
    note.write_bytes(content)
    with pytest.raises(SettingsError, match="pseudonyms were made with"):
        check_key(b"k" * 32, str(note))


# -- keys of a secret backend --------------------------------------------------------------------------------------------


def in_connection(monkeypatch, id, key):
    monkeypatch.setenv(f"AIRFLOW_CONN_{id.upper()}", json.dumps({"conn_type": "generic", "password": key}))


def test_the_pseudonym_key_comes_from_a_connection_and_no_file_is_made(tmp_path, monkeypatch):
    project, plain = flights.flights(), flights.settings(tmp_path)
    settings = replace(plain, pseudonym_connection="pseudonyms")
    before = key_ring(project, plain)
    kept = (plain.keys / "pseudonym.key").read_bytes()
    for path in plain.keys.iterdir():
        path.unlink()
    in_connection(monkeypatch, "pseudonyms", base64.b64encode(kept).decode())
    ring = key_ring(project, settings)
    assert ring.newest.pseudonym("tailnum", "N14228") == before.newest.pseudonym("tailnum", "N14228")
    assert ring.marker.mark("a", "b") == before.marker.mark("a", "b")
    second = b"2" * 32
    rotation = Rotation(1, "2013-02-01T0500", ring.newest.key_id, key_id(second))
    with pytest.raises(SettingsError, match="there is no connection 'pseudonyms_flight_delays_1'"):
        key_ring(project, settings, [rotation])
    in_connection(monkeypatch, "pseudonyms_flight_delays_1", base64.b64encode(second).decode())
    assert key_ring(project, settings, [rotation]).newest.key_id == key_id(second)
    assert next_key(project.name, settings, 1) == second
    in_connection(monkeypatch, "pseudonyms_flight_delays_1", base64.b64encode(b"3" * 32).decode())
    with pytest.raises(SettingsError, match=r"connection pseudonyms_flight_delays_1 is key .*restore that key"):
        key_ring(project, settings, [rotation])
    assert list(settings.keys.iterdir()) == []
    assert Settings.from_env({"UPDRAFT_PSEUDONYM_CONNECTION": "pseudonyms"}).pseudonym_connection == "pseudonyms"


def test_another_key_of_a_connection_or_none_is_refused_without_a_word_of_it(tmp_path, monkeypatch):
    project, settings = flights.flights(), replace(flights.settings(tmp_path), pseudonym_connection="pseudonyms")
    in_connection(monkeypatch, "pseudonyms", base64.b64encode(b"1" * 32).decode())
    key_ring(project, settings)
    in_connection(monkeypatch, "pseudonyms", base64.b64encode(b"2" * 32).decode())
    with pytest.raises(SettingsError, match="says that pseudonyms were made with"):
        key_ring(project, settings)
    for wrong in ("", "se-cret", base64.b64encode(b"short").decode()):
        in_connection(monkeypatch, "pseudonyms", wrong)
        with pytest.raises(SettingsError, match="the password of connection pseudonyms is no pseudonym key") as told:
            key_ring(project, settings)
        assert not wrong or wrong not in str(told.value)
