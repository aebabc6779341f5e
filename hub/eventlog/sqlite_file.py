"""One SQLite file of the hub: one writer thread, one reader thread, one process.

Durability (docs/adr/one-writer.md): WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE``, and a group commit. When an operation returns, its
changes are on disk.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from hub.eventlog.database import LogDatabase
from hub.eventlog.interface import EventLogError, LogInUseError, NewerFileError
from hub.storage.identity import FileIdentity
from hub.storage.interface import Connection, StorageError
from hub.storage.lock import InUseError, lock
from hub.storage.private_folder import make_private
from hub.storage.schema import SQLITE, Schema, UnknownVersionError, Version, upgrade
from hub.storage.transactions_sqlite import SqliteBackend, SqliteConnection
from hub.storage.upgrade_copy import copy_before_upgrade


class SqliteFile(LogDatabase[sqlite3.Connection]):
    """A file that only this process has open (mode 0600). It runs the operations and queries of its users, which have no connections.

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
        """Open the file and bring its tables up to date.

        Args:
            path: the file; it is made if it does not exist.
            versions: functions that each change the tables of the version before to those of the next; the first one starts without
                tables. ``PRAGMA user_version`` records how many the file has; a file with more is refused. Missing versions run in one
                transaction, after the file was copied (:func:`hub.storage.upgrade_copy.copy_before_upgrade`).
            on_rollback: called in the writer's thread when the work of a transaction is rolled back.
            max_group: see :class:`hub.storage.writer.GroupWriter`.
            max_waiting: see there.
        """
        self.path = path
        try:
            make_private(path.parent)
            # lock before the file is opened: closing the file again would release the locks that another object of this process has on it
            held = lock(path)
        except InUseError as error:
            raise LogInUseError(str(error)) from None
        except OSError as error:
            raise EventLogError(f"{path} cannot be opened: {error}", path) from error
        with ExitStack() as undo:
            undo.callback(os.close, held)
            try:
                self.identity = undo.enter_context(closing(FileIdentity(path)))
                backend = SqliteBackend(
                    self.identity,
                    exclusive=False,
                    stamp=True,
                    foreign_keys=False,
                    prepare=lambda connection: _upgrade(connection, path, versions),
                )
                writing = backend.connect()
            except StorageError as error:
                raise EventLogError(str(error), path) from error.__cause__
            except OSError as error:
                raise EventLogError(f"{path} cannot be opened: {error}", path) from error
            self._files = undo.pop_all()
        super().__init__(
            backend,
            _raw,
            name=path.stem,
            shown=str(path),
            path=path,
            max_group=max_group,
            max_waiting=max_waiting,
            readers=1,
            on_undo=on_rollback,
        )
        self.start(writing)

    @property
    def writing(self) -> sqlite3.Connection:
        """The writer's connection: for the writer's thread, and for tests that look at the file."""
        return self.writers_connection

    async def rows(self, query: str, parameters: tuple[Any, ...]) -> list[Any]:
        """Read all rows of one query; see :meth:`read`."""
        return await self.read(lambda connection: connection.execute(query, parameters).fetchall())

    async def close(self) -> None:
        """Run the waiting operations, stop both threads and close the file. It may be called twice."""
        if self._closed:
            return
        await super().close()
        self._files.close()


def _raw(connection: Connection | None) -> sqlite3.Connection:
    assert isinstance(connection, SqliteConnection)
    return connection.raw


class _UserVersion:
    """A :class:`hub.storage.schema.Record` in ``PRAGMA user_version``, for versions whose names are their numbers."""

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
