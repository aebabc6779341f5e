"""One SQLite file of the hub: one writer thread, one reader thread, one process.

Durability (docs/architecture.md#durability): WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE``. Everything that waits when the writer is free
goes into one transaction, so that a commit's fsync is shared by all that arrived during the one before: the busier the file, the larger the
groups, and a lone write waits for nobody.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from hub.eventlog.interface import EventLogError, LogInUseError, NewerFileError
from hub.storage.condition import Condition
from hub.storage.identity import FileIdentity
from hub.storage.lock import InUseError, lock
from hub.storage.reasons import FileChangedError, of_sqlite

T = TypeVar("T")

MAX_GROUP = 512
"""Operations of one transaction at most, so that the first of them does not wait for an endless queue."""

Operation = Callable[[sqlite3.Connection], T]
"""Runs inside the writer's transaction, in the writer's thread."""


class _Write(Generic[T]):
    """An operation, and who waits for it."""

    __slots__ = ("fault", "future", "operation", "result")

    def __init__(self, operation: Operation[T], future: asyncio.Future[T]) -> None:
        self.operation = operation
        self.future = future
        self.result: T | None = None
        self.fault: EventLogError | None = None


def _tell(group: Sequence[_Write[Any]]) -> None:
    """Tell those who wait, all of a loop in one go: waking a loop costs more than an operation."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Write[Any]]] = {}
    for write in group:
        by_loop.setdefault(write.future.get_loop(), []).append(write)
    for loop, writes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, writes)
        except RuntimeError:
            if not loop.is_closed():  # who waited there waits no more
                raise


def _settle(writes: Sequence[_Write[Any]]) -> None:
    for write in writes:
        if write.future.done():  # its caller has given up
            continue
        if write.fault is not None:
            write.future.set_exception(write.fault)
        else:
            write.future.set_result(write.result)


class SqliteFile:
    """A file that this process alone has open (mode 0600). Its users hand it operations and queries; none of them touches a connection.

    Raises:
        LogInUseError: another process (or another object of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    def __init__(
        self,
        path: Path,
        *,
        schema: str,
        version: int,
        migrations: Mapping[int, str] = MappingProxyType({}),
        on_rollback: Callable[[], object] = lambda: None,
    ) -> None:
        """``schema``: statements that make what is not there yet; ``version``: ``PRAGMA user_version``, a file of a later one is refused
        rather than guessed at; ``migrations``: for each earlier version the statements that make the next one of it, which run before
        ``schema`` and in one transaction with it; ``on_rollback`` runs in the writer's thread when what a transaction did is undone.
        """
        self.path = path
        self._on_rollback = on_rollback
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = lock(path)
        except InUseError as fault:
            raise LogInUseError(str(fault)) from None
        except OSError as fault:
            raise EventLogError(f"{path} cannot be opened: {fault}", path) from fault
        with ExitStack() as undo:
            undo.callback(os.close, self._lock)
            try:
                self.identity = undo.enter_context(closing(FileIdentity(path)))
                self.writing = undo.enter_context(closing(_connect(path)))
                _prepare(self.writing, path, schema, version, migrations)
                self.reading = undo.enter_context(closing(_connect(path)))
                self.identity.opened(self.writing.execute)
                self.identity.look_through(self.writing.execute)
                self.identity.stamp()
            except (OSError, sqlite3.Error) as fault:
                raise EventLogError(f"{path} cannot be opened: {fault}", path) from fault
            self._files = undo.pop_all()
        self.condition = Condition(path.name)
        """How the file is."""
        self._closed = False
        self._queue: SimpleQueue[_Write[Any] | None] = SimpleQueue()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"{path.stem}-read")
        self._writer = threading.Thread(target=self._write_forever, name=f"{path.stem}-write", daemon=True)
        self._writer.start()

    def check_open(self) -> None:
        """Raise EventLogError if the file is closed."""
        if self._closed:
            raise EventLogError(f"{self.path} is closed")

    async def write(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the writer's next transaction; returns when that is on disk.

        Raises:
            EventLogError: it was refused, and nothing of it was recorded; or the file is closed.
        """
        self.check_open()
        write: _Write[T] = _Write(operation, asyncio.get_running_loop().create_future())
        self._queue.put(write)
        return await write.future

    async def read(self, query: Operation[T]) -> T:
        """Run ``query`` in the reader's thread.

        Raises:
            EventLogError: the file cannot be read, or is closed.
        """
        self.check_open()

        def fetch() -> T:
            try:
                return query(self.reading)
            except sqlite3.Error as fault:
                if of_sqlite(fault) is not None:
                    self.condition.failed(fault)
                raise EventLogError(f"{self.path} cannot be read: {fault}", self.path) from fault

        return await asyncio.get_running_loop().run_in_executor(self._reader, fetch)

    async def rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        """All rows of one query; see :meth:`read`."""
        return await self.read(lambda connection: connection.execute(query, parameters).fetchall())

    async def look(self) -> None:
        """Find out how the file is, and leave it to :attr:`condition`. While it is in trouble a page is written anew as it is, else a
        transaction begins and ends.

        Raises:
            EventLogError: it cannot be written, or is closed.
        """

        def attempt(connection: sqlite3.Connection) -> None:
            if self.condition.trouble is not None:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute(f"PRAGMA user_version = {version}")

        await self.write(attempt)

    async def refresh(self) -> None:
        """See :meth:`hub.storage.identity.FileIdentity.stamp`.

        Raises:
            OSError, sqlite3.Error: it cannot be done now.
        """
        await asyncio.to_thread(self.identity.stamp)

    async def close(self) -> None:
        """Write what waits, stop both threads and let the file go. Calling it twice does no harm."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._reader.shutdown)
        self._files.close()

    # -- the writer's thread ----------------------------------------------------------------------------------------

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
            group = [write for write in group if not write.future.cancelled()]
            self._commit(group)
            _tell(group)
            if ended:
                return

    def _commit(self, group: list[_Write[Any]]) -> None:
        """Commit all of a group; when that fails each alone, so that one bad operation does not take the others with it."""
        try:
            results = self._transact([write.operation for write in group])
        except Exception as fault:
            if len(group) == 1:
                group[0].fault = EventLogError(f"{self.path} cannot be written: {fault}", self.path)
                group[0].fault.__cause__ = fault
                if of_sqlite(fault) is not None:
                    self.condition.failed(fault)
                return
            if isinstance(fault, FileChangedError):
                # the same for each; and what was committed already must not be done twice
                self.condition.failed(fault)
                for one in group:
                    one.fault = EventLogError(f"{self.path} cannot be written: {fault}", self.path)
                    one.fault.__cause__ = fault
                return
            for one in group:
                self._commit([one])
            return
        for write, result in zip(group, results, strict=True):
            write.result = result
        if group:
            self.condition.worked()

    def _transact(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        connection = self.writing
        self.identity.check()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [operation(connection) for operation in operations]
            connection.execute("COMMIT")
        except BaseException:
            self._on_rollback()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.identity.check()  # else what was committed is in a file that nobody will read
        return results


def _connect(path: Path) -> sqlite3.Connection:
    """A connection for one thread to use at a time; transactions are begun by hand."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 67108864")  # a long replay must not leave a giant WAL file behind
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, schema: str, known: int, migrations: Mapping[int, str]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > known:
        raise NewerFileError(f"{path} was made by a later version: expected schema {known} or less, got {version}", path)
    steps = "".join(migrations[step] for step in range(version, known)) if version else ""  # 0: a file that has nothing yet
    connection.executescript(f"BEGIN IMMEDIATE; {steps} {schema} PRAGMA user_version = {known}; COMMIT;")
