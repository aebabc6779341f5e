"""What is known of endpoints that do not answer, or that asked to be left alone: a hub that starts goes on from there."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0002"
down_revision = "outbox_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add how often an endpoint was silent in a row (0 where it answers), and until when nothing is sent to it (ms since 1970)."""
    op.add_column("endpoints", sa.Column("silent", sa.Integer, nullable=False, server_default="0"))
    op.add_column("endpoints", sa.Column("closed_until_ms", sa.BigInteger, nullable=False, server_default="0"))
