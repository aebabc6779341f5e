"""The state of endpoints that do not answer, or that asked for a pause: a hub restores it at its start."""

from hub.storage.schema import Schema

revision = "outbox_0002"
after = ("outbox_0001",)


def upgrade(schema: Schema) -> None:
    """Add how often in a row an endpoint did not answer (0 if it answers), and until when nothing is sent to it (ms since 1970)."""
    schema.run(
        "ALTER TABLE endpoints ADD COLUMN silent INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE endpoints ADD COLUMN closed_until_ms BIGINT DEFAULT '0' NOT NULL",
    )
