"""What must not be lost: transactions of plain SQL, the same on SQLite and PostgreSQL (docs/architecture.md#durability).

A process has ONE writer thread. Everything that waits when the writer is free goes into one transaction of the database, each operation
below a savepoint of its own, so that a commit's fsync is shared by all that arrived during the one before, and one operation that is
refused takes no other with it. A caller hears of its result when that is on disk, not before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, Protocol, TypeVar

from hub.storage.condition import Condition
from hub.storage.text import check_text

T = TypeVar("T")

Row = tuple[Any, ...]

MAX_GROUP: Final = 256
"""Operations of one commit at most, so that the first of them does not wait for an endless queue."""

MAX_WAITING: Final = 10_000
"""Operations that may wait for the writer: a disk that stands still must not fill the memory."""

RETRIES: Final = 3
"""Times that an operation is tried again which the database gave up in favour of another process's."""

READERS: Final = 4
"""Threads that read, each with a connection of its own."""


class StorageError(Exception):
    """The database cannot be read or written now. Nothing of the operation was kept, unless the connection broke while committing."""


class Connection(Protocol):
    """One connection to a database, used by one thread at a time. Parameters stand as ``?`` in the SQL, on both databases."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; returns a DB-API cursor."""
        ...

    def begin_writing(self) -> None:
        """Begin a transaction that writes."""
        ...

    def begin_reading(self) -> None:
        """Begin a transaction that sees one moment of the database."""
        ...

    def roll_back(self) -> None:
        """End the transaction, if there still is one, and keep nothing of it."""
        ...

    def close(self) -> None:
        """Let it go, whatever state it is in."""
        ...


class Backend(Protocol):
    """A kind of database."""

    name: str
    """What the log calls the database."""

    skip_locked: str
    """What a ``SELECT`` of rows to be claimed ends with, so that two processes never wait for one another."""

    def connect(self) -> Connection:
        """A new connection.

        Raises:
            StorageError: the database cannot be reached.
        """
        ...

    def lost(self, fault: Exception) -> bool:
        """Whether the connection is of no use after this fault."""
        ...

    def broken(self, fault: Exception) -> bool:
        """Whether a fault is the database's, and not of what was asked of it: all that waits for it will fail likewise."""
        ...

    def check(self) -> None:
        """Raise OSError if what is committed now would be lost, for the database is not where it was."""
        ...

    def refresh(self) -> None:
        """Called from time to time, in any thread: renew that by which :meth:`check` knows the database."""
        ...

    def try_writing(self, connection: Connection) -> None:
        """Within a transaction, have the database write something that changes nothing; raises what it says when it cannot."""
        ...

    def again(self, fault: Exception) -> bool:
        """Whether the operation should be tried again: another process's was preferred to it."""
        ...

    def close(self) -> None:
        """Let go of what was taken when it was made."""
        ...


class Transaction:
    """What an operation works on. It runs in a thread of its own: it must not touch anything of the event loop's. Every statement raises
    :class:`hub.storage.text.NulTextError` for text with a NUL, on every database.
    """

    __slots__ = ("_connection", "afterwards", "skip_locked")

    def __init__(self, connection: Connection, skip_locked: str) -> None:
        self._connection = connection
        self.skip_locked = skip_locked
        self.afterwards: list[Callable[[], object]] = []

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, or of a statement with ``RETURNING``."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).fetchall()  # type: ignore[no-any-return]

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).fetchone()  # type: ignore[no-any-return]

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; returns how many rows it changed."""
        check_text(parameters)
        return self._connection.execute(sql, parameters).rowcount  # type: ignore[no-any-return]

    def after_commit(self, call: Callable[[], object]) -> None:
        """Have ``call`` run on the event loop as soon as this operation is on disk, before its caller goes on; never if it is not kept."""
        self.afterwards.append(call)


Operation = Callable[[Transaction], T]
"""A piece of work on the database. It may run more than once (:data:`RETRIES`): what it does lies in the database alone."""


@dataclass(slots=True)
class Counters:
    """What the writer counts; ``/metrics`` reads them."""

    operations: int = 0
    """Operations that were handed to the database's writer."""
    commits: int = 0
    """Transactions of the database: operations divided by this is the size of a group."""
    refused: int = 0
    """Operations that raised an exception, and of which nothing was kept."""
    retried: int = 0
    """Operations that were tried again because the database asked for it."""
    faults: int = 0
    """Groups that the database could not commit."""


class _Waiting(Generic[T]):
    """An operation, and who waits for it."""

    __slots__ = ("afterwards", "fault", "future", "operation", "result")

    def __init__(self, operation: Operation[T], future: asyncio.Future[T]) -> None:
        self.operation = operation
        self.future = future
        self.result: T | None = None
        self.fault: Exception | None = None
        self.afterwards: list[Callable[[], object]] = []


