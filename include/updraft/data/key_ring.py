"""Which key makes the pseudonyms of which partition, and what else follows from the deployment's key.

A project begins with the key of the deployment. When a person rotates it, partitions from the next one on have a key of the project's own;
those before keep theirs, so their rows keep their identity, and labels that mature later find them. A key that was destroyed makes nothing
any more: what was never published of its partitions is made with the next key that is left.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from updraft import files
from updraft.data.privacy import ID_SUFFIX, KEY_BYTES, KEY_FILE, Pseudonymiser, check_key, key_id, load_key
from updraft.errors import SettingsError
from updraft.lake.places import Lake
from updraft.settings import Settings
from updraft.spec.model import Project

SEALS = ("seals.key", b"updraft: notes in the lake")
"""File and purpose of the key of seals. What derives from a key tells nothing of it, nor of a pseudonym."""
MARKS = ("marks.key", b"updraft: marks of persons and rows")
"""The same of the key of marks: of persons who are forgotten, and of rows in quarantine of which a person decided. They outlive every rotation."""

COPIED = ".copied"
"""Stands in the folder of keys where docker/airflow/entrypoint has copied it from a mount."""
MADE = {"marks_by": MARKS[0]}
"""Stands in a decision whose marks are made with that key; one without it was made by an earlier Updraft, whose marks need the deployment's key."""


@dataclass(frozen=True)
class Marker:
    """Makes the marks that are kept of persons and of rows, and knows those that an earlier Updraft made, with the deployment's key itself."""

    own: Pseudonymiser
    earlier: Pseudonymiser | None
    """None where the deployment's key is destroyed, which :func:`updraft.loop.rotating.destroy_old_keys` does only where no such mark was kept."""

    def mark(self, domain: str, value: object) -> str:
        """What is kept."""
        return str(self.own.pseudonym(domain, value))

    def marks(self, domain: str, value: object) -> frozenset[str]:
        """Whatever may have been kept of the same."""
        return frozenset(str(maker.pseudonym(domain, value)) for maker in (self.own, self.earlier) if maker is not None)


@dataclass(frozen=True)
class Rotation:
    """From a partition on, pseudonyms of a project are made with another key."""

    number: int
    """Of the project's rotations, from 1."""
    since: str
    """Key of the first partition with the new key."""
    before: str
    """Id of the key before."""
    after: str
    """Id of the new key."""
    pairs: bool = True
    """Whether partitions keep which pseudonym was which, until the key before is destroyed; not after a leak."""
    destroyed: bool = False
    """Whether the key before is destroyed."""


@dataclass(frozen=True)
class KeyRing:
    """The keys of a project that are left, oldest first, each with the first partition that it makes pseudonyms of."""

    keys: tuple[tuple[str, Pseudonymiser], ...]
    """The first one has no beginning: the empty text."""
    marker: Marker
    """Makes no pseudonym that is published."""
    rotations: tuple[Rotation, ...] = ()

    def of(self, partition: str) -> Pseudonymiser:
        """What makes the pseudonyms of a partition."""
        return next(pseudonyms for since, pseudonyms in reversed(self.keys) if since <= partition)

    @property
    def newest(self) -> Pseudonymiser:
        """What makes the pseudonyms of the partitions that come."""
        return self.keys[-1][1]

    @property
    def all(self) -> tuple[Pseudonymiser, ...]:
        """Every one that is left."""
        return tuple(pseudonyms for _, pseudonyms in self.keys)

    def before(self, partition: str) -> Pseudonymiser | None:
        """With what the pseudonyms of a partition were made, but for the last rotation before it; None where no pairs are to be kept."""
        since = [rotation for rotation in self.rotations if rotation.since <= partition]
        if not since or since[-1].destroyed or not since[-1].pairs:
            return None
        return next((pseudonyms for pseudonyms in self.all if pseudonyms.key_id == since[-1].before), None)


def key_ring(project: Project, settings: Settings, rotations: Sequence[Rotation] = ()) -> KeyRing:
    """The project's keys.

    :param rotations: in order.
    :raises SettingsError: when a key is lost, or is not the one that the pseudonyms were made with.
    """
    pseudonymisers: list[tuple[str, Pseudonymiser]] = []
    if not (rotations and rotations[0].destroyed):
        key = deployment_key(settings)
        if project.spec.data.private:
            check_key(key, Lake(settings.lake, project.name).at(f"{KEY_FILE}{ID_SUFFIX}"))
        pseudonymisers.append(("", Pseudonymiser(key, project.name)))
    destroyed = {rotation.before for rotation in rotations if rotation.destroyed}
    for rotation in rotations:
        if rotation.after not in destroyed:
            key = _load(project.name, settings, rotation)
            since = rotation.since if pseudonymisers else ""
            pseudonymisers.append((since, Pseudonymiser(key, project.name)))
    return KeyRing(tuple(pseudonymisers), marker(project.name, settings), tuple(rotations))


