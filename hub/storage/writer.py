"""The one thread that writes to a database (docs/adr/one-writer.md).

Everything that waits when the writer is free goes into one transaction, so that a commit's fsync is shared by all that arrived during the
one before, and one operation that is refused takes no other with it. A caller hears of its result when that is on disk, not before.
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
"""What operations work on."""

ANSWER_S: Final = 1.0
"""Seconds within which a transaction begins, unless another process keeps it waiting: less than a probe of ``/readyz`` waits."""

RETRIES: Final = 3
"""Times that an operation is tried again which the database gave up in favour of another process's."""


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


class _Waiting(Generic[A, T]):
    """An operation, and who waits for it."""

    __slots__ = ("afterwards", "error", "future", "operation", "result")

    def __init__(self, operation: Callable[[A], T], future: asyncio.Future[T]) -> None:
        self.operation = operation
        self.future = future
        self.result: T | None = None
        self.error: Exception | None = None
        self.afterwards: Sequence[Callable[[], object]] = ()


class GroupWriter(Generic[A]):
    """Writes for a process. Callers may wait on several event loops. An operation runs in the writer's thread, and it may run more than
    once: what it does lies in the database alone.
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
        """``hand`` makes what an operation works on of the connection, and of a list of what is to be called on the caller's event loop
        when the operation is on disk, before the caller goes on. At most ``max_group`` operations share a commit, so that the first of them
        does not wait for an endless queue; at most ``max_waiting`` wait, so that a disk that stands still does not fill the memory.
        ``optimistic``: operations are hardly ever refused, so a group is first
        run without savepoints, and once more with them when one of it was. ``drop_cancelled``: an operation whose caller gave up before
        its turn is not run. ``on_undo`` runs in the writer's thread when something that operations did is undone.
        """
        self.counters = Counters()
        self.condition = Condition(backend.name)
        """How the database is."""
        self.connection: Connection | None = None
        """The writer's own; None before the start, and after an error by which it was given up."""
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
        """Whether it waits for a transaction to begin: for a lock of another process, or for a server."""

    @property
    def waiting(self) -> int:
        """Operations that wait for the writer."""
        return self._queue.qsize()

    @property
    def running(self) -> bool:
        """Whether operations are taken."""
        return self._thread is not None

    def start(self, connection: Connection | None, name: str) -> None:
        """Begin to take operations, on a connection that is the writer's from now on; without one the writer connects at its first
        operation. ``name`` is the thread's.
        """
        self.connection = connection
        self._thread = threading.Thread(target=self._write_forever, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, then end the thread and close its connection. It blocks until then; calling it twice does no harm."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def submit(self, operation: Callable[[A], T]) -> asyncio.Future[T]:
        """Have ``operation`` run in the next transaction; the future gets its result when that is on disk, or what it raised, and then
        nothing of it is kept; or a StorageError when the database cannot be written now.

        Raises:
            StorageError: it takes no operations, or too much waits for it.
        """
        if self._thread is None:
            raise StorageError("the database is not open")
        if self._queue.qsize() >= self._max_waiting:
            raise StorageError(f"the database does not keep up: {self._max_waiting} operations wait for it")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Waiting(operation, future))
        return future

    async def look(self) -> None:
        """Find out how the database is, and leave it to :attr:`condition`. While it is in trouble something is written, else a transaction
        begins and ends.

        Raises:
            StorageError: it cannot be written.
        """

        def attempt(_: A) -> None:
            if self.condition.trouble is not None and self.connection is not None:
                self._backend.try_writing(self.connection)

        await self.submit(attempt)

    async def trouble(self) -> Reason | None:
        """How the database is now, None when well: what its users saw last, or that no transaction began within :data:`ANSWER_S`, long
        before they give up.
        """
        if self.condition.trouble is None:
            with contextlib.suppress(StorageError, TimeoutError):  # the condition tells, or what follows
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
            if self._drop_cancelled:  # from here on a caller that gives up no longer stops its operation
                group = [each for each in group if not each.future.cancelled()]
            if group:
                self._commit(group)
                _notify(group)
            if ended:
                return

    def _commit(self, group: Sequence[_Waiting[A, Any]]) -> None:
        """Commit all of a group, or leave with all of it why the database could not."""
        counters = self.counters
        counters.operations += len(group)
        try:
            connection = self.connection = self.connection or self._backend.connect()
            self._backend.check()
            if not self._optimistic or not self._run_together(group, connection):
                self._begin(connection)
                for each in group:
                    self._run_alone(each, connection)
            connection.execute("COMMIT")
            self._backend.check()  # else what was committed is in a file that nobody will read
        except Exception as error:
            counters.faults += 1
            self.condition.failed(error)
            self._on_undo()
            if self.connection is not None and (self._backend.lost(error) or not undone(self.connection.roll_back)):
                self.connection.close()
                self.connection = None
            for each in group:
                each.afterwards = ()
                # an operation that was refused keeps its own error; nothing of the others was kept
                if each.error is None:
                    each.error = StorageError(f"the database cannot be written: {error}")
                    each.error.__cause__ = error
            return
        counters.commits += 1
        self.condition.worked()

    def _begin(self, connection: Connection) -> None:
        self._begins = True
        try:
            connection.begin_writing()
        finally:
            self._begins = False

    def _run_together(self, group: Sequence[_Waiting[A, Any]], connection: Connection) -> bool:
        """Run a group in a transaction without savepoints. False where an operation raised what is its own: all of the group is undone
        then. What is the database's is raised.
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

    def _run_alone(self, each: _Waiting[A, Any], connection: Connection) -> None:
        """Run one operation below a savepoint: what it raises is its own, unless the connection is lost, which is raised."""
        for attempt in range(RETRIES + 1):
            afterwards: list[Callable[[], object]] = []
            connection.execute("SAVEPOINT operation")
            try:
                each.result = each.operation(self._hand(connection, afterwards))
            except Exception as error:
                # SQLite undoes all of a transaction by itself when the disk is full: no savepoint is left then to go back to
                database_s = self._backend.lost(error) or self._backend.broken(error)
                if database_s or not undone(lambda: connection.execute("ROLLBACK TO SAVEPOINT operation")):
                    raise
                self._on_undo()
                if attempt < RETRIES and self._backend.again(error):
                    self.counters.retried += 1
                    continue
                self.counters.refused += 1
                each.error = error
            else:
                each.afterwards = afterwards
            connection.execute("RELEASE SAVEPOINT operation")
            return


def undone(undo: Callable[[], object]) -> bool:
    """Whether the connection could be brought back to where it was before what failed."""
    try:
        undo()
    except Exception:
        return False  # the caller gives the connection up, and tells of the error that led here
    return True


def _notify(group: Sequence[_Waiting[Any, Any]]) -> None:
    """Notify those who wait, all of a loop in one go: waking a loop costs more than an operation."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting[Any, Any]]] = {}
    for each in group:
        by_loop.setdefault(each.future.get_loop(), []).append(each)
    for loop, waiting in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, waiting)
        except RuntimeError:
            if not loop.is_closed():  # who waited there waits no more
                raise


def _settle(group: Sequence[_Waiting[Any, Any]]) -> None:
    """On the event loop: what was to happen after the commit, then the callers."""
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
