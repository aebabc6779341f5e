"""The one thread that writes to a database (docs/adr/one-writer.md).

The writer runs all waiting operations in one transaction, so that operations that arrived during the last commit share the fsync of the
next one. If one operation fails, the others are still kept. A caller gets its result when it is on disk, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from hub.storage.condition import Condition
from hub.storage.interface import Backend, Connection, StorageError, T
from hub.storage.reasons import Reason

A = TypeVar("A")
"""The type of the object that operations work on."""

ANSWER_S: Final = 1.0
"""Seconds after which a transaction that has not begun counts as blocked: less than the time-out of a probe of ``/readyz``."""

RETRIES: Final = 3
"""Times that an operation is tried again after the database rolled it back because of a conflict with another process."""


@dataclass(slots=True)
class Counters:
    """What the writer counts; ``/metrics`` reads them."""

    operations: int = 0
    """Operations that were handed to the database's writer."""
    commits: int = 0
    """Transactions of the database: operations divided by this is the size of a group."""
    refused: int = 0
    """Operations that raised an exception, and of which nothing was kept."""
    blocked: int = 0
    """Operations that were given up because another session held a lock, or because they took too long: `database_lock_s`,
    `database_statement_s`.
    """
    retried: int = 0
    """Operations that were tried again because the database asked for it."""
    faults: int = 0
    """Groups that the database could not commit."""


class _Waiting(Generic[A, T]):
    """An operation, and the future that its caller waits for."""

    __slots__ = ("afterwards", "error", "future", "operation", "result")

    def __init__(self, operation: Callable[[A], T], future: asyncio.Future[T]) -> None:
        self.operation = operation
        self.future = future
        self.result: T | None = None
        self.error: Exception | None = None
        self.afterwards: Sequence[Callable[[], object]] = ()


class _InTheWayError(Exception):
    """Operations of a group hold locks that another process waits for, while one of them waits for that process."""


