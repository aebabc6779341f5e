"""The id of the database."""

import secrets

from hub.storage.schema import Schema

revision = "cluster_0001"
after = ()


def upgrade(schema: Schema) -> None:
    """Make the table, and the id: nodes of two hubs that share a Redis have different ones."""
    schema.run(
        "CREATE TABLE hub_identity (id TEXT PRIMARY KEY)",
        f"INSERT INTO hub_identity (id) VALUES ('{secrets.token_hex(8)}')",  # noqa: S608  # hexadecimal digits of our own
    )
