"""A shadow goes on with a younger version: evidence knows what it was held against, a release what it continues"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("evidence", sa.Column("against", sa.String(length=32), nullable=True))
    op.add_column("releases", sa.Column("since", sa.String(length=32), nullable=True))
    op.add_column("releases", sa.Column("continues", sa.JSON(), server_default="[]", nullable=False))
    op.execute(  # as far as it is known: what served when the release was opened
        "UPDATE evidence SET against = (SELECT r.against FROM releases r WHERE r.id = evidence.release AND r.project = evidence.project)"
    )


def downgrade() -> None:
    for table, column in (("releases", "continues"), ("releases", "since"), ("evidence", "against")):
        op.drop_column(table, column)
