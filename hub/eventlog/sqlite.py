"""The event log of a single node: one SQLite file, one writer thread, one reader thread.

Durability (design part 7): WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE``. Everything that waits when the writer is free goes into one
transaction, so that a commit's fsync is shared by all that arrived during the one before: the busier the log, the larger the groups,
and a lone append waits for nobody.
"""

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from hub.eventlog.interface import EventLogError, LogInUseError

T = TypeVar("T")

FILE_NAME = "events.db"

SCHEMA_VERSION = 1
"""``PRAGMA user_version`` of the file; a file of a later version is refused rather than guessed at."""

CHUNK = 1000
"""Records that one step of ``read`` yields at most."""

TRIM_PIECE = 5000
"""Records that one step of ``trim`` deletes: appends get their turn between two steps."""

MAX_GROUP = 512
"""Operations of one transaction at most, so that the first of them does not wait for an endless queue."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, name)
) STRICT;
CREATE TABLE IF NOT EXISTS records (
    stream INTEGER NOT NULL REFERENCES streams (id),
    position INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (stream, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (
    stream INTEGER NOT NULL REFERENCES streams (id),
    owner TEXT NOT NULL,
    position INTEGER NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (stream, owner)
) STRICT;
"""

_Operation = Callable[[sqlite3.Connection], Any]


class SqliteEventLog:
    """:class:`hub.eventlog.interface.EventLog` over ``<data_dir>/events.db`` (mode 0600).

    Raises:
        LogInUseError: another process (or another log of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(self.path)
        except OSError as fault:
            raise EventLogError(f"{self.path} cannot be opened: {fault}") from fault
        with ExitStack() as undo:
            undo.callback(os.close, self._lock)
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its side files the same mode
                self._writing = undo.enter_context(closing(_connect(self.path)))
                _prepare(self._writing, self.path)
                self._reading = undo.enter_context(closing(_connect(self.path)))
            except (OSError, sqlite3.Error) as fault:
                raise EventLogError(f"{self.path} cannot be opened: {fault}") from fault
            self._files = undo.pop_all()
        self._closed = False
        self._stream_ids: dict[tuple[str, str], int] = {}  # the writer thread's own
        self._queue: SimpleQueue[tuple[_Operation, Future[Any]] | None] = SimpleQueue()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eventlog-read")
        self._writer = threading.Thread(target=self._write_forever, name="eventlog-write", daemon=True)
        self._writer.start()

    # -- the log ----------------------------------------------------------------------------------------------------

    async def tenants(self, stream: str) -> list[str]:
        """See :meth:`EventLog.tenants`."""
        rows = await self._read("SELECT tenant FROM streams WHERE name = ? AND last > 0 ORDER BY tenant", (stream,))
        return [tenant for (tenant,) in rows]

    async def append(self, tenant: str, stream: str, records: Sequence[bytes]) -> int:
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

        return await self._write(insert)

    async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        """See :meth:`EventLog.read`."""
        position = after
        while True:
            chunk = await self._read(
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
        rows = await self._read("SELECT last FROM streams WHERE tenant = ? AND name = ?", (tenant, stream))
        return int(rows[0][0]) if rows else 0

    async def trim(self, tenant: str, stream: str, up_to: int) -> None:
        """See :meth:`EventLog.trim`."""

        def delete(connection: sqlite3.Connection) -> int:
            identifier = self._stream_id(connection, tenant, stream)
            return connection.execute(
                "DELETE FROM records WHERE stream = ?1 AND position IN"
                " (SELECT position FROM records WHERE stream = ?1 AND position <= ?2 ORDER BY position LIMIT ?3)",
                (identifier, up_to, TRIM_PIECE),
            ).rowcount

        while await self._write(delete) == TRIM_PIECE:
            pass

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes) -> None:
        """See :meth:`EventLog.save_snapshot`."""

        def replace(connection: sqlite3.Connection) -> None:
            identifier = self._stream_id(connection, tenant, stream)
            connection.execute(
                "INSERT INTO snapshots (stream, owner, position, state) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (stream, owner) DO UPDATE SET position = ?3, state = ?4",
                (identifier, owner, position, state),
            )

        await self._write(replace)

    async def load_snapshot(self, tenant: str, stream: str, owner: str) -> tuple[int, bytes] | None:
        """See :meth:`EventLog.load_snapshot`."""
        rows = await self._read(
            "SELECT p.position, p.state FROM snapshots p JOIN streams s ON p.stream = s.id"
            " WHERE s.tenant = ? AND s.name = ? AND p.owner = ?",
            (tenant, stream, owner),
        )
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    async def close(self) -> None:
        """Write what waits, stop both threads and let the file go. Calling it twice does no harm."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._reader.shutdown)
        self._files.close()

    # -- threads ----------------------------------------------------------------------------------------------------

    async def _write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``operation`` in the writer's next transaction; returns when that is on disk."""
        self._check_open()
        future: Future[T] = Future()
        self._queue.put((operation, future))
        return await asyncio.wrap_future(future)

    async def _read(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        self._check_open()

        def fetch() -> list[Any]:
            try:
                return self._reading.execute(query, parameters).fetchall()
            except sqlite3.Error as fault:
                raise EventLogError(f"{self.path} cannot be read: {fault}") from fault

        return await asyncio.get_running_loop().run_in_executor(self._reader, fetch)

    def _check_open(self) -> None:
        if self._closed:
            raise EventLogError(f"{self.path} is closed")

    def _write_forever(self) -> None:
        """The writer thread: one transaction for all that waits, until the end mark."""
        while True:
            first = self._queue.get()
            if first is None:
                return
            group = [first]
            ended = False
            while len(group) < MAX_GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    ended = True
                    break
                group.append(following)
            # from here on a caller that gives up no longer stops its operation
            self._commit([(operation, future) for operation, future in group if future.set_running_or_notify_cancel()])
            if ended:
                return

    def _commit(self, group: list[tuple[_Operation, Future[Any]]]) -> None:
        """Commit all of a group; when that fails each alone, so that one bad operation does not take the others with it."""
        try:
            results = self._transact([operation for operation, _ in group])
        except Exception as fault:
            if len(group) == 1:
                error = EventLogError(f"{self.path} cannot be written: {fault}")
                error.__cause__ = fault
                group[0][1].set_exception(error)
                return
            for one in group:
                self._commit([one])
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _transact(self, operations: Sequence[_Operation]) -> list[Any]:
        connection = self._writing
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [operation(connection) for operation in operations]
            connection.execute("COMMIT")
        except BaseException:
            self._stream_ids.clear()  # what this transaction created is gone again
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _stream_id(self, connection: sqlite3.Connection, tenant: str, stream: str) -> int:
        key = (tenant, stream)
        identifier = self._stream_ids.get(key)
        if identifier is None:
            connection.execute("INSERT INTO streams (tenant, name) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            (identifier,) = connection.execute("SELECT id FROM streams WHERE tenant = ? AND name = ?", key).fetchone()
            self._stream_ids[key] = identifier
        return int(identifier)


def _lock(path: Path) -> int:
    """Take the lock beside the file for as long as the returned descriptor is open; the kernel lets it go when the process dies."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LogInUseError(
            f"{path} is in use by process {holder}: one data folder serves one hub; stop the other hub or give this one its own --data-dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for one thread to use at a time; transactions are begun by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")  # a long replay must not leave a giant WAL file behind
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise EventLogError(f"{path} was made by a later version: expected schema {SCHEMA_VERSION} or less, got {version}")
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
