"""Chooses the backend for the kind of a database, in a table by the name of the kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from hub.storage.database import Database
from hub.storage.interface import Patience
from hub.storage.transactions import Backend, StorageError
from hub.storage.transactions_sqlite import SqliteBackend


class _Opens(Protocol):
    def __call__(self, database: Database, *, exclusive: bool, patience: Patience) -> Backend: ...


def _sqlite(database: Database, *, exclusive: bool, patience: Patience) -> Backend:
    if database.file is None:
        raise StorageError("a SQLite database of a hub needs a file: one in memory would forget what was accepted")
    return SqliteBackend(database.file, exclusive=exclusive)


def _postgresql(database: Database, *, exclusive: bool, patience: Patience) -> Backend:
    # imported here: the driver takes 0.2 s to load, which users of SQLite need not wait for
    from hub.storage.transactions_postgresql import PostgresBackend

    return PostgresBackend(database.url, patience)


BACKENDS: Final[Mapping[str, _Opens]] = {"sqlite": _sqlite, "postgresql": _postgresql}
"""The functions that make a backend, by the name of the kind."""


def backend_of(database: Database, *, exclusive: bool = True, patience: Patience | None = None) -> Backend:
    """Make the backend of a database. With ``exclusive`` it takes a SQLite file for this hub alone; administrative commands, which may run
    beside a hub, do not. PostgreSQL needs no such lock; there, ``patience`` is that of each statement, None: endless.

    Raises:
        InUseError: another hub has the SQLite file open.
        StorageError: the database is SQLite's and has no file.
    """
    return BACKENDS["sqlite" if database.is_sqlite else "postgresql"](database, exclusive=exclusive, patience=patience or Patience())
