"""What is known of endpoints that do not answer, or that asked to be left alone: a hub that starts goes on from there."""

from hub.storage.schema import Schema

revision = "outbox_0002"
after = ("outbox_0001",)


def upgrade(schema: Schema) -> None:
    """Add how often an endpoint was silent in a row (0 where it answers), and until when nothing is sent to it (ms since 1970)."""
    schema.run(
        "ALTER TABLE endpoints ADD COLUMN silent INTEGER DEFAULT '0' NOT NULL",
        "ALTER TABLE endpoints ADD COLUMN closed_until_ms BIGINT DEFAULT '0' NOT NULL",
    )
