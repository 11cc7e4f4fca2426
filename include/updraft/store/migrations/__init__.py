"""The store's schema, by Alembic. `python -m updraft.store.migrations` brings the store of this deployment up to date."""

from __future__ import annotations

from pathlib import Path


def upgrade(url: str) -> None:
    """Bring the schema behind a SQLAlchemy URL to the newest revision; running it again changes nothing."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")
