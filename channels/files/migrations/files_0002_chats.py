"""Chats, their participants, and the items of their transcripts."""

from hub.storage.schema import Schema

revision = "files_0002"
after = ("files_0001",)


def upgrade(schema: Schema) -> None:
    """Create the tables."""
    schema.run(
        """
        CREATE TABLE chats (
            tenant VARCHAR(64) NOT NULL,
            contact VARCHAR(255) NOT NULL,
            started_ms BIGINT NOT NULL,
            last_ms BIGINT NOT NULL,
            items INTEGER NOT NULL,
            ended_ms BIGINT,
            CONSTRAINT pk_chats PRIMARY KEY (tenant, contact),
            CONSTRAINT fk_chats_tenant FOREIGN KEY (tenant) REFERENCES tenants (name) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_chats_open ON chats (tenant) WHERE ended_ms IS NULL",
        "CREATE INDEX ix_chats_idle ON chats (last_ms) WHERE ended_ms IS NULL",
        "CREATE INDEX ix_chats_ended ON chats (ended_ms) WHERE ended_ms IS NOT NULL",
        """
        CREATE TABLE chat_participants (
            tenant VARCHAR(64) NOT NULL,
            id VARCHAR(36) NOT NULL,
            contact VARCHAR(255) NOT NULL,
            role VARCHAR(16) NOT NULL,
            display_name VARCHAR(256) NOT NULL,
            created_by VARCHAR(255) NOT NULL,
            created_ms BIGINT NOT NULL,
            joined_ms BIGINT,
            left_ms BIGINT,
            left_token VARCHAR(64),
            CONSTRAINT pk_chat_participants PRIMARY KEY (tenant, id),
            CONSTRAINT fk_chat_participants_chat FOREIGN KEY (tenant, contact) REFERENCES chats (tenant, contact) ON DELETE CASCADE
        )
        """,
        "CREATE INDEX ix_chat_participants_chat ON chat_participants (tenant, contact)",
        """
        CREATE TABLE chat_items (
            tenant VARCHAR(64) NOT NULL,
            contact VARCHAR(255) NOT NULL,
            seq INTEGER NOT NULL,
            id VARCHAR(36) NOT NULL,
            kind VARCHAR(16) NOT NULL,
            content_type VARCHAR(100) NOT NULL,
            content TEXT,
            at_ms BIGINT NOT NULL,
            participant VARCHAR(36),
            subject VARCHAR(36),
            detail TEXT,
            client_token VARCHAR(64),
            fields VARCHAR(64),
            CONSTRAINT pk_chat_items PRIMARY KEY (tenant, contact, seq),
            CONSTRAINT fk_chat_items_chat FOREIGN KEY (tenant, contact) REFERENCES chats (tenant, contact) ON DELETE CASCADE
        )
        """,
        "CREATE UNIQUE INDEX uq_chat_items_id ON chat_items (tenant, contact, id)",
        "CREATE INDEX ix_chat_items_time ON chat_items (tenant, contact, at_ms)",
        "CREATE UNIQUE INDEX uq_chat_items_subject ON chat_items (tenant, contact, kind, participant, subject) WHERE subject IS NOT NULL",
        "CREATE UNIQUE INDEX uq_chat_items_token ON chat_items (tenant, participant, client_token) WHERE client_token IS NOT NULL",
    )
