"""Where the log of a hub that was alone ended when it was imported: so an import is known, whatever was appended after it."""

from hub.storage.schema import Schema

revision = "eventlog_0002"
after = ("eventlog_0001",)


def upgrade(schema: Schema) -> None:
    """Add the last position that was imported into a stream; 0 if nothing was."""
    schema.run("ALTER TABLE event_streams ADD COLUMN imported BIGINT DEFAULT '0' NOT NULL")
