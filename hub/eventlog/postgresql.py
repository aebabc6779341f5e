"""The event log of several nodes, in PostgreSQL. Each process that appends shows the fence of its lease (:mod:`hub.storage.lease`).

Its tables are those of ``hub.eventlog.migrations``. It has its own writer and readers, besides those of the hub's database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from hub.eventlog.database import LogDatabase
from hub.eventlog.interface import FencedError
from hub.storage.interface import Connection, Patience
from hub.storage.lease import Fence
from hub.storage.transactions_postgresql import PostgresBackend
from hub.storage.url import DatabaseUrl

CHUNK: Final = 1000
"""Records that one step of ``read`` yields at most."""

TRIM_PIECE: Final = 5000
"""Records that one step of ``trim`` deletes. Appends run between two steps."""

_HELD: Final = "WITH held AS MATERIALIZED (SELECT 1 FROM leases WHERE name = ? AND fence = ? FOR KEY SHARE)"
"""One row if the lease has the fence that was shown. The row is locked until the commit, so that another process can take the lease, and
read the log, only after it. Renewing the lease does not wait for this lock.
"""

_FREE: Final = "WITH held AS MATERIALIZED (SELECT 1 WHERE ?::text IS NULL AND ?::bigint IS NULL)"
"""The same for a write without a fence."""

_APPEND: Final = (
    ", stream AS (UPDATE event_streams SET last = last + ? WHERE id = ? AND EXISTS (SELECT 1 FROM held) RETURNING id, last),"
    " added AS (INSERT INTO event_records (stream, position, record) SELECT s.id, s.last - ? + r.number, r.record"
    " FROM stream s, unnest(?::bytea[]) WITH ORDINALITY AS r (record, number))"
    " SELECT last FROM stream"
)

_TRIM: Final = (
    ", gone AS (DELETE FROM event_records WHERE EXISTS (SELECT 1 FROM held) AND stream = ? AND position IN"
    " (SELECT position FROM event_records WHERE stream = ? AND position <= ? ORDER BY position LIMIT ?) RETURNING 1)"
    " SELECT (SELECT count(*) FROM gone) FROM held"
)

_SNAPSHOT: Final = (
    ", kept AS (INSERT INTO event_snapshots (stream, owner, position, state)"
    " SELECT ?::bigint, ?::text, ?::bigint, ?::bytea WHERE EXISTS (SELECT 1 FROM held)"
    " ON CONFLICT (stream, owner) DO UPDATE SET position = excluded.position, state = excluded.state RETURNING 1)"
    " SELECT count(*) FROM kept"
)


_IMPORT: Final = (
    ", added AS (INSERT INTO event_records (stream, position, record) SELECT ?::bigint, r.position, r.record"
    " FROM unnest(?::bigint[], ?::bytea[]) AS r (position, record) WHERE EXISTS (SELECT 1 FROM held) ON CONFLICT DO NOTHING RETURNING 1)"
    " SELECT (SELECT count(*) FROM added) FROM held"
)

_IMPORTED: Final = (
    ", stream AS (UPDATE event_streams SET last = greatest(last, ?), imported = ?"
    " WHERE id = ? AND EXISTS (SELECT 1 FROM held) RETURNING last)"
    " SELECT last FROM stream"
)


class PostgresEventLog:
    """An :class:`hub.eventlog.interface.EventLog` in a PostgreSQL database that has the tables."""

    __slots__ = ("_stream_ids", "database")

    def __init__(
        self, url: DatabaseUrl, *, max_group: int = 512, max_waiting: int = 100_000, readers: int = 2, patience: Patience | None = None
    ) -> None:
        """The log connects at its first operation. ``max_group`` and ``max_waiting`` are those of the writer
        (:class:`hub.storage.writer.GroupWriter`); ``readers`` is the number of reading threads, ``patience`` that of each
        statement.
        """
        self._stream_ids: dict[tuple[str, str], int] = {}  # used by the writer's thread only
        self.database: LogDatabase[Connection] = LogDatabase(
            PostgresBackend(url, patience or Patience()),
            lambda connection: connection,
            name="events",
            shown=f"the event log in {url}",
            path=None,
            max_group=max_group,
            max_waiting=max_waiting,
            readers=readers,
            on_undo=self._stream_ids.clear,  # ids of streams whose creation was rolled back are wrong
        )
        self.database.start(None)

    # -- the log ----------------------------------------------------------------------------------------------------

    async def tenants(self, stream: str) -> list[str]:
        """See :meth:`EventLog.tenants`."""
        rows = await self._rows("SELECT tenant FROM event_streams WHERE name = ? AND last > 0", (stream,))
        return sorted(tenant for (tenant,) in rows)

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        """See :meth:`EventLog.append`."""
        content = list(records)

        def insert(connection: Connection) -> int | None:
            identifier = self._stream_id(connection, tenant, stream)
            values = (len(content), identifier, len(content), content)
            row = connection.execute(_fenced(fence, _APPEND), (*_shown(fence), *values)).fetchone()
            if row is None:  # it may also be that the tenant was removed, and the stream with it: then it has another id later
                self._stream_ids.pop((tenant, stream), None)
            return None if row is None else int(row[0])

        return _unfenced(await self.database.write(insert), fence)

    async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """See :meth:`EventLog.read`."""
        position = after
        while True:
            chunk = await self._rows(
                "SELECT r.position, r.record FROM event_records r JOIN event_streams s ON r.stream = s.id"
                " WHERE s.tenant = ? AND s.name = ? AND r.position > ? ORDER BY r.position LIMIT ?",
                (tenant, stream, position, CHUNK),
            )
            if not chunk:
                return
            yield chunk
            position = chunk[-1][0]

    async def last(self, tenant: str, stream: str) -> int:
        """See :meth:`EventLog.last`."""
        rows = await self._rows("SELECT last FROM event_streams WHERE tenant = ? AND name = ?", (tenant, stream))
        return int(rows[0][0]) if rows else 0

    async def imported(self, tenant: str, stream: str) -> int:
        """The last position that :meth:`finish_import` imported into a stream; 0 if nothing was."""
        rows = await self._rows("SELECT imported FROM event_streams WHERE tenant = ? AND name = ?", (tenant, stream))
        return int(rows[0][0]) if rows else 0

    async def trim(self, tenant: str, stream: str, up_to: int, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.trim`."""

        def delete(connection: Connection) -> int | None:
            identifier = self._stream_id(connection, tenant, stream)
            values = (identifier, identifier, up_to, TRIM_PIECE)
            row = connection.execute(_fenced(fence, _TRIM), (*_shown(fence), *values)).fetchone()
            return None if row is None else int(row[0])

        while _unfenced(await self.database.write(delete), fence) == TRIM_PIECE:
            pass

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        """See :meth:`EventLog.save_snapshot`."""

        def replace(connection: Connection) -> int | None:
            values = (self._stream_id(connection, tenant, stream), owner, position, state)
            (count,) = connection.execute(_fenced(fence, _SNAPSHOT), (*_shown(fence), *values)).fetchone()
            return int(count) or None

        _unfenced(await self.database.write(replace), fence)

    async def import_records(self, tenant: str, stream: str, records: Sequence[tuple[int, bytes]], fence: Fence | None = None) -> None:
        """Add records of another log at their positions; those that are there stay. They do not count before :meth:`finish_import`.

        Raises:
            FencedError, EventLogError: see there.
        """
        positions, content = [position for position, _ in records], [record for _, record in records]

        def insert(connection: Connection) -> int | None:
            values = (self._stream_id(connection, tenant, stream), positions, content)
            row = connection.execute(_fenced(fence, _IMPORT), (*_shown(fence), *values)).fetchone()
            return None if row is None else int(row[0])

        _unfenced(await self.database.write(insert), fence)

    async def finish_import(
        self, tenant: str, stream: str, last: int, snapshots: Sequence[tuple[str, int, bytes]], fence: Fence | None = None
    ) -> None:
        """Save the snapshots, ``(owner, position, state)``, of a log that was imported, and let the stream go on after ``last``.

        Raises:
            FencedError, EventLogError: see there.
        """

        def finish(connection: Connection) -> int | None:
            identifier = self._stream_id(connection, tenant, stream)
            for owner, position, state in snapshots:
                connection.execute(_fenced(fence, _SNAPSHOT), (*_shown(fence), identifier, owner, position, state))
            row = connection.execute(_fenced(fence, _IMPORTED), (*_shown(fence), last, last, identifier)).fetchone()
            return None if row is None else int(row[0])

        _unfenced(await self.database.write(finish), fence)

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """See :meth:`EventLog.load_snapshot`."""
        rows = await self._rows(
            "SELECT p.position, p.state FROM event_snapshots p JOIN event_streams s ON p.stream = s.id"
            " WHERE s.tenant = ? AND s.name = ? AND p.owner = ?",
            (tenant, stream, owner),
        )
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    async def close(self) -> None:
        """See :meth:`EventLog.close`. It may be called twice."""
        await self.database.close()

    async def _rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        return await self.database.read(lambda connection: connection.execute(query, parameters).fetchall())

    def _stream_id(self, connection: Connection, tenant: str, stream: str) -> int:
        key = (tenant, stream)
        identifier = self._stream_ids.get(key)
        if identifier is None:
            connection.execute("INSERT INTO event_streams (tenant, name) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            (identifier,) = connection.execute("SELECT id FROM event_streams WHERE tenant = ? AND name = ?", key).fetchone()
            self._stream_ids[key] = identifier
        return int(identifier)


def _fenced(fence: Fence | None, statement: str) -> str:
    return (_FREE if fence is None else _HELD) + statement


def _shown(fence: Fence | None) -> tuple[Any, Any]:
    return (None, None) if fence is None else (fence.lease, fence.number)


def _unfenced(found: int | None, fence: Fence | None) -> int:
    """Check the result of an operation: None means that the fence was not valid, and raises FencedError."""
    if found is None:
        raise FencedError(f"the lease {fence.lease} has another owner: nothing was written" if fence is not None else "no such stream")
    return found
