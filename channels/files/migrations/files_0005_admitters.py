"""Which credential let each participant of a chat in. Of those who are there already nobody knows."""

from hub.storage.schema import Schema

revision = "files_0005"
after = ("files_0004",)


def upgrade(schema: Schema) -> None:
    """Add the column."""
    schema.run("ALTER TABLE chat_participants ADD COLUMN credential VARCHAR(500) NOT NULL DEFAULT ''")
