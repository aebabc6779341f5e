"""Events, endpoints, deliveries, attempts, and the revision by which running hubs notice changed endpoints."""

from hub.storage.schema import Schema

revision = "outbox_0001"
after = ("security_0001",)


def upgrade(schema: Schema) -> None:
    """Create the tables, and the one row of ``outbox_revision``. The id of an event or a delivery is never used again, also if the newest
    row was removed, since consumers are idempotent by the id.
    """
    schema.run(
        """
        CREATE TABLE outbox_events (
            id {counter} NOT NULL CONSTRAINT pk_outbox_events PRIMARY KEY{never_again},
            tenant VARCHAR(64) NOT NULL,
            type VARCHAR(64) NOT NULL,
            key VARCHAR(255) NOT NULL,
            media VARCHAR(64) NOT NULL,
            operation_id VARCHAR(64) NOT NULL,
            trace_id VARCHAR(64) NOT NULL,
            endpoint VARCHAR(32) NOT NULL,
            body {bytes} NOT NULL,
            at_ms BIGINT NOT NULL,
            origin VARCHAR(32) NOT NULL,
            dispatched SMALLINT DEFAULT '0' NOT NULL,
            lease_owner VARCHAR(32) DEFAULT '' NOT NULL,
            lease_until_ms BIGINT DEFAULT '0' NOT NULL,
            CONSTRAINT fk_outbox_events_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_outbox_events_waiting ON outbox_events (id) WHERE dispatched = 0",
        "CREATE INDEX ix_outbox_events_order ON outbox_events (tenant, key, id) WHERE dispatched = 0",
        """
        CREATE TABLE endpoints (
            id VARCHAR(32) NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            url TEXT NOT NULL,
            secrets TEXT NOT NULL,
            types TEXT NOT NULL,
            media TEXT NOT NULL,
            headers TEXT NOT NULL,
            description TEXT NOT NULL,
            concurrency INTEGER NOT NULL,
            enabled SMALLINT NOT NULL,
            disabled_reason TEXT NOT NULL,
            policy TEXT NOT NULL,
            owner VARCHAR(64) NOT NULL,
            created_ms BIGINT NOT NULL,
            failing_since_ms BIGINT,
            CONSTRAINT pk_endpoints PRIMARY KEY (id),
            CONSTRAINT fk_endpoints_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_endpoints_tenant ON endpoints (tenant, created_ms)",
        """
        CREATE TABLE deliveries (
            id {counter} NOT NULL CONSTRAINT pk_deliveries PRIMARY KEY{never_again},
            event {number} NOT NULL,
            tenant VARCHAR(64) NOT NULL,
            endpoint VARCHAR(32) NOT NULL,
            key VARCHAR(255) NOT NULL,
            created_ms BIGINT NOT NULL,
            state VARCHAR(10) NOT NULL,
            attempts INTEGER DEFAULT '0' NOT NULL,
            replayed_after INTEGER DEFAULT '0' NOT NULL,
            next_ms BIGINT NOT NULL,
            lease_owner VARCHAR(32) DEFAULT '' NOT NULL,
            lease_until_ms BIGINT DEFAULT '0' NOT NULL,
            status INTEGER DEFAULT '0' NOT NULL,
            error TEXT DEFAULT '' NOT NULL,
            finished_ms BIGINT,
            CONSTRAINT uq_deliveries_event_endpoint UNIQUE (event, endpoint),
            CONSTRAINT fk_deliveries_event FOREIGN KEY (event) REFERENCES outbox_events (id) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_deliveries_due ON deliveries (endpoint, next_ms) WHERE state = 'pending'",
        "CREATE INDEX ix_deliveries_order ON deliveries (endpoint, key, id) WHERE state = 'pending'",
        "CREATE INDEX ix_deliveries_tenant ON deliveries (tenant, id)",
        "CREATE INDEX ix_deliveries_finished ON deliveries (finished_ms) WHERE finished_ms IS NOT NULL",
        """
        CREATE TABLE attempts (
            delivery {number} NOT NULL,
            number INTEGER NOT NULL,
            at_ms BIGINT NOT NULL,
            duration_ms INTEGER NOT NULL,
            status INTEGER NOT NULL,
            error TEXT NOT NULL,
            body {bytes} NOT NULL,
            CONSTRAINT pk_attempts PRIMARY KEY (delivery, number),
            CONSTRAINT fk_attempts_delivery FOREIGN KEY (delivery) REFERENCES deliveries (id) ON DELETE CASCADE
        )
        """,
        """
        CREATE TABLE outbox_revision (
            number BIGINT NOT NULL
        )
        """,
        "INSERT INTO outbox_revision (number) VALUES (1)",
    )
