"""Forgets until when the link of an upload lived: nothing asks for it."""

from hub.storage.schema import Schema

revision = "media_storage_0003"
after = ("media_storage_0002",)


def upgrade(schema: Schema) -> None:
    """Drop the column."""
    schema.run("ALTER TABLE media_objects DROP COLUMN link_ms")
