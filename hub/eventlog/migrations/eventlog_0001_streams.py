"""The tables of the event log in PostgreSQL, and of the leases whose owners append to it."""

from hub.storage.schema import Schema

revision = "eventlog_0001"
after = ()


def upgrade(schema: Schema) -> None:
    """Make the tables of streams, records, snapshots and leases."""
    schema.run(
        """
        CREATE TABLE event_streams (
            id {counter} PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            last BIGINT DEFAULT '0' NOT NULL,
            UNIQUE (tenant, name)
        )
        """,
        """
        CREATE TABLE event_records (
            stream {number} NOT NULL REFERENCES event_streams (id),
            position BIGINT NOT NULL,
            record {bytes} NOT NULL,
            PRIMARY KEY (stream, position)
        )
        """,
        """
        CREATE TABLE event_snapshots (
            stream {number} NOT NULL REFERENCES event_streams (id),
            owner TEXT NOT NULL,
            position BIGINT NOT NULL,
            state {bytes} NOT NULL,
            PRIMARY KEY (stream, owner)
        )
        """,
        "CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, fence BIGINT NOT NULL, until TIMESTAMP WITH TIME ZONE NOT NULL)",
    )
