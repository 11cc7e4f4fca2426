"""Keyed pseudonyms: the same value of the same column is the same pseudonym, and only the key's holder can make it."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from updraft import files
from updraft.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

KEY_FILE = "pseudonym.key"
ID_SUFFIX = ".id"
KEY_BYTES = 32
LENGTH = 16
"""Hex digits of a pseudonym: 64 bits, so that a million values collide with probability 3e-8."""


class Pseudonymiser:
    """HMAC-SHA256 (RFC 2104), truncated, with the project and the column in its domain.

    The same value has different pseudonyms in two projects and in two columns, so they cannot be joined.
    """

    def __init__(self, key: bytes, project: str) -> None:
        if len(key) < KEY_BYTES:
            raise SettingsError(f"a pseudonym key has at least {KEY_BYTES} bytes, this one has {len(key)}")
        self._key = key
        self._project = project

    def __repr__(self) -> str:
        return f"Pseudonymiser(project={self._project!r})"

    @property
    def key_id(self) -> str:
        """Tells its key from others, and nothing of it."""
        return key_id(self._key)

    def pseudonym(self, column: str, value: object) -> str | None:
        """The pseudonym of one value: 16 hex digits; null stays null."""
        if value is None:
            return None
        message = "\x1f".join((self._project, column, str(value))).encode()
        return hmac.digest(self._key, message, "sha256").hex()[:LENGTH]

    def mapping(self, column: str, values: Iterable[object]) -> dict[str, str]:
        """Pseudonyms of values by their text; nulls are left out."""
        return {str(value): str(self.pseudonym(column, value)) for value in values if value is not None}

    def series(self, column: str, values: pd.Series) -> pd.Series:
        """Pseudonyms of a column (object, same index): each distinct value is hashed once; nulls stay null."""
        distinct = values.dropna().unique()
        known = {value: self.pseudonym(column, value) for value in distinct}
        return values.map(known).astype(object).where(values.notna(), None)


def load_key(path: Path) -> bytes:
    """The key of this deployment; made of 32 random bytes (mode 0600, folder 0700) when there never was one.

    Beside it lies its id (``pseudonym.key.id``), which tells nothing of it: with that there, a key that is lost or another
    is refused instead of giving every private value a new pseudonym. Two processes that find no key at the same time end
    up with the same one.

    :raises SettingsError: when the key is lost or another, too short to be a key, or cannot be read.
    """
    note = path.with_name(f"{path.name}{ID_SUFFIX}")
    try:
        known = note.read_text().strip() if note.exists() else None  # first: it is written after the key
        if not path.exists():
            if known is not None:
                raise SettingsError(
                    f"{path} is lost: restore the key {known} from a backup; a new key gives every private value a new "
                    f"pseudonym, and none of it can be undone. Only where nothing pseudonymised is kept, remove {note}"
                )
            files.create_once(path, os.urandom(KEY_BYTES), 0o600)
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: the pseudonym key cannot be read or made: {error.strerror}") from error
    if len(key) < KEY_BYTES:
        raise SettingsError(
            f"{path}: {len(key)} bytes are no pseudonym key ({KEY_BYTES} are); restore it from a backup: "
            "a new key gives every private value a new pseudonym"
        )
    if known is None:
        with suppress(OSError):  # keys on a read-only mount, such as a Kubernetes Secret; the lake has the id as well
            files.create_once(note, key_id(key).encode(), 0o600)
    elif known != key_id(key):
        raise SettingsError(_another(str(path), key, str(note), known))
    return key


def check_key(key: bytes, note: str) -> None:
    """Hold a key against the id of the one that made a project's pseudonyms so far; written there when there is none.

    It stands in the lake, with what was published: a deployment that lost its keys altogether is refused there.

    :param note: URL of the id.
    :raises SettingsError: when it is another key.
    """
    try:
        known = files.read_bytes(note).decode(errors="replace").strip()
    except FileNotFoundError:
        files.write_bytes(note, key_id(key).encode())
        return
    if known != key_id(key):
        raise SettingsError(_another("the pseudonym key of this deployment", key, note, known))


def key_id(key: bytes) -> str:
    """What tells keys apart without telling anything of them: an HMAC under the key itself, 16 hex digits."""
    return hmac.new(key, b"updraft pseudonym key", hashlib.sha256).hexdigest()[:LENGTH]


def _another(what: str, key: bytes, note: str, known: str) -> str:
    return (
        f"{what} is {key_id(key)}, but {note} says that pseudonyms were made with {known}: restore that key from a "
        "backup; another one gives every private value a new pseudonym. Only where nothing pseudonymised is kept, "
        f"remove {note}"
    )
