"""Channels, messages, receipts that wait for their message, media."""

import sqlalchemy as sa
from alembic import op

revision = "messaging_0001"
down_revision = None
branch_labels = ("messaging",)
depends_on = ("security_0001", "outbox_0001")  # tenants, and the endpoints that channels own

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows by itself only where the column's type is INTEGER."""


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "messaging_channels",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("sender_id", sa.String(255)),
        sa.Column("sender_name", sa.String(255)),
        sa.Column("endpoint", sa.String(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("removed_ms", sa.BigInteger),
        sa.Column("last_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("last_n", sa.BigInteger, nullable=False, server_default="-1"),
        sa.PrimaryKeyConstraint("number", name="pk_messaging_channels"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_messaging_channels_tenant", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    there = sa.text("removed_ms IS NULL")
    op.create_index(
        "uq_messaging_channels_id", "messaging_channels", ["tenant", "id"], unique=True, postgresql_where=there, sqlite_where=there
    )
    op.create_table(
        "messaging_messages",
        sa.Column("channel", _NUMBER, nullable=False),
        sa.Column("ms", sa.BigInteger, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("own_id", sa.String(255)),
        sa.Column("receiver_id", sa.String(255)),
        sa.Column("conversation", sa.String(255), nullable=False),
        sa.Column("event", sa.BigInteger),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("recipients", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("channel", "ms", "n", name="pk_messaging_messages"),
        sa.ForeignKeyConstraint(["channel"], ["messaging_channels.number"], name="fk_messaging_messages_channel", ondelete="CASCADE"),
    )
    own, receiver, event = (sa.text(f"{column} IS NOT NULL") for column in ("own_id", "receiver_id", "event"))
    op.create_index(
        "uq_messaging_messages_own",
        "messaging_messages",
        ["channel", "direction", "own_id"],
        unique=True,
        postgresql_where=own,
        sqlite_where=own,
    )
    op.create_index(
        "ix_messaging_messages_receiver",
        "messaging_messages",
        ["channel", "receiver_id"],
        postgresql_where=receiver,
        sqlite_where=receiver,
    )
    op.create_index("ix_messaging_messages_event", "messaging_messages", ["event"], postgresql_where=event, sqlite_where=event)
    op.create_index("ix_messaging_messages_state", "messaging_messages", ["channel", "state", "ms", "n"])
    op.create_index("ix_messaging_messages_age", "messaging_messages", ["created_ms"])
    op.create_table(
        "messaging_receipts",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("channel", _NUMBER, nullable=False),
        sa.Column("message_id", sa.String(255), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("recipients", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messaging_receipts"),
        sa.ForeignKeyConstraint(["channel"], ["messaging_channels.number"], name="fk_messaging_receipts_channel", ondelete="CASCADE"),
    )
    op.create_index("ix_messaging_receipts_message", "messaging_receipts", ["channel", "message_id"])
    op.create_index("ix_messaging_receipts_age", "messaging_receipts", ["at_ms"])
    op.create_table(
        "messaging_media",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("channel", _NUMBER, nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("mimetype", sa.String(100), nullable=False),
        sa.Column("length", sa.BigInteger, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messaging_media"),
        sa.ForeignKeyConstraint(["channel"], ["messaging_channels.number"], name="fk_messaging_media_channel", ondelete="CASCADE"),
    )
    op.create_index("ix_messaging_media_channel", "messaging_media", ["channel"])
    op.create_index("ix_messaging_media_age", "messaging_media", ["created_ms"])
