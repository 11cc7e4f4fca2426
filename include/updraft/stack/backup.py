"""A backup of one deployment: everything that cannot be made again, in one folder, as it was at one moment.

The stack runs meanwhile. The moment is chosen while no decision is being taken: the table of decisions is locked against
writing for as long as it takes to note the snapshots of the databases and to copy the anchors, so that the chain, its
anchors and the head that MLflow was told fit each other. What is copied after that (artefacts, the lake) is only added to.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import sqlalchemy as sa

from updraft import files
from updraft.errors import InputError, StackError
from updraft.lake.places import anchors_of
from updraft.settings import Settings
from updraft.stack import control, dumps, lake_copy
from updraft.stack.layout import POSTGRES, Layout
from updraft.stack.manifest import (
    ANCHORS,
    ARTIFACTS,
    DATABASES,
    KEYS,
    LAKE,
    LAKE_LIST,
    MIGRATED,
    Head,
    Manifest,
    close_to_others,
    entry_of,
    walk,
    write_lines,
)
from updraft.store.migrations import VERSION_TABLE
from updraft.store.tables import decisions

_UNFINISHED = ".unfinished"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that was made."""

    folder: Path
    manifest: Manifest


def back_up(
    settings: Settings, target: Path | None, *, with_lake: bool = False, say: Say = lambda text: None
) -> Backup:
    """Write a backup of the embedded stack, which has to run; killed half way, it leaves no folder of that name.

    :param target: a folder that is not there yet; ``<home>/backups/<time>`` when None.
    :param with_lake: whether the lake's files are copied too; they are listed with their hashes either way.
    :raises InputError: when the target is there, or lies in what is backed up.
    :raises StackError: when the stack does not run, or a database cannot be dumped.
    """
    layout = Layout.of(settings)
    if not layout.secrets.exists():
        raise StackError(
            f"{layout.home} is not the home of an embedded stack: what runs elsewhere is backed up by its own means "
            "(docs/backup.md names what belongs together)"
        )
    made_at = datetime.now(UTC)
    folder = (target or layout.backups / f"{made_at:%Y%m%dT%H%M%SZ}").absolute()
    _need_place(folder, layout, settings)
    _need_running(settings, layout)
    aside = folder.with_name(f"{folder.name}{_UNFINISHED}")
    shutil.rmtree(aside, ignore_errors=True)  # of one that was killed
    try:
        aside.mkdir(mode=0o700, parents=True)
        manifest = _fill(aside, settings, layout, made_at, with_lake, say)
        close_to_others(aside)
        manifest.write(aside)
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise StackError(f"{folder}: the backup could not be written ({error}); nothing is left of it") from error
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return Backup(folder=folder, manifest=manifest)


def _need_running(settings: Settings, layout: Layout) -> None:
    if layout.restoring.exists():
        raise StackError(f"{layout.home}: a restore was interrupted here; run `updraft restore` again first")
    rows = {row.program: row for row in control.status(settings)}
    if not rows[POSTGRES].healthy:
        raise StackError(f"PostgreSQL {rows[POSTGRES].detail}; a backup is taken of a stack that is up: make up")


def _need_place(folder: Path, layout: Layout, settings: Settings) -> None:
    if folder.exists():
        raise InputError(f"{folder} is there already; name a folder that is not")
    inside = [layout.secrets.parent, layout.home / "mlflow"]
    inside += [
        Path(url.removeprefix("file://"))
        for url in (settings.lake, settings.raw, settings.audit)
        if url.startswith("file://")
    ]
    for kept in inside:
        if folder.resolve().is_relative_to(kept.resolve()):
            raise InputError(f"{folder} lies in {kept}, which is backed up itself; name a folder elsewhere")


