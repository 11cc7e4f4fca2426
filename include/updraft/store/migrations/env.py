"""Alembic's environment: run by alembic, not imported."""

import sqlalchemy as sa
from alembic import context

from updraft.store.tables import metadata

engine = sa.create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    if engine.dialect.name == "postgresql":  # two deployments' processes may start at once
        connection.execute(sa.select(sa.func.pg_advisory_lock(20130107)))
    context.configure(connection=connection, target_metadata=metadata, version_table="updraft_schema")
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()
