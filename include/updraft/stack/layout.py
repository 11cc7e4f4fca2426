"""Where the embedded stack keeps things, and what it is made of."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from updraft.errors import StackError
from updraft.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: the folder that holds dags/, plugins/ and include/."""

POSTGRES, MLFLOW, API_SERVER = "postgres", "mlflow", "api-server"
SCHEDULER, TRIGGERER, DAG_PROCESSOR = "scheduler", "triggerer", "dag-processor"
PROGRAMS = (POSTGRES, MLFLOW, API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)
"""Every program of the stack, in the order in which it is started."""

LOOPBACK = "127.0.0.1"
_LONGEST_SOCKET_PATH = 100
"""Bytes; sun_path holds 108 on Linux and 104 on macOS, its closing zero included."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The folders and files of one embedded stack, all below ``home`` unless a system limit forbids it."""

    home: Path
    root: Path
    dags: Path

    @classmethod
    def of(cls, settings: Settings, *, dags: Path | None = None) -> Layout:
        """The layout of one deployment; ``dags`` replaces the checkout's folder of DAGs."""
        return cls(home=settings.home, root=ROOT, dags=(dags or ROOT / "dags").absolute())

    @property
    def id(self) -> str:
        """Ten hex digits that tell this stack from the others on the machine: a hash of its home."""
        return hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:10]

    @property
    def stack(self) -> Path:
        """Plan, ports and process files."""
        return self.home / "stack"

    @property
    def plan(self) -> Path:
        """What each program runs with. Holds secrets: mode 0600."""
        return self.stack / "plan.json"

    @property
    def ports(self) -> Path:
        """The ports taken at the last start."""
        return self.stack / "ports.json"

    @property
    def migrated(self) -> Path:
        """The versions that the databases of Airflow and MLflow were brought to."""
        return self.stack / "migrated.json"

    @property
    def backups(self) -> Path:
        """Dumps from before a migration, and backups that were given no other place."""
        return self.home / "backups"

    @property
    def restoring(self) -> Path:
        """There while a backup is being restored, and after a restore that was interrupted."""
        return self.home / "restoring.json"

    @property
    def secrets(self) -> Path:
        """Generated passwords and keys: mode 0600."""
        return self.home / "keys" / "stack.json"

    @property
    def mlflow_sign_in(self) -> Path:
        """What MLflow's sign-in is configured with. Holds secrets: mode 0600."""
        return self.stack / "mlflow_auth.ini"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration."""
        return self.stack / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """supervisord's process id."""
        return self.stack / "supervisord.pid"

    @property
    def lock(self) -> Path:
        """Held while the stack is started or stopped."""
        return self.stack / "lock"

    @property
    def logs(self) -> Path:
        """One log per program."""
        return self.home / "logs"

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder: task logs, passwords."""
        return self.home / "airflow"

    @property
    def airflow_passwords(self) -> Path:
        """JSON of user name to password, in the form that Airflow's SimpleAuthManager reads: mode 0600."""
        return self.airflow_home / "passwords.json"

    @property
    def supervisor_socket(self) -> Path:
        """supervisord's control socket: below home, or in a private temporary folder when that path is too long."""
        path = self.stack / "supervisor.sock"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH else private_tmp() / f"{self.id}.sock"

    def make_folders(self) -> None:
        """Create the folders, for the owner alone."""
        for folder in (self.home, self.logs, self.airflow_home, self.airflow_home / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.stack, self.secrets.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)


def private_tmp() -> Path:
    """A short folder for sockets and port locks, shared by all stacks of this user and closed to others.

    :raises StackError: when the folder belongs to someone else.
    """
    folder = Path(tempfile.gettempdir()) / f"updraft-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    owner = folder.lstat()
    if not stat.S_ISDIR(owner.st_mode) or owner.st_uid != os.getuid():
        raise StackError(f"{folder} belongs to user {owner.st_uid}; remove it, or set TMPDIR to a folder of your own")
    folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
