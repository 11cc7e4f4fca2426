"""Where things are in this deployment. Read from the environment once, at the edge, and passed in from there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from updraft.connections import Connections, EnvironmentConnections
from updraft.errors import SettingsError

_ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
BASE = "base"
"""What ``project.yaml`` alone is called where environments are compared; no environment has this name."""
ENV_FILE = "env.json"
"""Below ``home``: the addresses that the embedded stack came up with. The environment wins over it."""

METRICS_TOKEN = "UPDRAFT_METRICS_TOKEN"
"""Variable with the token for `/updraft/metrics`. The API server alone needs it."""
_SHORTEST_TOKEN = 16
"""Characters."""

MLFLOW_SIGN_IN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Variables in which MLflow's client looks for an account."""

MLFLOW_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "48",
    "_MLFLOW_HTTP_REQUEST_MAX_RETRIES_LIMIT": "48",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "10",
}
"""How trainings and tasks wait for an MLflow that is away: some four minutes, as its client does by itself, with pauses of up to ten seconds.
Its own double each time, so that it looks again up to two minutes after MLflow is back."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One deployment's addresses. Every URL is read through fsspec (lake) or SQLAlchemy (store)."""

    home: Path
    """Folder of everything that a deployment writes on this machine."""
    projects: Path
    """Folder of the project folders."""
    deployment: Path = _ROOT / "include" / "deployment.yaml"
    """File of what holds for every project, such as the cluster that trainings go to."""
    environment: str | None = None
    """Of which ``project.<environment>.yaml`` overrides ``project.yaml``; None: ``project.yaml`` alone holds."""
    lake: str
    """URL below which partitions, predictions, models and reports stand."""
    raw: str = ""
    """URL below which the raw zone stands, with private values in clear; empty: ``<lake>/<project>/raw``."""
    store: str = field(repr=False)
    """SQLAlchemy URL of the store, with its driver: ``postgresql+psycopg2://…``. Masked in ``repr``."""
    mlflow: str
    """MLflow tracking URI."""
    airflow: str
    """Base URL of the Airflow UI, for links in alerts."""
    airflow_passwords: str = ""
    """File with the passwords of Airflow's users; empty outside of the embedded stack."""
    audit: str = ""
    """URL below which the anchors of decisions stand, such as a bucket whose objects cannot be removed; the lake when empty."""
    metrics_token: str = field(default="", repr=False)
    """What a scraper shows to read `/updraft/metrics`; empty: nobody reads them. Masked in ``repr``."""
    poll_seconds: float = 0.5
    """How often a deferred sensor looks at the store."""
    pseudonym_connection: str = ""
    """Id of the connection whose password is the deployment's pseudonym key, such as one of a secret backend; empty: a file of ``keys``."""
    connections: Connections = field(default_factory=EnvironmentConnections, repr=False)
    """Where the addresses and secrets of sources are looked up."""

    @property
    def keys(self) -> Path:
        """Folder of the secret keys of this deployment: pseudonyms and signing. Created with mode 0700."""
        return self.home / "keys"

    def raw_zone(self, project: str) -> str:
        """URL of a project's raw zone: ``<raw>/<project>``, or ``<lake>/<project>/raw`` where it has no place of its own."""
        return f"{self.raw}/{project}" if self.raw else f"{self.lake}/{project}/raw"

    def of_backtests(self) -> Settings:
        """The same with a lake and a raw zone of the backtests' own, below these, and without services."""
        lake, raw = (f"{url}/.backtest" if url else "" for url in (self.lake, self.raw))
        return Settings(
            home=self.home,
            projects=self.projects,
            environment=self.environment,
            lake=lake,
            raw=raw,
            store="",
            mlflow="",
            airflow="",
            pseudonym_connection=self.pseudonym_connection,
            connections=self.connections,
        )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read ``UPDRAFT_*``; what is not set gets the embedded default below ``UPDRAFT_HOME`` (``var/`` here).

        :raises SettingsError: when a URL has no scheme, the environment's name is none, or the raw zone has a URL of its own that lies in the
            lake or holds it.
        """
        home = Path(env.get("UPDRAFT_HOME") or _ROOT / "var").absolute()
        env = {**_written_by_the_stack(home / ENV_FILE), **env}
        settings = cls(
            home=home,
            projects=Path(env.get("UPDRAFT_PROJECTS") or _ROOT / "include" / "projects").absolute(),
            deployment=Path(env.get("UPDRAFT_DEPLOYMENT") or _ROOT / "include" / "deployment.yaml").absolute(),
            environment=_environment(env.get("UPDRAFT_ENVIRONMENT") or None),
            lake=(env.get("UPDRAFT_LAKE") or f"file://{home / 'lake'}").rstrip("/"),  # fsspec does not decode %20
            raw=(env.get("UPDRAFT_RAW") or "").rstrip("/"),
            store=env.get("UPDRAFT_STORE") or "",
            mlflow=env.get("UPDRAFT_MLFLOW") or "",
            airflow=(env.get("UPDRAFT_AIRFLOW") or "").rstrip("/"),
            airflow_passwords=env.get("UPDRAFT_AIRFLOW_PASSWORDS") or "",
            audit=(env.get("UPDRAFT_AUDIT") or "").rstrip("/"),
            metrics_token=_token(env.get(METRICS_TOKEN) or ""),
            pseudonym_connection=env.get("UPDRAFT_PSEUDONYM_CONNECTION") or "",
            poll_seconds=_seconds(env.get("UPDRAFT_POLL_SECONDS") or "0.5"),
        )
        urls = {
            "UPDRAFT_LAKE": settings.lake,
            "UPDRAFT_RAW": settings.raw,
            "UPDRAFT_AUDIT": settings.audit,
            "UPDRAFT_STORE": settings.store,
        }
        for name, value in urls.items():
            if value and "://" not in value:
                shown = "" if name == "UPDRAFT_STORE" else f"={value!r}"  # it holds a password
                raise SettingsError(f"{name}{shown} is not a URL; write it with its scheme, such as file:///srv/lake")
        raw, lake = f"{settings.raw}/", f"{settings.lake}/"
        if settings.raw and (raw.startswith(lake) or lake.startswith(raw)):
            raise SettingsError(
                f"UPDRAFT_RAW={settings.raw!r} and UPDRAFT_LAKE={settings.lake!r} lie in each other, and who reads the lake "
                "is not to read the raw zone; give it a bucket, a prefix or a folder beside the lake, or leave it away"
            )
        return settings

    def need_store(self) -> str:
        """The store's URL.

        :raises SettingsError: when it is not set, or does not read; its words do not quote it, as it holds a password.
        """
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        if not self.store:
            raise SettingsError("UPDRAFT_STORE is not set; `make up` starts a store and writes var/env.json")
        try:
            make_url(self.store).get_dialect().import_dbapi()
        except (ArgumentError, ImportError, ValueError) as error:
            raise SettingsError(
                "UPDRAFT_STORE does not read as the URL of a database whose driver is installed; write it as "
                f"postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE, with @, : and / in a password as %40, %3A and %2F ({type(error).__name__})"
            ) from None
        return self.store


def mlflow_sign_in(env: Mapping[str, str]) -> dict[str, str]:
    """What MLflow's client has to find in the environment to sign in to the embedded stack's MLflow, where it is not there.

    Nothing for another MLflow: that one does not get the password of ours.

    :raises SettingsError: when ``env.json`` is broken.
    """
    written = _written_by_the_stack(Path(env.get("UPDRAFT_HOME") or _ROOT / "var").absolute() / ENV_FILE)
    ours = written.get("UPDRAFT_MLFLOW", "")
    elsewhere = any(env.get(name) not in (None, "", ours) for name in ("UPDRAFT_MLFLOW", "MLFLOW_TRACKING_URI"))
    if elsewhere or any(name in env for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN")):
        return {}
    return {name: written[name] for name in MLFLOW_SIGN_IN if name in written}


def _environment(name: str | None) -> str | None:
    if name is not None and (name == BASE or not ENVIRONMENT_NAME.fullmatch(name)):
        raise SettingsError(
            f"UPDRAFT_ENVIRONMENT={name!r} is no name of an environment: write lower-case letters, digits, - and _, beginning with a letter, "
            f"such as staging; leave it away where project.yaml alone is to hold ({BASE} is no name)"
        )
    return name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise SettingsError(f"UPDRAFT_POLL_SECONDS={text!r} must be a number of seconds above 0")
    return seconds


def _token(text: str) -> str:
    if text and (len(text) < _SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text):
        raise SettingsError(
            f"{METRICS_TOKEN} must be {_SHORTEST_TOKEN} printable ASCII characters or more, without a blank; "
            "write one such as `openssl rand -hex 32` gives"
        )
    return text


def _written_by_the_stack(path: Path) -> dict[str, str]:
    try:
        with path.open() as file:
            if (owner := os.fstat(file.fileno()).st_uid) not in (os.geteuid(), 0):
                raise SettingsError(
                    f"{path} belongs to user {owner}, who says in it whose code is run and what is connected to; "
                    f"set UPDRAFT_HOME to a folder of your own, or remove the file if `make up` did not write it"
                )
            return {str(key): str(value) for key, value in json.load(file).items()}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON ({error}); `make up` writes it anew") from error
