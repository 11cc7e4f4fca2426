"""Notes in the lake that only this deployment can have written.

Much in the lake follows from what the store knows, and is kept there to be used again: the hash of a partition's features, a
reference of drift, the proof of a refit trial. Training pods can write to the lake. So each of these carries a seal,
HMAC-SHA256 (RFC 2104) with a key that no pod has, over the project, the note's place and its content. A note without a
right seal counts as not there: what it tells is worked out again. The lake's address is sealed too: a backtest's lake is another
one, and what was sealed there counts nowhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from updraft import files
from updraft.data.key_ring import SEALS, derived_key
from updraft.lake.places import Lake
from updraft.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SealedNotes:
    """The sealed notes of one project in one lake."""

    lake: Lake
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, lake: Lake, settings: Settings) -> SealedNotes:
        """Those of a deployment."""
        return cls(lake, derived_key(settings, SEALS))

    def write(self, place: str, content: Any) -> None:
        """Write a note.

        :param place: below the project's part of the lake.
        :param content: a JSON value.
        """
        plain = json.loads(json.dumps(content, default=str))
        files.write_json(self.lake.at(place), {"content": plain, "seal": self._seal(place, plain)})

    def read(self, place: str) -> Any:
        """The content of a note; None when there is none, or when its seal is not right."""
        try:
            note = files.read_json(self.lake.at(place))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        sealed = isinstance(note, dict) and isinstance(note.get("seal"), str) and "content" in note
        if not sealed or not hmac.compare_digest(
            note["seal"].encode(errors="replace"), self._seal(place, note["content"]).encode()
        ):
            log.warning("%s has no seal of this deployment and counts as not there", self.lake.at(place))
            return None
        return note["content"]

    def _seal(self, place: str, content: Any) -> str:
        sealed = json.dumps([self.lake.url, self.lake.project, place, content], sort_keys=True, separators=(",", ":"))
        return hmac.new(self.key, sealed.encode(), hashlib.sha256).hexdigest()
