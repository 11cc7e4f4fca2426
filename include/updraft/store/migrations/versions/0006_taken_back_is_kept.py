"""Which versions a person took back is kept: no look at a release folds every rollback"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "taken_back",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project", "version"),
    )
    connection = op.get_bind()
    connection.execute(sa.text("LOCK TABLE decisions IN SHARE ROW EXCLUSIVE MODE"))  # nothing is decided meanwhile
    connection.execute(
        sa.text(
            "INSERT INTO taken_back SELECT t.project, t.body->>'previous', max(t.seq) FROM decisions t "
            "WHERE t.kind = 'roll_back' AND t.body->>'by' <> '' AND NOT EXISTS (SELECT 1 FROM decisions d "
            "WHERE d.project = t.project AND d.kind IN ('roll_back', 'reinstate') AND d.seq > t.seq "
            "AND d.body->>'version' = t.body->>'previous') GROUP BY t.project, t.body->>'previous'"
        )
    )


def downgrade() -> None:
    op.drop_table("taken_back")
