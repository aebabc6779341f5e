"""The database of a running hub: its one writer, and its readers (docs/adr/one-writer.md)."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from hub.storage.interface import Backend, Connection, Operation, Row, StorageError, T, Transaction
from hub.storage.reasons import Reason
from hub.storage.writer import Counters, GroupWriter, undone

__all__ = ["Backend", "Connection", "Counters", "Operation", "Row", "StorageError", "T", "Transaction", "Transactions"]

READERS: Final = 4
"""Threads that read, each with a connection of its own."""


class Transactions:
    """The database of a running hub, for what it and its families keep in it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._writer = GroupWriter(backend, lambda connection, afterwards: Transaction(connection, backend.skip_locked, afterwards))
        self.counters = self._writer.counters
        self.condition = self._writer.condition
        """How the database is."""
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="database-read")
        self._reading = threading.local()
        self._opened: list[Connection] = []

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
        """Write what waits, stop every thread and close every connection. Calling it twice does no harm."""
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._backend.close()

    async def write(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the next transaction; returns its result when that is on disk. What it raises is raised here, and nothing of
        it is kept. A caller that is cancelled does not stop it.

        Raises:
            StorageError: the database cannot be written now, or too much waits for it.
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
            OSError, sqlite3.Error: it cannot be done now.
        """
        await asyncio.to_thread(self._backend.refresh)

    async def read(self, operation: Operation[T]) -> T:
        """Run ``operation`` on one moment of the database, beside the writer; it must not write.

        Raises:
            StorageError: the database cannot be read now.
        """
        if not self._writer.running:
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
        except StorageError as error:
            self.condition.failed(error)
            raise
        self._opened.append(connection)
        return self._read_on(connection, operation)

    def _read_on(self, connection: Connection, operation: Operation[T]) -> T:
        try:
            connection.begin_reading()
            result = operation(Transaction(connection, "", []))
            connection.execute("COMMIT")
        except Exception as error:
            given_up = self._backend.lost(error) or not undone(connection.roll_back)
            if given_up:
                self._reading.connection = None
                self._opened.remove(connection)
                connection.close()
            elif not self._backend.broken(error):
                raise
            else:
                self.condition.failed(error)
            raise StorageError(f"the database cannot be read: {error}") from error
        return result
