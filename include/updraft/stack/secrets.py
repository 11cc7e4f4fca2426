"""Passwords and keys of the embedded stack: generated once, kept for the owner alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from updraft.errors import StackError
from updraft.stack.layout import write_private


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Everything secret about one stack. Masked in ``repr``."""

    database: str = field(repr=False)
    """Password of PostgreSQL's roles."""
    fernet: str = field(repr=False)
    """Airflow's key for connections and variables at rest."""
    jwt: str = field(repr=False)
    """Signs tokens of the Airflow API, people's and tasks'."""
    web: str = field(repr=False)
    """Signs web sessions of Airflow."""
    mlflow: str = field(repr=False)
    """Signs web sessions of MLflow."""
    admin: str = field(repr=False)
    """Password of the Airflow user ``admin``."""
    replay: str = field(repr=False)
    """Password of the Airflow user ``replay``, in whose name a replay answers approvals."""


def load_or_make(path: Path) -> Secrets:
    """Read the secrets, and generate those that are not there yet.

    :raises StackError: when the file is not what this function wrote.
    """
    try:
        known = json.loads(path.read_text())
        kept = {f.name: str(known[f.name]) for f in fields(Secrets) if f.name in known}
    except FileNotFoundError:
        kept = {}
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path}: not the JSON object that `make up` wrote ({error}); restore it, or remove the deployment's "
            f"folder to start anew"
        ) from error
    made = Secrets(**{**_fresh(), **kept})
    if asdict(made) != kept:
        write_private(path, json.dumps(asdict(made), indent=1))
    return made


def _fresh() -> dict[str, str]:
    return {
        "database": secrets.token_hex(24),
        "fernet": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "jwt": secrets.token_urlsafe(64),
        "web": secrets.token_hex(32),
        "mlflow": secrets.token_hex(32),
        "admin": secrets.token_urlsafe(12),
        "replay": secrets.token_urlsafe(12),
    }
