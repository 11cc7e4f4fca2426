"""Passwords and keys of the embedded stack: generated once, kept for the owner alone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from updraft.errors import StackError
from updraft.stack.layout import write_private


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Everything secret about one stack. Masked in ``repr``."""

    database_superuser: str = field(repr=False)
    """Password of PostgreSQL's superuser, for `make up` and the health check alone: no program has it."""
    database_airflow: str = field(repr=False)
    """Password of the role that owns Airflow's database."""
    database_mlflow: str = field(repr=False)
    """Password of the role that owns MLflow's database."""
    database_updraft: str = field(repr=False)
    """Password of the role that owns the store."""
    fernet: str = field(repr=False)
    """Airflow's key for connections and variables at rest."""
    jwt: str = field(repr=False)
    """Signs tokens of the Airflow API, people's and tasks'."""
    web: str = field(repr=False)
    """Signs web sessions of Airflow."""
    mlflow: str = field(repr=False)
    """Signs web sessions of MLflow."""
    mlflow_programs: str = field(repr=False)
    """Password of MLflow's account ``updraft``, in whose name programs sign in."""
    admin: str = field(repr=False)
    """Password of the person ``admin``, in Airflow and in MLflow."""
    database: str = field(repr=False, default="")
    """A password of PostgreSQL's superuser that is to be replaced: older versions had this one for every role. Empty once
    each role has its own."""

    def of_role(self, role: str) -> str:
        """The password of one of PostgreSQL's roles, ``airflow``, ``mlflow`` or ``updraft``."""
        return {"airflow": self.database_airflow, "mlflow": self.database_mlflow, "updraft": self.database_updraft}[
            role
        ]


_RETIRED = ("replay",)
"""Keys of older versions that nothing reads any more."""


def load_or_make(path: Path) -> Secrets:
    """Read the secrets, and generate those that are not there yet.

    :raises StackError: when the file is not what this function wrote.
    """
    known = _read(path)
    kept = {f.name: str(known[f.name]) for f in fields(Secrets) if known.get(f.name)}
    made = Secrets(**{**_fresh(), **kept})
    _write(path, known, made)
    return made


def forget_shared(path: Path) -> None:
    """Remove the database password that was replaced; called when PostgreSQL takes it no more."""
    _write(path, _read(path), replace(load_or_make(path), database=""))


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:  # what it says may quote the file
        known = None
    if not isinstance(known, dict):
        raise StackError(
            f"{path}: not the JSON object that `make up` wrote; restore it, or remove the deployment's folder to start "
            f"anew"
        )
    return known


def _write(path: Path, known: Mapping[str, Any], made: Secrets) -> None:
    """Write the file where that changes it. Keys of a newer version stay."""
    held = {name: value for name, value in asdict(made).items() if value}
    others = {name: value for name, value in known.items() if name not in asdict(made) and name not in _RETIRED}
    if others | held != known:
        write_private(path, json.dumps(others | held, indent=1))


def _fresh() -> dict[str, str]:
    return {
        "database_superuser": secrets.token_hex(24),
        "database_airflow": secrets.token_hex(24),
        "database_mlflow": secrets.token_hex(24),
        "database_updraft": secrets.token_hex(24),
        "fernet": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "jwt": secrets.token_urlsafe(64),
        "web": secrets.token_hex(32),
        "mlflow": secrets.token_hex(32),
        "mlflow_programs": secrets.token_urlsafe(24),
        "admin": secrets.token_urlsafe(12),
    }
