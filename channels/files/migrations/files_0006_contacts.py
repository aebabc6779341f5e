"""What StartChatContact says of a chat: until when it lasts, which content it takes, and with which fields it was begun."""

from hub.storage.schema import Schema

revision = "files_0006"
after = ("files_0005",)


def upgrade(schema: Schema) -> None:
    """Add the columns. The chats that there are last until they end otherwise, and take all content."""
    schema.run(
        "ALTER TABLE chats ADD COLUMN ends_ms BIGINT",
        "ALTER TABLE chats ADD COLUMN content_types VARCHAR(500)",
        "ALTER TABLE chat_participants ADD COLUMN fields VARCHAR(64) NOT NULL DEFAULT ''",
        "CREATE INDEX ix_chats_ends ON chats (ends_ms) WHERE ended_ms IS NULL AND ends_ms IS NOT NULL",
        "DROP INDEX ix_chats_idle",
        "CREATE INDEX ix_chats_idle ON chats (last_ms) WHERE ended_ms IS NULL AND ends_ms IS NULL",
    )
