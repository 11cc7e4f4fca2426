"""The store's schema, by Alembic: one file below ``versions/`` for each change of a table, never edited once it is released.

``make up`` brings the store of the embedded stack up to date, after a dump. ``python -m updraft.store.migrations`` does so
for a store elsewhere, without one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from updraft.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "updraft_schema"
"""Holds the revision of the store that it stands in."""

_EXTRA = ("remove_index", "remove_table", "remove_constraint")
"""What a store may have more than we make, such as an index that somebody added for queries of their own."""


def configuration(url: str) -> Config:
    """Alembic's configuration of these migrations, for a store behind a SQLAlchemy URL."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    return config


def revisions() -> list[str]:
    """Every revision, the oldest first."""
    from alembic.script import ScriptDirectory

    walk = ScriptDirectory.from_config(configuration("")).walk_revisions()
    return [script.revision for script in walk][::-1]


def revision_of(url: str) -> str | None:
    """The revision of a store; None where no table of ours was ever made."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(VERSION_TABLE):
                return None
            query = sa.select(sa.column("version_num", sa.String)).select_from(sa.table(VERSION_TABLE))
            return connection.execute(query).scalar_one_or_none()
    finally:
        engine.dispose()


def pending(url: str) -> list[str]:
    """The revisions that a store lacks, in the order in which they come; every one for a store without tables.

    :raises StoreError: when a newer Updraft made the store.
    """
    known, current = revisions(), revision_of(url)
    if current is None:
        return known
    need_known(current)
    return known[known.index(current) + 1 :]


def need_known(revision: str) -> None:
    """Refuse a schema that this version has no migration of.

    :raises StoreError: when it is a newer one.
    """
    if revision not in (known := revisions()):
        raise StoreError(
            f"the store has schema {revision}, and this Updraft knows {known[0]} to {known[-1]}: a newer version made it. "
            "Install that version, or restore a backup from before it was upgraded"
        )


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the schema behind a SQLAlchemy URL to a revision, the newest by default; running it again changes nothing.

    Whole or not at all: it is one transaction, and a store whose tables are not what the migrations make stays as it was.

    :raises StoreError: when a newer Updraft made the store, or its tables are not those of the revision that it names.
    """
    from alembic import command

    if not pending(url):
        return
    command.upgrade(configuration(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the schema back to an older revision, where every migration on the way can be undone; else nothing is changed.

    :raises StoreError: when one of them cannot, with what to do instead.
    """
    from alembic import command

    if revision not in (known := revisions()):
        raise StoreError(f"there is no revision {revision!r} of the store; there are {', '.join(known)}")
    pending(url)  # refuses a newer store
    try:
        command.downgrade(configuration(url), revision)
    except RuntimeError as error:
        raise StoreError(f"the store keeps the schema it has: {error}") from error


def differences(connection: sa.Connection, *, extras: bool = True) -> list[str]:
    """What the tables of a store lack, or have otherwise, than :mod:`updraft.store.tables` says, one line each.

    :param extras: whether what a store has more counts too.
    """
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from updraft.store.tables import metadata

    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return [
        _described(operation)
        for entry in compare_metadata(context, metadata)
        for operation in (entry if isinstance(entry, list) else [entry])
        if extras or operation[0] not in _EXTRA
    ]


def _described(operation: tuple[Any, ...]) -> str:
    """One operation of Alembic's comparison in words: it names what would make the store like the tables."""
    kind, *subjects = operation
    names = [
        str(getattr(subject, "name", subject))
        for subject in subjects
        if isinstance(subject, str | sa.schema.SchemaItem)
    ]
    return f"{kind.replace('_', ' ')} {'.'.join(names)}"
