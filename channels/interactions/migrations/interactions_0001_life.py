"""Interactions, and how far the event log has been followed."""

from hub.storage.schema import Schema

revision = "interactions_0001"
after = ("security_0001",)


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    schema.run(
        """
        CREATE TABLE interactions (
            tenant VARCHAR(64) NOT NULL,
            id VARCHAR(255) NOT NULL,
            service VARCHAR(64) NOT NULL,
            external_id VARCHAR(255),
            media VARCHAR(64) NOT NULL,
            subtype VARCHAR(64) NOT NULL,
            state VARCHAR(12) NOT NULL,
            parent_id VARCHAR(255),
            received_at VARCHAR(64),
            user_data TEXT NOT NULL,
            created_ms BIGINT NOT NULL,
            stopped_ms BIGINT,
            reason_name VARCHAR(255) DEFAULT '' NOT NULL,
            reason_text TEXT DEFAULT '' NOT NULL,
            CONSTRAINT pk_interactions PRIMARY KEY (tenant, id),
            CONSTRAINT uq_interactions_external UNIQUE (tenant, service, external_id),
            CONSTRAINT fk_interactions_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_interactions_created ON interactions (tenant, created_ms, id)",
        "CREATE INDEX ix_interactions_live ON interactions (tenant) WHERE stopped_ms IS NULL",
        "CREATE INDEX ix_interactions_stopped ON interactions (stopped_ms) WHERE stopped_ms IS NOT NULL",
        """
        CREATE TABLE interaction_positions (
            tenant VARCHAR(64) NOT NULL,
            position BIGINT NOT NULL,
            CONSTRAINT pk_interaction_positions PRIMARY KEY (tenant),
            CONSTRAINT fk_interaction_positions_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
    )
