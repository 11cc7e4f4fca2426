"""An incident has an end: alerts know what they belong to, when it was mended, and their entry of the runbook"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPEN = sa.text("incident IS NOT NULL AND resolved_at IS NULL")


def upgrade() -> None:
    op.add_column("alerts", sa.Column("entry", sa.String(length=63), server_default="", nullable=False))
    op.add_column("alerts", sa.Column("incident", sa.String(length=160), nullable=True))
    op.add_column("alerts", sa.Column("part", sa.String(length=160), nullable=True))
    op.add_column("alerts", sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "alerts_open", "alerts", ["project", "incident"], unique=False, postgresql_where=_OPEN, sqlite_where=_OPEN
    )


def downgrade() -> None:
    op.drop_index("alerts_open", table_name="alerts")
    for column in ("resolved_at", "part", "incident", "entry"):
        op.drop_column("alerts", column)
