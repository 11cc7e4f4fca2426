"""Why the database behind the store did not answer a question, in one line with what to do."""

from __future__ import annotations

import sqlalchemy as sa

_OTHER_TABLES = ("42P01", "42703")
"""PostgreSQL's codes of a table and of a column that are not there."""


def trouble(error: sa.exc.DBAPIError) -> str:
    """What is wrong with the store, and what to do about it."""
    why = str(error.orig).partition("\n")[0]
    if getattr(error.orig, "pgcode", None) in _OTHER_TABLES:
        return (
            f"The store does not have the tables of this version ({why}). Make them: make up, or, for a store elsewhere, "
            "python -m updraft.store.migrations."
        )
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return f"The store does not answer ({why}). Start it (make up), or correct UPDRAFT_STORE."
    return f"The store refuses what was asked of it ({why}). See that UPDRAFT_STORE names the store of this deployment, and its owner."
