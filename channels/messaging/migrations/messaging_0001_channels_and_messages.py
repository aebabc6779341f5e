"""Channels, messages, receipts that wait for their message, media."""

from hub.storage.schema import Schema

revision = "messaging_0001"
after = ("security_0001", "outbox_0001")


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    schema.run(
        """
        CREATE TABLE messaging_channels (
            number {counter} NOT NULL CONSTRAINT pk_messaging_channels PRIMARY KEY{never_again},
            tenant VARCHAR(64) NOT NULL,
            id VARCHAR(100) NOT NULL,
            type VARCHAR(32) NOT NULL,
            sender_id VARCHAR(255),
            sender_name VARCHAR(255),
            endpoint VARCHAR(32) NOT NULL,
            created_ms BIGINT NOT NULL,
            removed_ms BIGINT,
            last_ms BIGINT DEFAULT '0' NOT NULL,
            last_n BIGINT DEFAULT '-1' NOT NULL,
            CONSTRAINT fk_messaging_channels_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE UNIQUE INDEX uq_messaging_channels_id ON messaging_channels (tenant, id) WHERE removed_ms IS NULL",
        """
        CREATE TABLE messaging_messages (
            channel {number} NOT NULL,
            ms BIGINT NOT NULL,
            n BIGINT NOT NULL,
            direction VARCHAR(8) NOT NULL,
            type VARCHAR(16) NOT NULL,
            state VARCHAR(10) NOT NULL,
            own_id VARCHAR(255),
            receiver_id VARCHAR(255),
            conversation VARCHAR(255) NOT NULL,
            event BIGINT,
            sender TEXT NOT NULL,
            recipients TEXT NOT NULL,
            error TEXT NOT NULL,
            body {bytes} NOT NULL,
            created_ms BIGINT NOT NULL,
            changed_ms BIGINT NOT NULL,
            CONSTRAINT pk_messaging_messages PRIMARY KEY (channel, ms, n),
            CONSTRAINT fk_messaging_messages_channel FOREIGN KEY (channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
        )
        """,
        "CREATE UNIQUE INDEX uq_messaging_messages_own ON messaging_messages (channel, direction, own_id) WHERE own_id IS NOT NULL",
        "CREATE INDEX ix_messaging_messages_receiver ON messaging_messages (channel, receiver_id) WHERE receiver_id IS NOT NULL",
        "CREATE INDEX ix_messaging_messages_event ON messaging_messages (event) WHERE event IS NOT NULL",
        "CREATE INDEX ix_messaging_messages_state ON messaging_messages (channel, state, ms, n)",
        "CREATE INDEX ix_messaging_messages_age ON messaging_messages (created_ms)",
        """
        CREATE TABLE messaging_receipts (
            id {counter} NOT NULL,
            channel {number} NOT NULL,
            message_id VARCHAR(255) NOT NULL,
            status VARCHAR(10) NOT NULL,
            recipients TEXT NOT NULL,
            reasons TEXT NOT NULL,
            at_ms BIGINT NOT NULL,
            CONSTRAINT pk_messaging_receipts PRIMARY KEY (id),
            CONSTRAINT fk_messaging_receipts_channel FOREIGN KEY (channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_messaging_receipts_message ON messaging_receipts (channel, message_id)",
        "CREATE INDEX ix_messaging_receipts_age ON messaging_receipts (at_ms)",
        """
        CREATE TABLE messaging_media (
            id VARCHAR(36) NOT NULL,
            channel {number} NOT NULL,
            filename VARCHAR(255) NOT NULL,
            mimetype VARCHAR(100) NOT NULL,
            length BIGINT NOT NULL,
            created_ms BIGINT NOT NULL,
            CONSTRAINT pk_messaging_media PRIMARY KEY (id),
            CONSTRAINT fk_messaging_media_channel FOREIGN KEY (channel) REFERENCES messaging_channels (number) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_messaging_media_channel ON messaging_media (channel)",
        "CREATE INDEX ix_messaging_media_age ON messaging_media (created_ms)",
    )
