"""What is wrong on this machine or with the running stack, and what to do about it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from updraft.alerts import known
from updraft.errors import SettingsError, StackError
from updraft.registry.signing import PUBLIC
from updraft.settings import ENV_FILE, Settings
from updraft.stack import airflow_settings, home, ports, postgres
from updraft.stack.access import ADMIN, sign_in
from updraft.stack.control import FREE_DISK, Status, status
from updraft.stack.findings import Finding, Level, libraries
from updraft.stack.layout import API_SERVER, POSTGRES, Layout
from updraft.stack.secrets import load_or_make

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
MEMORY = 4 * 1024**3
"""Bytes: the stack takes about 2 GiB, a training of the reference project another."""


def diagnose(settings: Settings) -> list[Finding]:
    """Look at the machine, the files and the running stack. Changes nothing."""
    layout = Layout.of(settings)
    findings = [python_version(sys.version_info[:2])]
    folder = next(folder for folder in (layout.home, *layout.home.parents) if folder.exists())
    findings += libraries()
    findings.append(disk(shutil.disk_usage(folder).free, folder))
    findings.append(memory(psutil.virtual_memory().total))
    findings.append(user(os.geteuid()))
    findings.append(settings_file(layout.root / "airflow_settings.yaml"))
    findings += private_files(layout)
    findings += closed_home(layout)
    rows = status(settings)
    findings += programs(rows)
    if not any(row.pid for row in rows):
        findings += taken_ports(layout)
    healthy = {row.program for row in rows if row.healthy}
    if API_SERVER in healthy:
        findings += dag_errors(settings, layout)
    if POSTGRES in healthy:
        findings += shared_passwords(layout)
        findings.append(unsent_alerts(settings))
    return findings


def python_version(version: tuple[int, ...]) -> Finding:
    """Whether Airflow and the rest run on this Python."""
    shown = ".".join(map(str, version[:2]))
    if OLDEST_PYTHON <= version[:2] <= NEWEST_PYTHON:
        return Finding(level=Level.OK, what="python", message=f"Python {shown}")
    todo = "build the environment with Python 3.11 to 3.13: `make clean up PYTHON=python3.11`"
    return Finding(level=Level.ERROR, what="python", message=f"Python {shown} is not supported", todo=todo)


def disk(free: int, folder: Path) -> Finding:
    """Whether there is room for databases and data. ``free`` in bytes."""
    message = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free >= FREE_DISK:
        return Finding(level=Level.OK, what="disk", message=message)
    todo = f"free some ({FREE_DISK / 1024**3:.0f} GiB are needed), or set UPDRAFT_HOME to a folder on another disk"
    return Finding(level=Level.ERROR, what="disk", message=message, todo=todo)


def memory(total: int) -> Finding:
    """Whether stack and training fit. ``total`` in bytes."""
    message = f"{total / 1024**3:.1f} GiB of memory"
    if total >= MEMORY:
        return Finding(level=Level.OK, what="memory", message=message)
    return Finding(
        level=Level.WARNING, what="memory", message=message, todo="4 GiB are needed to train beside the stack"
    )


def user(uid: int) -> Finding:
    """Whether the stack runs as root."""
    if uid != 0:
        return Finding(level=Level.OK, what="user", message=f"an ordinary user ({uid})")
    return Finding(
        level=Level.WARNING,
        what="user",
        message="running as root; PostgreSQL runs as `nobody`, tasks run as root",
        todo="start the stack as an ordinary user where others use this machine",
    )


def settings_file(path: Path) -> Finding:
    """Whether ``airflow_settings.yaml`` can be loaded."""
    if not path.exists():
        return Finding(level=Level.OK, what="airflow settings", message=f"no {path.name}")
    try:
        airflow_settings.load(path)
    except SettingsError as error:
        return Finding(level=Level.ERROR, what="airflow settings", message=str(error), todo=f"correct {path}")
    return Finding(level=Level.OK, what="airflow settings", message=f"{path.name} is in order")


def private_files(layout: Layout) -> Iterator[Finding]:
    """Whether files with secrets are closed to others. The public half of the signing key is for others to have."""
    keys = layout.secrets.parent
    paths = [
        layout.home / ENV_FILE,
        layout.home / "env.sh",
        layout.plan,
        layout.mlflow_sign_in,
        layout.supervisor_config,
    ]
    paths += [layout.airflow_passwords, keys]
    paths += [path for path in sorted(keys.glob("*")) if path.name != PUBLIC] if keys.is_dir() else []
    bad = [path for path in paths if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    for path in bad:
        mode = "700" if path.is_dir() else "600"
        message = f"{path} is open to others (mode {path.stat().st_mode & 0o777:o})"
        yield Finding(level=Level.ERROR, what="secrets", message=message, todo=f"chmod {mode} '{path}'")
    if not bad:
        yield Finding(level=Level.OK, what="secrets", message="closed to others")


def closed_home(layout: Layout) -> Iterator[Finding]:
    """Whether other users of the machine can reach what the deployment keeps, or put something else in its place."""
    doors = list(home.open_doors(layout.home, passable=bool(postgres.servants(layout))))
    for words in doors:
        todo = "`make up` closes home; what stands above it is for you to move, with UPDRAFT_HOME, or to close"
        yield Finding(level=Level.WARNING, what="home", message=words, todo=todo)
    if not doors:
        yield Finding(level=Level.OK, what="home", message=f"{layout.home} is closed to others")


def shared_passwords(layout: Layout) -> Iterator[Finding]:
    """Whether the one database password of older versions still opens everything."""
    secrets, taken = load_or_make(layout.secrets), ports.remembered(layout.ports)
    if secrets.database and postgres.shared_password_works(taken["postgres"], secrets):
        yield Finding(
            level=Level.ERROR,
            what="passwords",
            message="one password, which every task knows, opens all of PostgreSQL",
            todo="`make up` gives each role its own",
        )


def programs(rows: list[Status]) -> Iterator[Finding]:
    """Whether every program runs and is healthy."""
    if not any(row.pid for row in rows):
        yield Finding(level=Level.WARNING, what="stack", message="not running", todo="make up")
        return
    for row in rows:
        if row.healthy:
            yield Finding(level=Level.OK, what=row.program, message=f"healthy {row.address}".strip())
        else:
            detail = row.detail or row.state
            yield Finding(level=Level.ERROR, what=row.program, message=detail, todo=f'make logs ARGS="{row.program}"')


def taken_ports(layout: Layout) -> Iterator[Finding]:
    """Whether the ports of the last start are still free; others are chosen when not."""
    for name, port in (ports.remembered(layout.ports) or dict(ports.PREFERRED)).items():
        if not ports.is_free(port):
            message = f"port {port} is taken: {name} will come up on another, and old links will not work"
            yield Finding(level=Level.WARNING, what="ports", message=message, todo=f"ss -ltnp 'sport = :{port}'")


def dag_errors(settings: Settings, layout: Layout) -> list[Finding]:
    """Import errors of DAG files, as Airflow knows them."""
    try:
        api = sign_in(layout, settings.airflow, ADMIN)
        errors = api.call("GET", "/importErrors?limit=100")["import_errors"]
    except StackError as error:
        return [Finding(level=Level.ERROR, what="airflow", message=str(error), todo='make logs ARGS="api-server"')]
    if not errors:
        return [Finding(level=Level.OK, what="DAGs", message="no import errors")]
    return [
        Finding(
            level=Level.ERROR,
            what="DAGs",
            message=f"{error['filename']}: {str(error['stack_trace']).strip().splitlines()[-1]}",
            todo=f"python {error['filename']}",
        )
        for error in errors
    ]


def unsent_alerts(settings: Settings) -> Finding:
    """Alerts that Slack will never take, or that still wait."""
    import sqlalchemy as sa

    from updraft.store.tables import alerts
    from updraft.store.trouble import trouble

    try:
        engine = sa.create_engine(settings.need_store())
    except SettingsError as error:
        return Finding(level=Level.ERROR, what="store", message=str(error))
    try:
        with engine.connect() as connection:
            query = sa.select(alerts.c.state, sa.func.count()).group_by(alerts.c.state)
            counts = {str(state): int(count) for state, count in connection.execute(query)}
    except sa.exc.DBAPIError as error:
        return Finding(level=Level.ERROR, what="store", message=trouble(error))
    finally:
        engine.dispose()
    failed, waiting = counts.get("failed", 0), counts.get("stored", 0) + counts.get("unsent", 0)
    slack = known.read(settings.home) if waiting else None
    if failed:
        todo = "`updraft status` shows them; check the Slack connection and the channel's name"
        message = f"{failed} alert(s) were refused by Slack, {waiting} wait"
        return Finding(level=Level.WARNING, what="alerts", message=message, todo=todo)
    return Finding(
        level=Level.OK,
        what="alerts",
        message=f"none refused, {waiting} wait to be sent or shown" + (f"; {slack.words}" if slack else ""),
    )
