"""What a tick asks is indexed, and what follows from the chain is kept"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INDEXES = {
    "partitions_state": ("partitions", ["project", "state", "key"]),
    "predictions_version": ("predictions", ["project", "version", "key"]),
    "performance_role": ("performance", ["project", "role", "key"]),
    "releases_version": ("releases", ["project", "version"]),
    "episodes_opened": ("episodes", ["project", "opened_at"]),
    "trainings_version": ("trainings", ["project", "version"]),
    "decisions_kind": ("decisions", ["project", "kind", "seq"]),
    "alerts_newest": ("alerts", ["project", "id"]),
    "alerts_thread": ("alerts", ["project", "thread"]),
}


def upgrade() -> None:
    for name, (table, columns) in _INDEXES.items():
        op.create_index(name, table, columns, unique=False)
    unsent = sa.text("state IN ('stored', 'sending') OR state = 'sent' AND count > shown")
    op.create_index("alerts_unsent", "alerts", ["project", "id"], unique=False, postgresql_where=unsent)
    op.add_column("episodes", sa.Column("content", sa.String(length=64), nullable=True))
    op.add_column("episodes", sa.Column("readmitted", sa.Integer(), nullable=True))
    op.create_table(
        "partition_counts",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("partitions", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "state"),
    )
    op.create_table(
        "serving",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("champion", sa.String(length=32), nullable=False),
        sa.Column("previous", sa.String(length=32), nullable=True),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project"),
    )
    op.create_table(
        "layers",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("layer", sa.JSON(), nullable=True),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", "version"),
    )
    _fill(op.get_bind())


def _fill(connection: sa.Connection) -> None:
    """Fill what is kept from the rows and the chain that are there. Nothing is decided or ingested meanwhile: both tables are locked."""
    connection.execute(sa.text("LOCK TABLE decisions, partitions, episodes IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(
        sa.text(
            "INSERT INTO partition_counts SELECT project, state, count(*), sum(quarantined) FROM partitions GROUP BY project, state"
        )
    )
    connection.execute(
        sa.text(
            "INSERT INTO serving SELECT DISTINCT ON (project) project, body->>'version', body->>'previous', key, seq FROM decisions "
            "WHERE kind IN ('promote', 'roll_back') ORDER BY project, seq DESC"
        )
    )
    connection.execute(
        sa.text(
            "INSERT INTO layers SELECT DISTINCT ON (project, body->>'version') project, body->>'version', body->'layer', key, seq "
            "FROM decisions WHERE kind = 'recalibrate' ORDER BY project, body->>'version', seq DESC"
        )
    )
    connection.execute(sa.text("UPDATE episodes SET content = diagnosis->>'content' WHERE remedy = 'quarantine'"))
    connection.execute(
        sa.text(
            "UPDATE episodes SET readmitted = d.seq FROM decisions d WHERE episodes.remedy = 'quarantine' "
            "AND d.project = episodes.project AND d.kind = 'readmit' AND d.subject = episodes.opened_at || '@' || episodes.content"
        )
    )


def downgrade() -> None:
    for table in ("layers", "serving", "partition_counts"):
        op.drop_table(table)
    op.drop_column("episodes", "readmitted")
    op.drop_column("episodes", "content")
    op.drop_index("alerts_unsent", table_name="alerts")
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table_name=table)
