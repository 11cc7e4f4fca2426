"""Keyed pseudonyms: the same value of the same column is the same pseudonym, and only the key's holder can make it."""

from __future__ import annotations

import hashlib
import hmac
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from updraft.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd

KEY_FILE = "pseudonym.key"
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

    def one(self, column: str, value: object) -> str | None:
        """The pseudonym of one value: 16 hex digits; null stays null."""
        if value is None:
            return None
        message = "\x1f".join((self._project, column, str(value))).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()[:LENGTH]

    def mapping(self, column: str, values: Iterable[object]) -> dict[str, str]:
        """Pseudonyms of values by their text; nulls are left out."""
        return {str(value): str(self.one(column, value)) for value in values if value is not None}

    def series(self, column: str, values: pd.Series) -> pd.Series:
        """Pseudonyms of a column (object, same index): each distinct value is hashed once; nulls stay null."""
        distinct = values.dropna().unique()
        known = {value: self.one(column, value) for value in distinct}
        return values.map(known).astype(object).where(values.notna(), None)


def load_key(path: Path) -> bytes:
    """The key of this deployment; made of 32 random bytes (mode 0600, folder 0700) when there is none.

    Two processes that find none at the same time end up with the same key.

    :raises SettingsError: when the file is too short to be a key, or cannot be read.
    """
    try:
        if not path.exists():
            _create(path)
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: the pseudonym key cannot be read or made: {error.strerror}") from error
    if len(key) < KEY_BYTES:
        raise SettingsError(
            f"{path}: {len(key)} bytes are no pseudonym key ({KEY_BYTES} are); restore it from a backup: "
            "a new key gives every private value a new pseudonym"
        )
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)  # fails when another process was first, where a rename would replace its key
        except FileExistsError:
            return
    finally:
        aside.unlink()