def deployment_key(settings: Settings) -> bytes:
    """The key that every project begins with: of the connection that holds it, or of the folder of keys.

    :raises SettingsError: when it is lost or no key.
    """
    if settings.pseudonym_connection:
        return _of_connection(settings, settings.pseudonym_connection)
    return load_key(settings.keys / KEY_FILE)


def connection_of(project: str, settings: Settings, number: int) -> str:
    """Id of the connection that holds the key of a project's rotation, where keys come from connections."""
    return f"{settings.pseudonym_connection}_{project}_{number}"


def marker(project: str, settings: Settings) -> Marker:
    """What makes marks, and knows them."""
    own = Pseudonymiser(derived_key(settings, MARKS), project)
    if settings.pseudonym_connection:  # whoever changes the secret would change every mark
        check_key(deployment_key(settings), Lake(settings.lake, project).at(f"{KEY_FILE}{ID_SUFFIX}"))
    if (settings.keys / MARKS[0]).exists():  # written when the deployment's key was destroyed
        return Marker(own, None)
    return Marker(own, Pseudonymiser(deployment_key(settings), project))


def derived_key(settings: Settings, derivation: tuple[str, bytes]) -> bytes:
    """A key that follows from the deployment's key, and stays when that one is destroyed (:func:`keep_derived_keys`).

    :param derivation: ``SEALS`` or ``MARKS``.
    """
    file, purpose = derivation
    try:
        return (settings.keys / file).read_bytes()
    except FileNotFoundError:
        return _derived(deployment_key(settings), purpose)
    except OSError as error:
        raise SettingsError(f"{settings.keys / file}: this key cannot be read: {error.strerror}") from error


def keep_derived_keys(settings: Settings) -> None:
    """Write down what follows from the deployment's key, before it is destroyed."""
    for file, purpose in (SEALS, MARKS):
        files.create_once(settings.keys / file, _derived(deployment_key(settings), purpose), 0o600)


def key_file(project: str, settings: Settings, number: int) -> Path:
    """Where the key of a project's rotation lies."""
    return settings.keys / f"pseudonym.{project}.{number}.key"


def is_copied(settings: Settings) -> bool:
    """Whether the folder of keys is a container's own copy of what is mounted: what is written there, no other container sees."""
    return (settings.keys / COPIED).exists()


def next_key(project: str, settings: Settings, number: int) -> bytes:
    """The key of a rotation: the one that was put there before, as on machines that share keys, or one of 32 random bytes.

    :raises SettingsError: when it is no key, or cannot be read or made.
    """
    if settings.pseudonym_connection:
        return _of_connection(settings, connection_of(project, settings, number))
    path = key_file(project, settings, number)
    if is_copied(settings) and not path.exists():
        raise SettingsError(
            f"{path}: this container has a copy of the deployment's keys, so a key made here is in no other; put {KEY_BYTES} random bytes "
            f"under the name {path.name} where keys are mounted from (head -c {KEY_BYTES} /dev/urandom), start every container anew, and rotate then"
        )
    try:
        files.create_once(path, os.urandom(KEY_BYTES), 0o600)
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path}: the new pseudonym key cannot be read or made: {error.strerror}; where keys are mounted, put {KEY_BYTES} random bytes "
            "there first (head -c 32 /dev/urandom), on every machine and in every container"
        ) from error
    if len(key) < KEY_BYTES:
        raise SettingsError(f"{path}: {len(key)} bytes are no pseudonym key ({KEY_BYTES} are)")
    return key


def _load(project: str, settings: Settings, rotation: Rotation) -> bytes:
    path: Path | str = key_file(project, settings, rotation.number)
    try:
        if settings.pseudonym_connection:
            path = f"connection {connection_of(project, settings, rotation.number)}"
            key = _of_connection(settings, connection_of(project, settings, rotation.number))
        else:
            key = key_file(project, settings, rotation.number).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}: since partition {rotation.since} the pseudonyms of {project} are made with key "
            f"{rotation.after}; restore it from a backup, or copy it from the machine on which it was made"
        ) from error
    if key_id(key) != rotation.after:
        raise SettingsError(
            f"{path} is key {key_id(key)}, and since partition {rotation.since} the pseudonyms of {project} are made with {rotation.after}; "
            "restore that key from a backup"
        )
    return key


def _of_connection(settings: Settings, id: str) -> bytes:
    """The key that is a connection's password, as base64.

    :raises SettingsError: when there is no such connection, or its password is no key; its words do not quote it.
    """
    try:
        key = base64.b64decode(settings.connections.get(id).password, validate=True)
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise SettingsError(
            f"the password of connection {id} is no pseudonym key: write {KEY_BYTES} random bytes there as base64 (openssl rand -base64 {KEY_BYTES}) "
            "or the key that made the pseudonyms so far (base64 -w0 pseudonym.key)"
        )
    return key


def _derived(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, purpose, hashlib.sha256).digest()
