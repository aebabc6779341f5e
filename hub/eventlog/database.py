"""The database of a log: one writer that commits operations in groups, and readers. Faults are raised as errors of a log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from hub.eventlog.interface import EventLogError
from hub.storage.interface import Backend, Connection, StorageError
from hub.storage.readers import Readers
from hub.storage.reasons import Reason
from hub.storage.writer import GroupWriter

A = TypeVar("A")
"""The type of the object that operations and queries work on."""

T = TypeVar("T")


class LogDatabase(Generic[A]):
    """Runs the operations and queries of a log, which have no connections of their own."""

    def __init__(
        self,
        backend: Backend,
        hand: Callable[[Connection], A],
        *,
        name: str,
        shown: str,
        path: Path | None,
        max_group: int,
        max_waiting: int,
        readers: int,
        on_undo: Callable[[], object],
    ) -> None:
        """``hand`` makes the object that operations and queries work on from a connection. The names of the threads begin with ``name``.
        ``shown`` names the database in errors; ``path`` is its file, if it has one. ``max_group``, ``max_waiting`` and ``on_undo`` are
        those of :class:`hub.storage.writer.GroupWriter`.
        """
        self._backend = backend
        self._hand = hand
        self._name = name
        self._shown = shown
        self._path = path
        self._closed = False
        self._writer = GroupWriter(
            backend,
            lambda connection, _: hand(connection),
            max_group=max_group,
            max_waiting=max_waiting,
            optimistic=True,
            drop_cancelled=True,
            on_undo=on_undo,
        )
        self.condition = self._writer.condition
        """The state of the database."""
        self._readers = Readers(backend, self.condition, count=readers, name=f"{name}-read")

    def start(self, connection: Connection | None) -> None:
        """Begin to take operations. The writer owns ``connection`` from now on; without one it connects at its first operation."""
        self._writer.start(connection, f"{self._name}-write")

    @property
    def writers_connection(self) -> A:
        """The object that the writer's operations work on: for the writer's thread, and for tests that look at the database."""
        assert self._writer.connection is not None
        return self._hand(self._writer.connection)

    def check_open(self) -> None:
        """Raise EventLogError if the database is closed."""
        if self._closed:
            raise EventLogError(f"{self._shown} is closed", self._path)

    async def write(self, operation: Callable[[A], T]) -> T:
        """Run ``operation`` in the writer's next transaction, in the writer's thread; returns when it is on disk. It may run more than
        once, so it must change nothing but the database. If the caller is cancelled before its turn, the operation does not run.

        Raises:
            EventLogError: the operation failed and nothing of it was recorded, or the database is closed.
        """
        self.check_open()
        try:
            return await self._writer.submit(operation)
        except Exception as error:
            raise self._error("written", error) from (error.__cause__ or error)

    async def read(self, query: Callable[[A], T]) -> T:
        """Run ``query`` in a reader's thread, within a transaction that reads one snapshot of the database.

        Raises:
            EventLogError: the database cannot be read, or is closed.
        """
        self.check_open()
        try:
            return await self._readers.read(lambda connection: query(self._hand(connection)))
        except Exception as error:
            raise self._error("read", error) from (error.__cause__ or error)

    async def look(self) -> None:
        """See :meth:`hub.storage.writer.GroupWriter.look`.

        Raises:
            EventLogError: the database cannot be written, or is closed.
        """
        self.check_open()
        try:
            await self._writer.look()
        except StorageError as error:
            raise self._error("written", error) from error.__cause__

    async def trouble(self) -> Reason | None:
        """See :meth:`hub.storage.writer.GroupWriter.trouble`."""
        return await self._writer.trouble()

    async def refresh(self) -> None:
        """See :meth:`hub.storage.interface.Backend.refresh`.

        Raises:
            OSError, sqlite3.Error: the mark cannot be renewed now.
        """
        await asyncio.to_thread(self._backend.refresh)

    async def close(self) -> None:
        """Run the waiting operations, stop every thread and close every connection. It may be called twice."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._readers.stop)
        self._backend.close()

    def _error(self, done: str, error: Any) -> EventLogError:
        return EventLogError(f"{self._shown} cannot be {done}: {error.__cause__ or error}", self._path)
