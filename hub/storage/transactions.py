"""The database of a running hub: one writer and several readers (docs/adr/one-writer.md)."""

from __future__ import annotations

import asyncio

from hub.storage.interface import Backend, Connection, Operation, Row, StorageError, T, Transaction, marks
from hub.storage.readers import Readers
from hub.storage.reasons import Reason
from hub.storage.writer import Counters, GroupWriter

__all__ = ["Backend", "Connection", "Counters", "Operation", "Row", "StorageError", "T", "Transaction", "Transactions", "marks"]


class Transactions:
    """The database of a running hub, in which the hub and its families keep their rows."""

    def __init__(self, backend: Backend, *, readers: int = 4, max_group: int = 256, max_waiting: int = 10_000) -> None:
        """``readers`` is the number of reading threads. For the other arguments see :class:`hub.storage.writer.GroupWriter`."""
        self._backend = backend
        self._writer = GroupWriter(
            backend,
            lambda connection, afterwards: Transaction(connection, backend.skip_locked, afterwards),
            max_group=max_group,
            max_waiting=max_waiting,
        )
        self.counters = self._writer.counters
        self.condition = self._writer.condition
        """The state of the database."""
        self._readers = Readers(backend, self.condition, count=readers, name="database-read")

    @property
    def waiting(self) -> int:
        """Operations that wait for the writer."""
        return self._writer.waiting

    async def start(self) -> None:
        """Begin to take operations.

        Raises:
            StorageError: the database cannot be reached.
        """
        self._writer.start(await asyncio.to_thread(self._backend.connect), "database-write")

    async def stop(self) -> None:
        """Run the waiting operations, stop every thread and close every connection. It may be called twice."""
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._readers.stop)
        self._backend.close()

    async def write(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the next transaction; returns its result when that is on disk. If it raises an error, that is raised here
        and nothing of the operation is kept. If the caller is cancelled, the operation runs all the same.

        Raises:
            StorageError: the database cannot be written now, or too many operations wait for it.
        """
        return await self._writer.submit(operation)

    async def look(self) -> None:
        """See :meth:`hub.storage.writer.GroupWriter.look`."""
        await self._writer.look()

    async def trouble(self) -> Reason | None:
        """See :meth:`hub.storage.writer.GroupWriter.trouble`."""
        return await self._writer.trouble()

    async def refresh(self) -> None:
        """See :meth:`Backend.refresh`.

        Raises:
            OSError, sqlite3.Error: the mark cannot be renewed now.
        """
        await asyncio.to_thread(self._backend.refresh)

    async def read(self, operation: Operation[T]) -> T:
        """Run ``operation`` on one snapshot of the database, beside the writer; it must not write.

        Raises:
            StorageError: the database cannot be read now.
        """
        if not self._writer.running:
            raise StorageError("the database is not open")
        return await self._readers.read(lambda connection: operation(Transaction(connection, "", [])))
