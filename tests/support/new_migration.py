"""``make migration MESSAGE="…"``: write the migration that brings the store from its newest revision to ``tables.py``.

Alembic compares the tables with a throw-away PostgreSQL at the newest revision. What it cannot see (a function, a trigger,
rows that must change) is for a person to add; a migration of such things alone is made with ``--empty``.
"""

from __future__ import annotations

import argparse
import sys

import sqlalchemy as sa
from alembic import command
from tests.support.postgres import running_postgres

from updraft.store.migrations import configuration, differences, revisions


def main() -> int:
    """Write the file; 1 when there is nothing to write, 2 without words for it."""
    parser = argparse.ArgumentParser(prog="make migration", description=__doc__)
    parser.add_argument("message", help="what the change is for, in a few words")
    parser.add_argument("--empty", action="store_true", help="write a file to fill in where the tables are the same")
    chosen = parser.parse_args()
    if not chosen.message.strip():
        sys.stderr.write('say what the change is for: make migration MESSAGE="a release knows who approved it"\n')
        return 2
    with running_postgres() as server:
        url = server.new_database()
        upgrade_unchecked(url)
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            missing = differences(connection)
        engine.dispose()
        if not missing and not chosen.empty:
            sys.stderr.write(
                "the tables are what the migrations make; nothing to write (--empty writes a file to fill in)\n"
            )
            return 1
        config = configuration(url)
        config.attributes["making"] = True
        number = f"{int(revisions()[-1]) + 1:04d}"
        command.revision(config, chosen.message.strip(), autogenerate=not chosen.empty, rev_id=number)
    sys.stdout.write("look at it, then list it in tests/store/test_migrations.py (RELEASED) when it is merged\n")
    return 0


def upgrade_unchecked(url: str) -> None:
    """Bring an empty database to the newest revision, whether or not that is what the tables say by now."""
    config = configuration(url)
    config.attributes["making"] = True
    command.upgrade(config, "head")


if __name__ == "__main__":
    sys.exit(main())
