"""Dumps of the stack's databases, by PostgreSQL's own programs from its wheel."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from updraft.errors import StackError
from updraft.stack import postgres
from updraft.stack.home import CLOSED, UMASK

KEPT = 5
"""Dumps of each database that stay in the folder of backups, the newest ones."""

_ENDING = ".dump"


def dump(url: str, target: Path, *, snapshot: str = "") -> None:
    """Write a whole database into one file (mode 0600) in PostgreSQL's own format, as it was at one moment.

    :param url: SQLAlchemy URL of the database, as its owner.
    :param snapshot: the moment, as ``pg_export_snapshot()`` named it; now, when empty.
    :raises StackError: when ``pg_dump`` fails, with what it said; there is no file then.
    """
    target.parent.mkdir(mode=CLOSED, parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    moment = [f"--snapshot={snapshot}"] if snapshot else []
    try:
        _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={aside}", *moment)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def load(url: str, source: Path) -> None:
    """Put a dump into an empty database, whole or not at all.

    :param url: SQLAlchemy URL of the database, as its owner.
    :raises StackError: when ``pg_restore`` fails, with what it said.
    """
    _run(url, "pg_restore", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", str(source))


def has_tables(url: str) -> bool:
    """Whether a database holds anything yet."""
    engine = sa.create_engine(url)
    try:
        return bool(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def dump_before(change: str, url: str, folder: Path, say: Callable[[str], None]) -> Path:
    """Dump a database before its tables are changed, into ``<folder>/<change>-<time>.dump``.

    Of the dumps of one database (the word before the first ``-`` of ``change``) the newest :data:`KEPT` stay.

    :param change: which database, and from what, such as ``store-0002``.
    :raises StackError: when it cannot be dumped: then nothing is to be changed.
    """
    target = folder / f"{change}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}{_ENDING}"
    try:
        dump(url, target)
    except (StackError, OSError) as error:
        raise StackError(
            f"{change.partition('-')[0]} is to be brought to this version, but it cannot be dumped into {folder} before, so it "
            f"stays as it is: {error}"
        ) from error
    say(f"dumped {change.partition('-')[0]} into {target} before it is brought to this version")
    dumps = sorted(folder.glob(f"{change.partition('-')[0]}-*{_ENDING}"), key=lambda path: path.stat().st_mtime_ns)
    for old in dumps[:-KEPT]:
        old.unlink()
    return target


def _run(url: str, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on a database. The password goes through its environment, which others cannot read."""
    address = sa.make_url(url)
    shown = sa.URL.create(
        "postgresql", address.username, None, address.host, address.port, address.database, address.query
    ).render_as_string()
    env = {**postgres.kept_of(os.environ), "PGPASSWORD": str(address.password or "")}
    command = [str(postgres.wheel_folder() / "pginstall" / "bin" / program), f"--dbname={shown}", *arguments]
    done = subprocess.run(command, env=env, umask=UMASK, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise StackError(f"{program} failed (exit status {done.returncode}): {done.stderr.strip()[-2000:]}")
