"""Alembic's environment: run by alembic, not imported."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy.types import TypeDecorator

from updraft.errors import StoreError
from updraft.store.migrations import VERSION_TABLE, differences, revisions
from updraft.store.tables import metadata


def _render_plain(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """How a new migration writes a column's type: as the database knows it, so that it stays right when our types change."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


engine = sa.create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    if engine.dialect.name == "postgresql":  # two deployments' processes may start at once
        connection.execute(sa.select(sa.func.pg_advisory_lock(20130107)))
    context.configure(
        connection=connection, target_metadata=metadata, version_table=VERSION_TABLE, render_item=_render_plain
    )
    with context.begin_transaction():
        context.run_migrations()
        reached = context.get_context().get_current_revision()
        if reached == revisions()[-1] and not context.config.attributes.get("making"):
            lacking = differences(connection, extras=False)
            if lacking:
                raise StoreError(
                    f"the store's tables are not those of the schema that it names, as one that was made while Updraft was "
                    f"being written: {'; '.join(lacking)}. It stays as it was; start with an empty store"
                )
    connection.commit()
engine.dispose()
