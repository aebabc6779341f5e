"""Events, endpoints, deliveries, attempts, and the revision that tells running hubs of changed endpoints."""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0001"
down_revision = None
branch_labels = ("outbox",)
depends_on = ("security_0001",)  # tenants

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows by itself only where the column's type is INTEGER."""

_NUMBERED = {"sqlite_autoincrement": True}
"""A number is never given twice, also when the newest row was removed: what follows from an event is idempotent by it."""


def upgrade() -> None:
    """Create the tables, and the one row of ``outbox_revision``."""
    op.create_table(
        "outbox_events",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("media", sa.String(64), nullable=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("dispatched", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("lease_owner", sa.String(32), nullable=False, server_default=""),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox_events"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_outbox_events_tenant", ondelete="CASCADE"),
        **_NUMBERED,
    )
    waiting = sa.text("dispatched = 0")
    op.create_index("ix_outbox_events_waiting", "outbox_events", ["id"], postgresql_where=waiting, sqlite_where=waiting)
    op.create_index("ix_outbox_events_order", "outbox_events", ["tenant", "key", "id"], postgresql_where=waiting, sqlite_where=waiting)
    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secrets", sa.Text, nullable=False),
        sa.Column("types", sa.Text, nullable=False),
        sa.Column("media", sa.Text, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("enabled", sa.SmallInteger, nullable=False),
        sa.Column("disabled_reason", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("failing_since_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.name"], name="fk_endpoints_tenant", ondelete="CASCADE"),
    )
    op.create_index("ix_endpoints_tenant", "endpoints", ["tenant", "created_ms"])
    op.create_table(
        "deliveries",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("event", _NUMBER, nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.String(32), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("replayed_after", sa.Integer, nullable=False, server_default="0"),
        sa.Column("next_ms", sa.BigInteger, nullable=False),
        sa.Column("lease_owner", sa.String(32), nullable=False, server_default=""),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("status", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
        sa.Column("finished_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("event", "endpoint", name="uq_deliveries_event_endpoint"),
        sa.ForeignKeyConstraint(["event"], ["outbox_events.id"], name="fk_deliveries_event", ondelete="CASCADE"),
        **_NUMBERED,
    )
    pending = sa.text("state = 'pending'")
    op.create_index("ix_deliveries_due", "deliveries", ["endpoint", "next_ms"], postgresql_where=pending, sqlite_where=pending)
    op.create_index("ix_deliveries_order", "deliveries", ["endpoint", "key", "id"], postgresql_where=pending, sqlite_where=pending)
    op.create_index("ix_deliveries_tenant", "deliveries", ["tenant", "id"])
    finished = sa.text("finished_ms IS NOT NULL")
    op.create_index("ix_deliveries_finished", "deliveries", ["finished_ms"], postgresql_where=finished, sqlite_where=finished)
    op.create_table(
        "attempts",
        sa.Column("delivery", _NUMBER, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("delivery", "number", name="pk_attempts"),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name="fk_attempts_delivery", ondelete="CASCADE"),
    )
    revision_table = op.create_table("outbox_revision", sa.Column("number", sa.BigInteger, nullable=False))
    op.bulk_insert(revision_table, [{"number": 1}])
