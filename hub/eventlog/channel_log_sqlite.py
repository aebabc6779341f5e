"""The log of ``log`` channels of a single node, in a :class:`hub.eventlog.sqlite_file.SqliteFile`: it outlives the process."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.core.channels import is_wildcard, matches
from hub.core.message import Topic
from hub.core.ports import Clock
from hub.eventlog.channel_log import PAGE_RECORDS, Page, Record, Retention, Selection, Span
from hub.eventlog.sqlite_file import SqliteFile

FILE_NAME = "channels.db"

SCHEMA_VERSION = 1

TRIM_PIECE = 2000
"""Records that one transaction deletes at most: appends get their turn between two."""

MOST_CONDITIONS = 200
"""Patterns of one query: SQLite bounds the depth of an expression. More are compared here."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS logs (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL UNIQUE,
    floor INTEGER NOT NULL,
    top INTEGER NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS records (
    log INTEGER NOT NULL REFERENCES logs (id),
    position INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    audience TEXT NOT NULL,
    channel TEXT NOT NULL,
    data BLOB NOT NULL,
    extra BLOB NOT NULL,
    PRIMARY KEY (log, position)
) STRICT;
CREATE INDEX IF NOT EXISTS records_of_topic ON records (log, channel, audience, position);
"""

_INSERT = "INSERT INTO records (log, position, previous, audience, channel, data, extra) VALUES (?, ?, ?, ?, ?, ?, ?)"


class SqliteChannelLog:
    """:class:`hub.eventlog.channel_log.ChannelLog` over ``<data_dir>/channels.db`` (mode 0600).

    Raises:
        LogInUseError: another process (or another log of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    __slots__ = ("_clock", "_ids", "_retention", "file")

    def __init__(self, data_dir: Path, clock: Clock, retention: Retention | None = None) -> None:
        self._clock = clock
        self._retention = retention or Retention()
        self._ids: dict[str, int] = {}  # the writer thread's own
        self.file = SqliteFile(data_dir / FILE_NAME, schema=_SCHEMA, version=SCHEMA_VERSION, on_rollback=self._ids.clear)

    async def append(self, topic: Topic, data: bytes, extra: bytes) -> tuple[int, int]:
        """See :meth:`ChannelLog.append`."""

        def insert(connection: sqlite3.Connection) -> tuple[int, int]:
            log = self._id(connection, topic.tenant)
            floor, top = connection.execute("SELECT floor, top FROM logs WHERE id = ?", (log,)).fetchone()
            (last,) = connection.execute(
                "SELECT max(position) FROM records WHERE log = ? AND channel = ? AND audience = ?", (log, topic.channel, topic.audience)
            ).fetchone()
            position = max(top + 1, self._clock.wall_us())
            previous = floor if last is None else last
            connection.execute(_INSERT, (log, position, previous, topic.audience, topic.channel, data, extra))
            connection.execute(
                "UPDATE logs SET top = ?, messages = messages + 1, bytes = bytes + ? WHERE id = ?",
                (position, len(data) + len(extra), log),
            )
            return position, previous

        return await self.file.write(insert)

    async def read(self, selection: Selection, after: int, max_bytes: int) -> Page:
        """See :meth:`ChannelLog.read`."""
        many = len(selection.patterns) > MOST_CONDITIONS
        wanted, values = _where(selection._replace(patterns=()) if many else selection)

        def select(connection: sqlite3.Connection) -> Page:
            connection.execute("BEGIN")  # floor and records of one moment
            try:
                log = connection.execute("SELECT id, floor, top FROM logs WHERE tenant = ?", (selection.tenant,)).fetchone()
                if log is None:  # nobody ever asked how far it reaches
                    return Page([], after, after, more=False)
                identifier, floor, top = log
                rows = connection.execute(
                    f"SELECT position, channel, data, extra FROM records WHERE log = ? AND position > ? AND {wanted} ORDER BY position",  # noqa: S608
                    (identifier, after, *values),
                )
                found: list[Record] = []
                size = 0
                for row in rows:
                    record = Record(*row)
                    if many and not any(matches(pattern, record.channel) for pattern in selection.patterns):
                        continue
                    if found and (len(found) == PAGE_RECORDS or size + record.size > max_bytes):
                        return Page(found, found[-1].position, floor, more=True)
                    found.append(record)
                    size += record.size
                return Page(found, max(top, after), floor, more=False)
            finally:
                connection.execute("COMMIT")

        return await self.file.read(select)

    async def span(self, tenant: str) -> Span:
        """See :meth:`ChannelLog.span`."""
        rows = await self.file.rows("SELECT floor, top FROM logs WHERE tenant = ?", (tenant,))
        if not rows:  # it begins now, and that must be remembered: see Span
            await self.file.write(lambda connection: self._id(connection, tenant))
            rows = await self.file.rows("SELECT floor, top FROM logs WHERE tenant = ?", (tenant,))
        return Span(*rows[0])

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

    async def trim(self) -> int:
        """See :meth:`ChannelLog.trim`."""
        forgotten = 0
        for log, messages, size in await self.file.rows("SELECT id, messages, bytes FROM logs", ()):
            cut = self._clock.wall_us() - self._retention.max_age_s * 1_000_000
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
            while gone := await self._forget(log, cut):
                forgotten += gone
        return forgotten

    async def _forget(self, log: int, cut: int) -> int:
        def delete(connection: sqlite3.Connection) -> int:
            last, count, size = connection.execute(
                "SELECT max(position), count(*), sum(length(data) + length(extra)) FROM"
                " (SELECT position, data, extra FROM records WHERE log = ? AND position <= ? ORDER BY position LIMIT ?)",
                (log, cut, TRIM_PIECE),
            ).fetchone()
            if not count:
                return 0
            connection.execute("DELETE FROM records WHERE log = ? AND position <= ?", (log, last))
            connection.execute(
                "UPDATE logs SET floor = ?, messages = messages - ?, bytes = bytes - ? WHERE id = ?", (last, count, size, log)
            )
            return int(count)

        return await self.file.write(delete)

    async def close(self) -> None:
        """See :meth:`ChannelLog.close`. Calling it twice does no harm."""
        await self.file.close()

    def _id(self, connection: sqlite3.Connection, tenant: str) -> int:
        identifier = self._ids.get(tenant)
        if identifier is None:
            before = self._clock.wall_us() - 1
            connection.execute("INSERT INTO logs (tenant, floor, top) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (tenant, before, before))
            (identifier,) = connection.execute("SELECT id FROM logs WHERE tenant = ?", (tenant,)).fetchone()
            self._ids[tenant] = int(identifier)
        return int(identifier)


def _where(selection: Selection) -> tuple[str, tuple[Any, ...]]:
    """The condition of a selection, and its values. A channel is below ``/a/`` when it sorts between ``/a/`` and ``/a0``: 0 follows the
    slash.
    """
    conditions = []
    values: list[Any] = []
    for pattern in selection.patterns:
        if not is_wildcard(pattern):
            conditions.append("channel = ?")
            values.append(pattern)
            continue
        below = pattern.rstrip("*")
        condition = "channel > ? AND channel < ?"
        values += [below, f"{below[:-1]}0"]
        if not pattern.endswith("/**"):
            condition += " AND instr(substr(channel, ?), '/') = 0"
            values.append(len(below) + 1)
        conditions.append(f"({condition})")
    marks = ", ".join("?" * len(selection.audiences))
    channels = f"({' OR '.join(conditions)}) AND " if conditions else ""
    return f"{channels}audience IN ({marks})", (*values, *selection.audiences)