def _fill(folder: Path, settings: Settings, layout: Layout, made_at: datetime, with_lake: bool, say: Say) -> Manifest:
    """Write everything but the manifest, and give that."""
    urls = control.databases(layout)
    anchors = settings.audit or settings.lake
    with ExitStack() as moment:
        if not files.is_local(anchors):  # an object for each line: all but the newest are fetched before anybody waits
            with _at_one_moment(urls["updraft"]) as before:
                copy_anchors(anchors, _heads(before), folder / ANCHORS)
        with _no_decision_taken(urls["updraft"]):
            sessions = {name: moment.enter_context(_at_one_moment(urls[name])) for name in _IN_ORDER}
            snapshots = {name: _export(session) for name, session in sessions.items()}
            chains = _heads(sessions["updraft"])
            copy_anchors(anchors, chains, folder / ANCHORS)
        schema, server = _schema(sessions["updraft"]), _server(sessions["updraft"])
        for name, snapshot in snapshots.items():
            dumps.dump(urls[name], folder / DATABASES / f"{name}.dump", snapshot=snapshot)
            say(f"dumped the database {name}")
    _copy_tree(layout.secrets.parent, folder / KEYS)
    _copy_tree(layout.home / "mlflow", folder / ARTIFACTS)
    if layout.migrated.exists():
        shutil.copyfile(layout.migrated, folder / MIGRATED)
    say("copied keys, anchors and MLflow's artefacts")
    logs = (
        () if settings.audit else tuple(f"{anchors_of(project)}/" for project in chains)
    )  # copied already, as they were
    listed = lake_copy.list_below(
        settings.lake, copy_to=folder / LAKE if with_lake else None, without=lambda name: name.startswith(logs)
    )
    write_lines(folder / LAKE_LIST, listed)
    say(f"{'copied' if with_lake else 'listed'} {len(listed)} file(s) of the lake")
    return Manifest(
        updraft=version("updraft"),
        made_at=made_at.isoformat(timespec="seconds"),
        home=str(layout.home),
        lake=settings.lake,
        raw=settings.raw,
        audit=settings.audit,
        environment=settings.environment or "",
        schema=schema,
        postgres=server,
        chains=chains,
        lake_copied=with_lake,
        files={path.relative_to(folder).as_posix(): entry_of(path) for path in walk(folder)},
    )


def copy_anchors(base: str, projects: Iterable[str], folder: Path) -> None:
    """Copy the logs of projects from below a URL. On a disk a log grows; in a bucket its objects never change, and one is fetched once."""
    for project in projects:
        target = folder / project
        known = frozenset() if files.is_local(base) else frozenset(path.name for path in target.glob("*"))
        lake_copy.list_below(f"{base}/{anchors_of(project)}", copy_to=target, without=known.__contains__)


_IN_ORDER = ("updraft", "mlflow", "airflow")
"""Databases in the order of their snapshots: what the store names is in MLflow by then."""


@contextmanager
def _no_decision_taken(url: str) -> Iterator[None]:
    """Let nobody write a decision for a moment: those under way end first, and have their anchors."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"LOCK TABLE {decisions.name} IN SHARE MODE"))
        yield


@contextmanager
def _at_one_moment(url: str) -> Iterator[sa.Connection]:
    """A connection that sees a database as it is now, for as long as it is open."""
    engine = sa.create_engine(url, isolation_level="REPEATABLE READ", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def _export(connection: sa.Connection) -> str:
    """The name by which others see what this connection sees."""
    return str(connection.execute(sa.select(sa.func.pg_export_snapshot())).scalar_one())


def _heads(connection: sa.Connection) -> dict[str, Head]:
    newest = sa.select(decisions.c.project, sa.func.max(decisions.c.seq).label("seq")).group_by(decisions.c.project)
    at = newest.subquery()
    query = sa.select(decisions.c.project, decisions.c.seq, decisions.c.sha256).join(
        at, (decisions.c.project == at.c.project) & (decisions.c.seq == at.c.seq)
    )
    return {row.project: Head(int(row.seq), str(row.sha256)) for row in connection.execute(query)}


def _schema(connection: sa.Connection) -> str:
    query = sa.select(sa.column("version_num", sa.String)).select_from(sa.table(VERSION_TABLE))
    return connection.execute(query).scalar_one()


def _server(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text("SHOW server_version_num")).scalar_one()) // 10000


def _copy_tree(source: Path, target: Path) -> None:
    """Copy every file of a folder; what is being written aside (its name begins with a dot) is none yet."""
    for path in walk(source):
        if path.name.startswith("."):
            continue
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
