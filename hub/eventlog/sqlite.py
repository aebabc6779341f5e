"""The event log of a single node, in one :class:`hub.eventlog.sqlite_file.SqliteFile`."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from hub.eventlog.sqlite_file import SqliteFile
from hub.storage.lease import Fence
from hub.storage.schema import Schema

FILE_NAME = "events.db"

CHUNK = 1000
"""Records that one step of ``read`` yields at most."""

TRIM_PIECE = 5000
"""Records that one step of ``trim`` deletes. Appends run between two steps."""


def _streams(schema: Schema) -> None:
    schema.run(
        """
        CREATE TABLE streams (
            id INTEGER PRIMARY KEY,
            tenant TEXT NOT NULL,
            name TEXT NOT NULL,
            last INTEGER NOT NULL DEFAULT 0,
            UNIQUE (tenant, name)
        ) STRICT
        """,
        """
        CREATE TABLE records (
            stream INTEGER NOT NULL REFERENCES streams (id),
            position INTEGER NOT NULL,
            record BLOB NOT NULL,
            PRIMARY KEY (stream, position)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE snapshots (
            stream INTEGER NOT NULL REFERENCES streams (id),
            owner TEXT NOT NULL,
            position INTEGER NOT NULL,
            state BLOB NOT NULL,
            PRIMARY KEY (stream, owner)
        ) STRICT
        """,
    )


VERSIONS = (_streams,)

SCHEMA_VERSION = len(VERSIONS)


class SqliteEventLog:
    """An :class:`hub.eventlog.interface.EventLog` in ``<data_dir>/events.db`` (mode 0600).

    Raises:
        LogInUseError: another process (or another log of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME
        self._stream_ids: dict[tuple[str, str], int] = {}  # used by the writer's thread only
        # if a transaction is rolled back, the ids that it created are wrong
        self.file = SqliteFile(self.path, VERSIONS, on_rollback=self._stream_ids.clear)

    # -- the log ----------------------------------------------------------------------------------------------------

    async def tenants(self, stream: str) -> list[str]:
        """See :meth:`EventLog.tenants`."""
        rows = await self.file.rows("SELECT tenant FROM streams WHERE name = ? AND last > 0 ORDER BY tenant", (stream,))
        return [tenant for (tenant,) in rows]

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        """See :meth:`EventLog.append`."""

        def insert(connection: sqlite3.Connection) -> int:
            identifier = self._stream_id(connection, tenant, stream)
            (last,) = connection.execute("SELECT last FROM streams WHERE id = ?", (identifier,)).fetchone()
            connection.executemany(
                "INSERT INTO records (stream, position, record) VALUES (?, ?, ?)",
                ((identifier, position, record) for position, record in enumerate(records, last + 1)),
            )
            connection.execute("UPDATE streams SET last = ? WHERE id = ?", (last + len(records), identifier))
            return int(last) + len(records)

        return await self.file.write(insert)

    async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """See :meth:`EventLog.read`."""
        position = after
        while True:
            chunk = await self.file.rows(
                "SELECT r.position, r.record FROM records r JOIN streams s ON r.stream = s.id"
                " WHERE s.tenant = ? AND s.name = ? AND r.position > ? ORDER BY r.position LIMIT ?",
                (tenant, stream, position, CHUNK),
            )
            if not chunk:
                return
            yield chunk
            position = chunk[-1][0]

    async def last(self, tenant: str, stream: str) -> int:
        """See :meth:`EventLog.last`."""
        rows = await self.file.rows("SELECT last FROM streams WHERE tenant = ? AND name = ?", (tenant, stream))
        return int(rows[0][0]) if rows else 0

    async def trim(self, tenant: str, stream: str, up_to: int, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.trim`."""

        def delete(connection: sqlite3.Connection) -> int:
            identifier = self._stream_id(connection, tenant, stream)
            return connection.execute(
                "DELETE FROM records WHERE stream = ?1 AND position IN"
                " (SELECT position FROM records WHERE stream = ?1 AND position <= ?2 ORDER BY position LIMIT ?3)",
                (identifier, up_to, TRIM_PIECE),
            ).rowcount

        while await self.file.write(delete) == TRIM_PIECE:
            pass

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.save_snapshot`."""

        def replace(connection: sqlite3.Connection) -> None:
            identifier = self._stream_id(connection, tenant, stream)
            connection.execute(
                "INSERT INTO snapshots (stream, owner, position, state) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (stream, owner) DO UPDATE SET position = ?3, state = ?4",
                (identifier, owner, position, state),
            )

        await self.file.write(replace)

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """See :meth:`EventLog.load_snapshot`."""
        rows = await self.file.rows(
            "SELECT p.position, p.state FROM snapshots p JOIN streams s ON p.stream = s.id"
            " WHERE s.tenant = ? AND s.name = ? AND p.owner = ?",
            (tenant, stream, owner),
        )
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    async def close(self) -> None:
        """See :meth:`EventLog.close`. It may be called twice."""
        await self.file.close()

    def _stream_id(self, connection: sqlite3.Connection, tenant: str, stream: str) -> int:
        key = (tenant, stream)
        identifier = self._stream_ids.get(key)
        if identifier is None:
            connection.execute("INSERT INTO streams (tenant, name) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            (identifier,) = connection.execute("SELECT id FROM streams WHERE tenant = ? AND name = ?", key).fetchone()
            self._stream_ids[key] = identifier
        return int(identifier)
