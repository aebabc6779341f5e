"""Whether the interaction of a chat began with the chat, and so finishes with it."""

from hub.storage.schema import Schema

revision = "files_0004"
after = ("files_0003",)


def upgrade(schema: Schema) -> None:
    """Add the column. Of the chats that there are it is not known: they end as they did so far."""
    schema.run("ALTER TABLE chats ADD COLUMN begun SMALLINT NOT NULL DEFAULT 1")
