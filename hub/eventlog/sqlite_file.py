"""One SQLite file of the hub: one writer thread, one reader thread, one process.

Durability (docs/adr/one-writer.md): WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE``, and a group commit. What an operation returned is on
disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

from hub.eventlog.interface import EventLogError, LogInUseError, NewerFileError
from hub.storage.identity import FileIdentity
from hub.storage.interface import Connection, StorageError
from hub.storage.lock import InUseError, lock
from hub.storage.readers import Readers
from hub.storage.reasons import Reason
from hub.storage.schema import SQLITE, Schema, UnknownVersionError, Version, upgrade
from hub.storage.transactions_sqlite import SqliteBackend, SqliteConnection
from hub.storage.upgrade_copy import copy_before_upgrade
from hub.storage.writer import GroupWriter

T = TypeVar("T")

Operation = Callable[[sqlite3.Connection], T]
"""Runs inside the writer's transaction, in the writer's thread. It may run more than once: what it does lies in the file alone."""


class SqliteFile:
    """A file that this process alone has open (mode 0600). Its users hand it operations and queries; none of them touches a connection.

    Raises:
        LogInUseError: another process (or another object of this one) has the file open.
        EventLogError: the file cannot be opened, is no database, or was made by a later version.
    """

    def __init__(
        self,
        path: Path,
        versions: Sequence[Callable[[Schema], object]],
        *,
        on_rollback: Callable[[], object] = lambda: None,
        max_group: int = 512,
        max_waiting: int = 100_000,
    ) -> None:
        """``versions``: each makes of the tables of the one before its own, the first of none; the file notes in ``PRAGMA user_version``
        how many it has, and one that has more is refused rather than guessed at. What a file lacks is done in one transaction, after it was
        copied (:func:`hub.storage.upgrade_copy.copy_before_upgrade`). ``on_rollback`` runs in the writer's thread when what a transaction
        did is undone. ``max_group`` and ``max_waiting`` are the writer's (:class:`hub.storage.writer.GroupWriter`).
        """
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # before the file is opened: closing it would let go of the locks that another object of this process has on it
            held = lock(path)
        except InUseError as error:
            raise LogInUseError(str(error)) from None
        except OSError as error:
            raise EventLogError(f"{path} cannot be opened: {error}", path) from error
        with ExitStack() as undo:
            undo.callback(os.close, held)
            try:
                self.identity = undo.enter_context(closing(FileIdentity(path)))
                self._backend = SqliteBackend(
                    self.identity,
                    exclusive=False,
                    stamp=True,
                    foreign_keys=False,
                    prepare=lambda connection: _upgrade(connection, path, versions),
                )
                writing = self._backend.connect()
                undo.callback(writing.close)
            except StorageError as error:
                raise EventLogError(str(error), path) from error.__cause__
            except OSError as error:
                raise EventLogError(f"{path} cannot be opened: {error}", path) from error
            self._files = undo.pop_all()
        self._closed = False
        self._writer = GroupWriter(
            self._backend,
            lambda connection, _: _raw(connection),
            max_group=max_group,
            max_waiting=max_waiting,
            optimistic=True,
            drop_cancelled=True,
            on_undo=on_rollback,
        )
        self.condition = self._writer.condition
        """How the file is."""
        self._readers = Readers(self._backend, self.condition, count=1, name=f"{path.stem}-read")
        self._writer.start(writing, f"{path.stem}-write")

    @property
    def writing(self) -> sqlite3.Connection:
        """The writer's connection: for the writer's thread, and for what looks at the file in tests."""
        return _raw(self._writer.connection)

    def check_open(self) -> None:
        """Raise EventLogError if the file is closed."""
        if self._closed:
            raise EventLogError(f"{self.path} is closed")

    async def write(self, operation: Operation[T]) -> T:
        """Run ``operation`` in the writer's next transaction; returns when that is on disk. A caller that is cancelled before its turn
        leaves it undone.

        Raises:
            EventLogError: it was refused, and nothing of it was recorded; or the file is closed.
        """
        self.check_open()
        try:
            return await self._writer.submit(operation)
        except Exception as error:
            raise self._unwritten(error) from (error.__cause__ or error)

    async def read(self, query: Operation[T]) -> T:
        """Run ``query`` in the reader's thread, within a transaction that sees one moment of the file.

        Raises:
            EventLogError: the file cannot be read, or is closed.
        """
        self.check_open()
        try:
            return await self._readers.read(lambda connection: query(_raw(connection)))
        except (StorageError, sqlite3.Error) as error:
            raise EventLogError(f"{self.path} cannot be read: {error.__cause__ or error}", self.path) from (error.__cause__ or error)

    async def rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        """All rows of one query; see :meth:`read`."""
        return await self.read(lambda connection: connection.execute(query, parameters).fetchall())

    async def look(self) -> None:
        """See :meth:`hub.storage.writer.GroupWriter.look`.

        Raises:
            EventLogError: it cannot be written, or is closed.
        """
        self.check_open()
        try:
            await self._writer.look()
        except StorageError as error:
            raise self._unwritten(error) from error.__cause__

    async def trouble(self) -> Reason | None:
        """See :meth:`hub.storage.writer.GroupWriter.trouble`."""
        return await self._writer.trouble()

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
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._readers.stop)
        self._files.close()

    def _unwritten(self, error: Exception) -> EventLogError:
        return EventLogError(f"{self.path} cannot be written: {error.__cause__ or error}", self.path)


def _raw(connection: Connection | None) -> sqlite3.Connection:
    assert isinstance(connection, SqliteConnection)
    return connection.raw


class _UserVersion:
    """:class:`hub.storage.schema.Record` in ``PRAGMA user_version``, for versions that are named by their numbers."""

    def read(self, connection: Connection) -> set[str]:
        """See :class:`hub.storage.schema.Record`."""
        (count,) = connection.execute("PRAGMA user_version").fetchone()
        return {str(count)} if count else set()

    def write(self, connection: Connection, versions: Sequence[Version]) -> None:
        """See :class:`hub.storage.schema.Record`."""
        connection.execute(f"PRAGMA user_version = {len(versions)}")


def _upgrade(connection: SqliteConnection, path: Path, steps: Sequence[Callable[[Schema], object]]) -> None:
    versions = [Version(str(number), (str(number - 1),) if number > 1 else (), step) for number, step in enumerate(steps, 1)]
    connection.begin_writing()
    try:
        upgrade(connection, SQLITE, versions, _UserVersion(), lambda: copy_before_upgrade(path))
    except UnknownVersionError as error:
        found = ", ".join(error.names)
        raise NewerFileError(f"{path} was made by a later version: expected schema {len(steps)} or less, got {found}", path) from None
    connection.execute("COMMIT")
