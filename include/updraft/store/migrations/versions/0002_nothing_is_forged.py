"""What a run was to do and what came of it belong to the store; decisions cannot be changed"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_REFUSE = """
CREATE FUNCTION updraft_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'decisions are never changed or removed: % on % is refused', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def upgrade() -> None:
    op.add_column("partitions", sa.Column("labels_sha256", sa.String(length=64), nullable=True))
    op.add_column("alerts", sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
    op.add_column("decisions", sa.Column("form", sa.SmallInteger(), server_default="1", nullable=False))
    # An earlier Updraft that still runs must not write links of the old form behind those of the new one: it fails instead.
    op.alter_column("decisions", "form", server_default=None)
    op.create_table(
        "run_records",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("run", sa.String(length=280), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column(
            "written_at", sa.DateTime(timezone=True), server_default=sa.text("(CURRENT_TIMESTAMP)"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "run", "kind"),
    )
    op.create_table(
        "feature_code",
        sa.Column("project", sa.String(length=63), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("source", sa.LargeBinary(), nullable=False),
        sa.Column(
            "written_at", sa.DateTime(timezone=True), server_default=sa.text("(CURRENT_TIMESTAMP)"), nullable=False
        ),
        sa.PrimaryKeyConstraint("project", "sha256"),
    )
    op.execute(_REFUSE)
    op.execute(
        "CREATE TRIGGER decisions_stay BEFORE UPDATE OR DELETE ON decisions "
        "FOR EACH ROW EXECUTE FUNCTION updraft_refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER decisions_stay_whole BEFORE TRUNCATE ON decisions "
        "FOR EACH STATEMENT EXECUTE FUNCTION updraft_refuse_change()"
    )


def downgrade() -> None:
    """:raises RuntimeError: always: an earlier Updraft would take the newer links of the chain for broken ones."""
    raise RuntimeError("revision 0002 has no way back: restore the dump from before it")
