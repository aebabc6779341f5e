"""Interactions, and how far the event log has been followed."""

import sqlalchemy as sa
from alembic import op

revision = "interactions_0001"
down_revision = None
branch_labels = ("interactions",)
depends_on = ("security_0001",)  # tenants


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "interactions",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(255), nullable=False),
        sa.Column("service", sa.String(64), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("media", sa.String(64), nullable=False),
        sa.Column("subtype", sa.String(64), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("parent_id", sa.String(255)),
        sa.Column("received_at", sa.String(64)),
        sa.Column("user_data", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("stopped_ms", sa.BigInteger),
        sa.Column("reason_name", sa.String(255), nullable=False, server_default=""),
        sa.Column("reason_text", sa.Text, nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_interactions"),
        sa.UniqueConstraint("tenant", "service", "external_id", name="uq_interactions_external"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_interactions_tenant", ondelete="CASCADE"),
    )
    op.create_index("ix_interactions_created", "interactions", ["tenant", "created_ms", "id"])
    live, over = sa.text("stopped_ms IS NULL"), sa.text("stopped_ms IS NOT NULL")
    op.create_index("ix_interactions_live", "interactions", ["tenant"], postgresql_where=live, sqlite_where=live)
    op.create_index("ix_interactions_stopped", "interactions", ["stopped_ms"], postgresql_where=over, sqlite_where=over)
    op.create_table(
        "interaction_positions",
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", name="pk_interaction_positions"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_interaction_positions_tenant", ondelete="CASCADE"),
    )
