"""The log of ``log`` channels of a single node, in a :class:`hub.eventlog.sqlite_file.SqliteFile`. It outlives the process."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from hub.core.message import Topic
from hub.core.ports import Clock
from hub.eventlog.channel_log import PAGE_RECORDS, SCAN, Page, Record, Retention, Selection, Span
from hub.eventlog.sqlite_file import SqliteFile
from hub.storage.schema import Schema

FILE_NAME = "channels.db"

ERASE_PIECE = 500
"""Records that one transaction looks at when a person's are erased. Appends run between two of them."""

TRIM_PIECE = 2000
"""Records that one transaction deletes at most. Appends run between two of them."""


def _records(schema: Schema) -> None:
    schema.run(
        """
        CREATE TABLE logs (
            id INTEGER PRIMARY KEY,
            tenant TEXT NOT NULL UNIQUE,
            floor INTEGER NOT NULL,
            top INTEGER NOT NULL,
            messages INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        """
        CREATE TABLE records (
            log INTEGER NOT NULL REFERENCES logs (id),
            position INTEGER NOT NULL,
            previous INTEGER NOT NULL,
            audience TEXT NOT NULL,
            channel TEXT NOT NULL,
            data BLOB NOT NULL,
            extra BLOB NOT NULL,
            PRIMARY KEY (log, position)
        ) STRICT
        """,
        "CREATE INDEX records_of_topic ON records (log, channel, audience, position)",
    )


def _names(schema: Schema) -> None:
    """Add the idempotency key: a second message of a topic with the same key is refused."""
    schema.run(
        "ALTER TABLE records ADD COLUMN once TEXT",
        "CREATE UNIQUE INDEX records_once ON records (log, audience, channel, once) WHERE once IS NOT NULL",
    )


VERSIONS = (_records, _names)

SCHEMA_VERSION = len(VERSIONS)

_INSERT = "INSERT INTO records (log, position, previous, audience, channel, data, extra, once) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

_NAMED = "SELECT 1 FROM records WHERE log = ? AND audience = ? AND channel = ? AND once = ?"

_END_OF_SCAN = "SELECT position FROM records WHERE log = ? AND position > ? ORDER BY position LIMIT 1 OFFSET ?"

_CHANNELS = "SELECT json_group_array(DISTINCT channel) FROM records WHERE log = ? AND position > ? AND position <= ?"
"""All channels in one row: the driver releases and takes Python's global lock for each row, and under load it waits for it each time."""

_RECORDS = (
    "SELECT position, channel, data, extra FROM records WHERE log = ? AND position > ? AND position <= ?"
    " AND channel IN (SELECT value FROM json_each(?)) AND audience IN (SELECT value FROM json_each(?)) ORDER BY position LIMIT ?"
)


class SqliteChannelLog:
    """A :class:`hub.eventlog.channel_log.ChannelLog` in ``<data_dir>/channels.db`` (mode 0600).

    Raises:
        LogInUseError: another process (or another log of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    __slots__ = ("_clock", "_ids", "_retention", "_spans", "_steady", "file")

    def __init__(self, data_dir: Path, clock: Clock, retention: Retention | None = None, *, steady: Clock | None = None) -> None:
        self._clock = clock
        self._steady = clock if steady is None else steady
        """Tells what is old."""
        self._retention = retention or Retention()
        self._ids: dict[str, int] = {}  # used by the writer's thread only
        # ranges of the logs, kept in memory so that subscribing does not wait for the reader; no other process writes to the file
        self._spans: dict[str, Span] = {}
        self.file = SqliteFile(data_dir / FILE_NAME, VERSIONS, on_rollback=self._ids.clear)

    async def append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str = "") -> tuple[int, int] | None:
        """See :meth:`ChannelLog.append`."""

        def insert(connection: sqlite3.Connection) -> tuple[int, int] | None:
            log = self._id(connection, topic.tenant)
            if idempotency_key and connection.execute(_NAMED, (log, topic.audience, topic.channel, idempotency_key)).fetchone() is not None:
                return None
            floor, newest = connection.execute("SELECT floor, top FROM logs WHERE id = ?", (log,)).fetchone()
            (last,) = connection.execute(
                "SELECT max(position) FROM records WHERE log = ? AND channel = ? AND audience = ?", (log, topic.channel, topic.audience)
            ).fetchone()
            position = max(newest + 1, self._clock.wall_us())
            previous = floor if last is None else last
            connection.execute(_INSERT, (log, position, previous, topic.audience, topic.channel, data, extra, idempotency_key or None))
            connection.execute(
                "UPDATE logs SET top = ?, messages = messages + 1, bytes = bytes + ? WHERE id = ?",
                (position, len(data) + len(extra), log),
            )
            return position, previous

        appended = await self.file.write(insert)
        if appended is not None:
            self._reaches(topic.tenant, newest=appended[0])
        return appended

    def _reaches(self, tenant: str, *, floor: int = 0, newest: int = 0) -> None:
        """Update a range in memory after a transaction. Results may come in another order than the transactions ran."""
        span = self._spans.get(tenant)
        if span is not None:
            self._spans[tenant] = Span(max(span.floor, floor), max(span.newest, newest))

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """See :meth:`ChannelLog.read`."""

        def select(connection: sqlite3.Connection) -> Page:
            log = connection.execute("SELECT id, floor, top FROM logs WHERE tenant = ?", (selection.tenant,)).fetchone()
            if log is None:  # the log was never used
                return Page([], after, after, more=False)
            identifier, floor, newest = log
            end = connection.execute(_END_OF_SCAN, (identifier, after, SCAN - 1)).fetchone()
            more = end is not None and end[0] < newest
            end_position = end[0] if more else max(newest, after)
            (channels,) = connection.execute(_CHANNELS, (identifier, after, end_position)).fetchone()
            wanted = [channel for channel in json.loads(channels) if selection.wants(channel)]
            found: list[Record] = []
            if wanted:
                values = (identifier, after, end_position, json.dumps(wanted), json.dumps(selection.audiences), PAGE_RECORDS + 1)
                size = 0
                for row in connection.execute(_RECORDS, values):
                    record = Record(*row)
                    if found and (len(found) == PAGE_RECORDS or size + record.size > max_bytes):
                        return Page(found, found[-1].position, floor, more=True)
                    found.append(record)
                    size += record.size
            return Page(found, end_position, floor, more)

        return await self.file.read(select)

    async def span(self, tenant: str) -> Span:
        """See :meth:`ChannelLog.span`."""
        self.file.check_open()
        span = self._spans.get(tenant)
        if span is None:

            def begin(connection: sqlite3.Connection) -> Span:
                # a log that does not exist begins now, and its floor must be stored: see Span
                return Span(*connection.execute("SELECT floor, top FROM logs WHERE id = ?", (self._id(connection, tenant),)).fetchone())

            found = await self.file.write(begin)
            self._spans.setdefault(tenant, found)
            self._reaches(tenant, floor=found.floor, newest=found.newest)
            span = self._spans[tenant]
        return span

    async def complete_since(self, topics: Sequence[Topic], after: int) -> bool:
        """See :meth:`ChannelLog.complete_since`."""
        for topic in topics:
            if after >= (await self.span(topic.tenant)).floor:
                continue
            rows = await self.file.rows(
                "SELECT r.previous FROM records r JOIN logs l ON r.log = l.id WHERE l.tenant = ? AND r.channel = ? AND r.audience = ?"
                " AND r.position > ? ORDER BY r.position LIMIT 1",
                (topic.tenant, topic.channel, topic.audience, after),
            )
            if not rows or rows[0][0] > after:
                return False
        return True

    async def erase(self, topic: Topic, picks: Callable[[bytes], bool]) -> int:
        """See :meth:`ChannelLog.erase`."""
        erased = 0
        after: int | None = 0
        while after is not None:
            count, after = await self._erase(topic, picks, after)
            erased += count
        return erased

    async def _erase(self, topic: Topic, picks: Callable[[bytes], bool], after: int) -> tuple[int, int | None]:
        """Look at the next records of a topic. Returns how many were deleted, and the position of the last one; None: there are no more."""

        def delete(connection: sqlite3.Connection) -> tuple[int, int | None]:
            log = self._id(connection, topic.tenant)
            rows = connection.execute(
                "SELECT position, data, length(data) + length(extra) FROM records WHERE log = ? AND channel = ? AND audience = ?"
                " AND position > ? ORDER BY position LIMIT ?",
                (log, topic.channel, topic.audience, after, ERASE_PIECE),
            ).fetchall()
            gone = [(position, size) for position, data, size in rows if picks(data)]
            if gone:
                connection.executemany("DELETE FROM records WHERE log = ? AND position = ?", [(log, position) for position, _ in gone])
                connection.execute(
                    "UPDATE logs SET messages = messages - ?, bytes = bytes - ? WHERE id = ?",
                    (len(gone), sum(size for _, size in gone), log),
                )
            return len(gone), rows[-1][0] if len(rows) == ERASE_PIECE else None

        return await self.file.write(delete)

    async def forget(self, tenant: str, older_than_s: float | None) -> int:
        """See :meth:`ChannelLog.forget`."""
        rows = await self.file.rows(
            "SELECT id, min(position), max(position) FROM logs JOIN records ON log = id WHERE tenant = ? GROUP BY id", (tenant,)
        )
        forgotten = 0
        for log, first, last in rows:
            cut = last if older_than_s is None else self._clock.wall_us() - round(older_than_s * 1_000_000)
            while first <= cut and (gone := await self._forget(log, tenant, cut)):
                forgotten += gone
        return forgotten

    async def trim(self) -> int:
        """See :meth:`ChannelLog.trim`."""
        forgotten = 0
        for log, tenant, messages, size in await self.file.rows("SELECT id, tenant, messages, bytes FROM logs", ()):
            cut = self._steady.wall_us() - self._retention.max_age_s * 1_000_000
            if messages > self._retention.max_messages:
                rows = await self.file.rows(
                    "SELECT position FROM records WHERE log = ? ORDER BY position LIMIT 1 OFFSET ?",
                    (log, messages - self._retention.max_messages - 1),
                )
                cut = max(cut, *(position for (position,) in rows), 0)
            if size > self._retention.max_bytes:
                rows = await self.file.rows(
                    "SELECT max(position) FROM (SELECT position, sum(length(data) + length(extra)) OVER (ORDER BY position DESC) AS kept"
                    " FROM records WHERE log = ?) WHERE kept > ?",
                    (log, self._retention.max_bytes),
                )
                cut = max(cut, *(position for (position,) in rows if position is not None), 0)
            while gone := await self._forget(log, tenant, cut):
                forgotten += gone
        return forgotten

    async def _forget(self, log: int, tenant: str, cut: int) -> int:
        def delete(connection: sqlite3.Connection) -> tuple[int, int]:
            last, count, size = connection.execute(
                "SELECT max(position), count(*), sum(length(data) + length(extra)) FROM"
                " (SELECT position, data, extra FROM records WHERE log = ? AND position <= ? ORDER BY position LIMIT ?)",
                (log, cut, TRIM_PIECE),
            ).fetchone()
            if not count:
                return 0, 0
            connection.execute("DELETE FROM records WHERE log = ? AND position <= ?", (log, last))
            connection.execute(
                "UPDATE logs SET floor = ?, messages = messages - ?, bytes = bytes - ? WHERE id = ?", (last, count, size, log)
            )
            return int(count), int(last)

        count, floor = await self.file.write(delete)
        self._reaches(tenant, floor=floor)
        return count

    async def close(self) -> None:
        """See :meth:`ChannelLog.close`. It may be called twice."""
        await self.file.close()

    def _id(self, connection: sqlite3.Connection, tenant: str) -> int:
        identifier = self._ids.get(tenant)
        if identifier is None:
            before = self._clock.wall_us() - 1
            connection.execute("INSERT INTO logs (tenant, floor, top) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (tenant, before, before))
            (identifier,) = connection.execute("SELECT id FROM logs WHERE tenant = ?", (tenant,)).fetchone()
            self._ids[tenant] = int(identifier)
        return int(identifier)