class Transactions:
    """The database of a running hub, for what families keep in it."""

    def __init__(self, backend: Backend) -> None:
        self.counters = Counters()
        self.condition = Condition(backend.name)
        """How the database is."""
        self._backend = backend
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: SimpleQueue[_Waiting[Any] | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="database-read")
        self._reading = threading.local()
        self._opened: list[Connection] = []

    @property
    def waiting(self) -> int:
        """Operations that wait for the writer."""
        return self._queue.qsize()

    async def start(self) -> None:
        """Begin to take operations.

        Raises:
            StorageError: the database cannot be reached.
        """
        self._loop = asyncio.get_running_loop()
        self._connection = await asyncio.to_thread(self._backend.connect)
        self._thread = threading.Thread(target=self._write_forever, name="database-write", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what waits, stop every thread and close every connection. Calling it twice does no harm."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in (self._connection, *self._opened):
            if connection is not None:
                connection.close()
        self._connection = None
        self._opened.clear()
        self._backend.close()

    async def write(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the next transaction; returns its result when that is on disk. What it raises is raised here, and nothing of
        it is kept. A caller that is cancelled does not stop it.

        Raises:
            StorageError: the database cannot be written now, or too much waits for it.
        """
        if self._thread is None or self._loop is None:
            raise StorageError("the database is not open")
        if self._queue.qsize() >= MAX_WAITING:
            raise StorageError(f"the database does not keep up: {MAX_WAITING} operations wait for it")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Waiting(operation, future))
        return await future

    async def look(self) -> None:
        """Find out how the database is, and leave it to :attr:`condition`. While it is in trouble something is written, else a transaction
        begins and ends.

        Raises:
            StorageError: it cannot be written.
        """

        def attempt(_: Transaction) -> None:
            if self.condition.trouble is not None and self._connection is not None:
                self._backend.try_writing(self._connection)

        await self.write(attempt)

    async def refresh(self) -> None:
        """See :meth:`Backend.refresh`.

        Raises:
            OSError, sqlite3.Error: it cannot be done now.
        """
        await asyncio.to_thread(self._backend.refresh)

    async def read(self, operation: Operation[T]) -> T:
        """Run ``operation`` on one moment of the database, beside the writer; it must not write.

        Raises:
            StorageError: the database cannot be read now.
        """
        if self._thread is None:
            raise StorageError("the database is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, operation)

    # -- the readers' threads ---------------------------------------------------------------------------------------

    def _read(self, operation: Operation[T]) -> T:
        if getattr(self._reading, "connection", None) is not None:
            try:
                return self._read_on(self._reading.connection, operation)
            except StorageError:
                if self._reading.connection is not None:
                    raise
                # it had lain idle, and was ended meanwhile: nothing was written, so it may be done again
        try:
            connection = self._reading.connection = self._backend.connect()
        except StorageError as fault:
            self.condition.failed(fault)
            raise
        self._opened.append(connection)
        return self._read_on(connection, operation)

    def _read_on(self, connection: Connection, operation: Operation[T]) -> T:
        try:
            connection.begin_reading()
            result = operation(Transaction(connection, ""))
            connection.execute("COMMIT")
        except Exception as fault:
            given_up = self._backend.lost(fault) or not _undone(connection.roll_back)
            if given_up:
                self._reading.connection = None
                self._opened.remove(connection)
                connection.close()
            elif not self._backend.broken(fault):
                raise
            else:
                self.condition.failed(fault)
            raise StorageError(f"the database cannot be read: {fault}") from fault
        return result

    # -- the writer's thread ----------------------------------------------------------------------------------------

    def _write_forever(self) -> None:
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
            self._commit(group)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_settle, group)
            if ended:
                return

    def _commit(self, group: Sequence[_Waiting[Any]]) -> None:
        """Commit all of a group, or tell all of it that the database could not."""
        counters = self.counters
        counters.operations += len(group)
        try:
            connection = self._connection = self._connection or self._backend.connect()
            self._backend.check()
            connection.begin_writing()
            for each in group:
                self._run(each, connection)
            connection.execute("COMMIT")
            self._backend.check()
        except Exception as fault:
            counters.faults += 1
            self.condition.failed(fault)
            if self._connection is not None and (self._backend.lost(fault) or not _undone(self._connection.roll_back)):
                self._connection.close()
                self._connection = None
            for each in group:
                # who was refused already is told why; of the others nothing was kept
                if each.fault is None:
                    each.fault = StorageError(f"the database cannot be written: {fault}")
                    each.fault.__cause__ = fault
            return
        counters.commits += 1
        self.condition.worked()

    def _run(self, each: _Waiting[Any], connection: Connection) -> None:
        """Run one operation below a savepoint: what it raises is its own, unless the connection is lost, which is raised."""
        for attempt in range(RETRIES + 1):
            transaction = Transaction(connection, self._backend.skip_locked)
            connection.execute("SAVEPOINT operation")
            try:
                each.result = each.operation(transaction)
            except Exception as fault:
                # SQLite undoes all of a transaction by itself when the disk is full: no savepoint is left then to go back to
                database_s = self._backend.lost(fault) or self._backend.broken(fault)
                if database_s or not _undone(lambda: connection.execute("ROLLBACK TO SAVEPOINT operation")):
                    raise
                if attempt < RETRIES and self._backend.again(fault):
                    self.counters.retried += 1
                    continue
                self.counters.refused += 1
                each.fault = fault
            else:
                each.afterwards = transaction.afterwards
            connection.execute("RELEASE SAVEPOINT operation")
            return


def _undone(undo: Callable[[], object]) -> bool:
    """Whether the connection could be brought back to where it was before what failed."""
    try:
        undo()
    except Exception:
        return False  # the caller gives the connection up, and tells of the fault that led here
    return True


def _settle(group: Sequence[_Waiting[Any]]) -> None:
    """On the event loop: what was to happen after the commit, then the callers."""
    for each in group:
        if each.fault is None:
            for call in each.afterwards:
                call()
    for each in group:
        if each.future.done():  # its caller was cancelled
            continue
        if each.fault is not None:
            each.future.set_exception(each.fault)
        else:
            each.future.set_result(each.result)