class GroupWriter(Generic[A]):
    """Runs the write operations of a process. Callers may be on several event loops. An operation runs in the writer's thread, perhaps more
    than once, so it must change nothing but the database.
    """

    __slots__ = (
        "_backend",
        "_begins",
        "_drop_cancelled",
        "_hand",
        "_max_group",
        "_max_waiting",
        "_on_undo",
        "_optimistic",
        "_queue",
        "_thread",
        "condition",
        "connection",
        "counters",
    )

    def __init__(
        self,
        backend: Backend,
        hand: Callable[[Connection, list[Callable[[], object]]], A],
        *,
        max_group: int,
        max_waiting: int,
        optimistic: bool = False,
        drop_cancelled: bool = False,
        on_undo: Callable[[], object] = lambda: None,
    ) -> None:
        """Make a writer; it takes operations from :meth:`start` on.

        Args:
            backend: the kind of database.
            hand: makes the object that an operation works on, from the connection and a list. The functions in that list are called on the
                caller's event loop when the operation is on disk, before the caller gets its result.
            max_group: operations that share a commit at most, so that the first one does not wait for an endless queue.
            max_waiting: operations that may wait, so that the queue does not fill the memory while the disk does not answer.
            optimistic: operations rarely fail, so run a group without savepoints first, and again with savepoints if one fails.
            drop_cancelled: do not run an operation whose caller was cancelled before its turn.
            on_undo: called in the writer's thread when the work of operations is rolled back.
        """
        self.counters = Counters()
        self.condition = Condition(backend.name)
        """The state of the database."""
        self.connection: Connection | None = None
        """The writer's connection; None before the start, and after an error because of which it was closed."""
        self._max_waiting = max_waiting
        self._backend = backend
        self._hand = hand
        self._max_group = max_group
        self._optimistic = optimistic
        self._drop_cancelled = drop_cancelled
        self._on_undo = on_undo
        self._queue: SimpleQueue[_Waiting[A, Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._begins = False
        """Whether the writer is waiting for a transaction to begin, because of a lock of another process or a slow server."""

    @property
    def waiting(self) -> int:
        """Operations that wait for the writer."""
        return self._queue.qsize()

    @property
    def running(self) -> bool:
        """Whether the writer takes operations."""
        return self._thread is not None

    def start(self, connection: Connection | None, name: str) -> None:
        """Begin to take operations. The writer owns ``connection`` from now on; without one it connects at its first operation. ``name`` is
        the name of the thread.
        """
        self.connection = connection
        self._thread = threading.Thread(target=self._write_forever, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Run the waiting operations, then end the thread and close its connection. It blocks until then, and may be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def submit(self, operation: Callable[[A], T]) -> asyncio.Future[T]:
        """Run ``operation`` in the next transaction. The future gets its result when that is on disk. If the operation raises an error, the
        future gets that error and nothing of the operation is kept. If the database cannot be written, it gets a StorageError.

        Raises:
            StorageError: the writer takes no operations, or too many are waiting.
        """
        if self._thread is None:
            raise StorageError("the database is not open")
        if self._queue.qsize() >= self._max_waiting:
            raise StorageError(f"the database does not keep up: {self._max_waiting} operations wait for it")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(operation, future))
        return future

    async def look(self) -> None:
        """Check the database and update :attr:`condition`. The check is an empty transaction; while the database is in trouble, it also
        writes something.

        Raises:
            StorageError: the database cannot be written.
        """

        def attempt(_: A) -> None:
            if self.condition.trouble is not None and self.connection is not None:
                self._backend.try_writing(self.connection)

        await self.submit(attempt)

    async def trouble(self) -> Reason | None:
        """What is wrong with the database now; None if nothing is. That is the fault of the last operation, or that no transaction began
        within :data:`ANSWER_S`, long before the waiting operations fail.
        """
        if self.condition.trouble is None:
            with contextlib.suppress(StorageError, TimeoutError):  # the condition is set, or the next lines decide
                async with asyncio.timeout(ANSWER_S):
                    await self.look()
                return self.condition.trouble
            if self.condition.trouble is None and self._begins:
                return self._backend.unanswered
        return self.condition.trouble

    # -- the writer's thread ----------------------------------------------------------------------------------------

    def _write_forever(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            group = [first]
            ended = False
            while len(group) < self._max_group and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    ended = True
                    break
                group.append(following)
            if self._drop_cancelled:  # from here on, an operation runs even if its caller is cancelled
                group = [each for each in group if not each.future.cancelled()]
            if group:
                self._commit(group)
                _notify(group)
            if ended:
                return

    def _commit(self, group: Sequence[_Waiting[A, Any]]) -> None:
        """Run and commit a group. If the database cannot commit it, each operation of the group gets the error."""
        self.counters.operations += len(group)
        self._try(group)

    def _try(self, group: Sequence[_Waiting[A, Any]]) -> None:
        counters = self.counters
        try:
            connection = self.connection = self.connection or self._backend.connect()
            self._backend.check()
            if not self._optimistic or not self._run_together(group, connection):
                self._begin(connection)
                for each in group:
                    self._run_alone(each, connection, last_resort=len(group) == 1)
            connection.execute("COMMIT")
            self._backend.check()  # otherwise the commit may have gone to a deleted file
        except _InTheWayError:
            self._apart(group)
            return
        except Exception as error:
            counters.faults += 1
            self.condition.failed(error)
            self._on_undo()
            if self.connection is not None and (self._backend.lost(error) or not undone(self.connection.roll_back)):
                self.connection.close()
                self.connection = None
            for each in group:
                each.afterwards = ()
                # an operation that failed by itself keeps its own error
                if each.error is None:
                    each.error = StorageError(f"the database cannot be written: {error}")
                    each.error.__cause__ = error
            return
        counters.commits += 1
        self.condition.worked()

    def _apart(self, group: Sequence[_Waiting[A, Any]]) -> None:
        """Give back every lock, and run each operation of a group in a transaction of its own."""
        self._on_undo()
        if self.connection is not None and not undone(self.connection.roll_back):
            self.connection.close()
            self.connection = None
        for each in group:
            each.error, each.afterwards = None, ()
        for each in group:
            self._try([each])

    def _begin(self, connection: Connection) -> None:
        self._begins = True
        try:
            connection.begin_writing()
        finally:
            self._begins = False

    def _run_together(self, group: Sequence[_Waiting[A, Any]], connection: Connection) -> bool:
        """Run a group in a transaction without savepoints. Returns False if an operation raised an error of its own; the whole group is
        rolled back then. Errors of the database are raised.
        """
        self._begin(connection)
        afterwards: list[Callable[[], object]] = []
        handed = self._hand(connection, afterwards)
        try:
            for each in group:
                each.result = each.operation(handed)
                if afterwards:
                    each.afterwards = tuple(afterwards)
                    afterwards.clear()
        except Exception as error:
            if self._backend.lost(error) or self._backend.broken(error):
                raise
            self._on_undo()
            for each in group:
                each.afterwards = ()
            connection.roll_back()
            return False
        return True

    def _run_alone(self, each: _Waiting[A, Any], connection: Connection, *, last_resort: bool) -> None:
        """Run one operation within a savepoint. An error of its own is stored with the operation; an error of the database is raised.

        ``last_resort``: it has the transaction for itself. A deadlock with another process is over then when the savepoint is undone.
        Otherwise operations before it in the group may hold the locks that the other process waits for.

        Raises:
            _InTheWayError: there was a deadlock, and it is not the last resort.
        """
        for attempt in range(RETRIES + 1):
            afterwards: list[Callable[[], object]] = []
            connection.execute("SAVEPOINT operation")
            try:
                each.result = each.operation(self._hand(connection, afterwards))
            except Exception as error:
                # when the disk is full, SQLite rolls back the whole transaction by itself, and the savepoint with it
                database_s = self._backend.lost(error) or self._backend.broken(error)
                if database_s or not undone(lambda: connection.execute("ROLLBACK TO SAVEPOINT operation")):
                    raise
                self._on_undo()
                again = self._backend.again(error)
                if again and not last_resort:
                    self.counters.retried += 1
                    raise _InTheWayError from error
                if again and attempt < RETRIES:
                    self.counters.retried += 1
                    continue
                if again or self._backend.blocked(error):
                    self.counters.blocked += 1
                    each.error = StorageError(f"the database did not do it in time: {error}")
                    each.error.__cause__ = error
                else:
                    self.counters.refused += 1
                    each.error = error
            else:
                each.afterwards = afterwards
            connection.execute("RELEASE SAVEPOINT operation")
            return


def undone(undo: Callable[[], object]) -> bool:
    """Call ``undo``, which rolls something back; returns whether it succeeded."""
    try:
        undo()
    except Exception:
        return False  # the caller closes the connection, and reports the error that came first
    return True


def _notify(group: Sequence[_Waiting[Any, Any]]) -> None:
    """Give the callers their results, with one call for each event loop: waking a loop costs more than an operation."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting[Any, Any]]] = {}
    for each in group:
        by_loop.setdefault(each.future.get_loop(), []).append(each)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting)
        except RuntimeError:
            if not loop.is_closed():  # callers of a closed loop no longer wait
                raise


def _settle(group: Sequence[_Waiting[Any, Any]]) -> None:
    """On the event loop: run the calls that were due after the commit, then give the callers their results."""
    for each in group:
        for call in each.afterwards:
            call()
    for each in group:
        if each.future.done():  # its caller was cancelled
            continue
        if each.error is not None:
            each.future.set_exception(each.error)
        else:
            each.future.set_result(each.result)
