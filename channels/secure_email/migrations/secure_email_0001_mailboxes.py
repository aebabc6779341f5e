"""Mails and their attachments."""

import sqlalchemy as sa
from alembic import op

revision = "secure_email_0001"
down_revision = None
branch_labels = ("secure_email",)
depends_on = ("security_0001",)  # tenants

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows by itself only where the column's type is INTEGER."""


def upgrade() -> None:
    """Create the tables. Attachments lie in the database, so that every hub on it has them and a purge takes them along."""
    op.create_table(
        "secure_mails",
        sa.Column("number", _NUMBER, nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("address", sa.String(254), nullable=False),
        sa.Column("securebox", sa.String(16), nullable=False),
        sa.Column("status", sa.String(6), nullable=False),
        sa.Column("sender", sa.String(254)),
        sa.Column("sender_name", sa.Text),
        sa.Column("recipient", sa.String(254)),
        sa.Column("recipient_name", sa.Text),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body_text", sa.Text),
        sa.Column("body_html", sa.Text),
        sa.Column("user_data", sa.Text, nullable=False),
        sa.Column("in_reply_to", sa.String(36)),
        sa.Column("interaction_id", sa.String(36)),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("read_ms", sa.BigInteger),
        sa.Column("deleted_ms", sa.BigInteger),
        sa.Column("closed_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_secure_mails"),
        sa.UniqueConstraint("id", name="uq_secure_mails_id"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_secure_mails_tenant", ondelete="CASCADE"),
    )
    listed, deleted = sa.text("deleted_ms IS NULL"), sa.text("deleted_ms IS NOT NULL")
    op.create_index(
        "ix_secure_mails_box",
        "secure_mails",
        ["tenant", "address", "securebox", "number"],
        postgresql_where=listed,
        sqlite_where=listed,
    )
    op.create_index("ix_secure_mails_deleted", "secure_mails", ["deleted_ms"], postgresql_where=deleted, sqlite_where=deleted)
    op.create_table(
        "secure_mail_attachments",
        sa.Column("mail", _NUMBER, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.String(127), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("mail", "number", name="pk_secure_mail_attachments"),
        sa.ForeignKeyConstraint(["mail"], ["secure_mails.number"], name="fk_secure_mail_attachments_mail", ondelete="CASCADE"),
    )
