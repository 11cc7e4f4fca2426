"""Optuna's tables in the store: brought to the version of Optuna that is installed, by Optuna's own migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from updraft.errors import StoreError
from updraft.search.sampling import quiet
from updraft.search.study import SCHEMA

if TYPE_CHECKING:
    from optuna.storages import RDBStorage


def search_schema_behind(store: str) -> str | None:
    """The revision of Optuna's tables in a store when it is older than the installed Optuna's; None when it is not, or there are none.

    :param store: SQLAlchemy URL.
    :raises StoreError: when a newer Optuna made them.
    """
    if not _made(store):
        return None
    storage = _storage(store)
    try:
        current = storage.get_current_version()
        if current not in storage.get_all_versions():
            raise StoreError(
                f"the tables of searches (schema {SCHEMA!r} of the store) are of a newer Optuna ({current}) than the one "
                f"installed ({storage.get_head_version()}); install that version, or restore a backup"
            )
        return current if current != storage.get_head_version() else None
    finally:
        _close(storage)


def upgrade_search_schema(store: str) -> None:
    """Bring Optuna's tables to the installed version, with their rows; a store without them gets none.

    :param store: SQLAlchemy URL.
    """
    if search_schema_behind(store) is None:
        return
    storage = _storage(store)
    try:
        storage.upgrade()
    finally:
        _close(storage)


def _made(store: str) -> bool:
    engine = sa.create_engine(store)
    try:
        return sa.inspect(engine).has_table("alembic_version", schema=SCHEMA)
    finally:
        engine.dispose()


def _storage(store: str) -> RDBStorage:
    """Optuna's storage, whatever revision its tables are of.

    Its migrations connect by the URL alone, so the schema has to stand there.
    """
    import optuna

    quiet()
    url = sa.make_url(store).update_query_dict({"options": f"-csearch_path={SCHEMA}"})
    return optuna.storages.RDBStorage(
        url.render_as_string(hide_password=False), skip_compatibility_check=True, skip_table_creation=True
    )


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()
