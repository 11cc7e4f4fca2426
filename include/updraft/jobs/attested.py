"""A training's own hand: what it leaves in the lake carries a seal that no other training can make.

All trainings write to one lake, and a pod's key to the store opens the folders of others' runs. So each run has a secret, which its
launcher draws and keeps, and which stands in the environment of the training's processes alone. With it result and checkpoints
are sealed: HMAC-SHA256 (RFC 2104) over canonical JSON. A training by hand has no secret, and seals nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

RUN_KEY = "UPDRAFT_RUN_KEY"
"""Variable with the secret of the run."""


def new_run_key() -> str:
    """A secret for a run."""
    return secrets.token_hex(32)


def run_key(env: Mapping[str, str] = os.environ) -> str | None:
    """The secret of the run that this process trains for; None for a training by hand."""
    return env.get(RUN_KEY) or None


@contextmanager
def training_for(key: str) -> Iterator[None]:
    """Train for a run in this process, and in those that it starts, until the end of the block."""
    before = os.environ.get(RUN_KEY)
    os.environ[RUN_KEY] = key
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(RUN_KEY, None)
        else:
            os.environ[RUN_KEY] = before


def seal(key: str, content: Any) -> str:
    """The seal of a JSON value."""
    plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), plain.encode(), hashlib.sha256).hexdigest()


def is_sealed(key: str, content: Any, given: object) -> bool:
    """Whether a seal is the one that this key makes of a value."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), seal(key, content).encode())
