"""Threads that read a database beside its writer, each with a connection of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hub.storage.condition import Condition
from hub.storage.interface import Backend, Connection, StorageError, T
from hub.storage.writer import undone


class Readers:
    """A pool of reading threads. Each one connects at its first operation, and again after its connection was lost."""

    __slots__ = ("_backend", "_condition", "_local", "_opened", "_threads")

    def __init__(self, backend: Backend, condition: Condition, *, count: int, name: str) -> None:
        """Make ``count`` threads, whose names begin with ``name``. ``condition`` is updated when the database has a fault."""
        self._backend = backend
        self._condition = condition
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
        self._local = threading.local()
        self._opened: list[Connection] = []

    async def read(self, operation: Callable[[Connection], T]) -> T:
        """Run ``operation`` in a thread, within a transaction that reads one snapshot of the database; it must not write. If the connection
        is lost, the operation runs once more on a new one.

        Raises:
            StorageError: the database cannot be read now.
            Exception: the error that the operation raised.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, operation)

    def stop(self) -> None:
        """Wait until the operations that have begun are done, and close every connection. It blocks, and may be called twice."""
        self._threads.shutdown()
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    def _read(self, operation: Callable[[Connection], T]) -> T:
        if getattr(self._local, "connection", None) is not None:
            try:
                return self._read_on(self._local.connection, operation)
            except StorageError:
                if self._local.connection is not None:
                    raise
                # the connection was lost while it was idle; reading changes nothing, so it may be repeated
        try:
            connection = self._local.connection = self._backend.connect()
        except StorageError as error:
            self._condition.failed(error)
            raise
        self._opened.append(connection)
        return self._read_on(connection, operation)

    def _read_on(self, connection: Connection, operation: Callable[[Connection], T]) -> T:
        try:
            connection.begin_reading()
            result = operation(connection)
            connection.execute("COMMIT")
        except Exception as error:
            given_up = self._backend.lost(error) or not undone(connection.roll_back)
            if given_up:
                self._local.connection = None
                self._opened.remove(connection)
                connection.close()
            elif self._backend.broken(error):
                self._condition.failed(error)
            elif not self._backend.blocked(error):
                raise
            raise StorageError(f"the database cannot be read: {error}") from error
        return result
