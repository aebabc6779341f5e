"""Which kind of database a URL means, in a table from a word to what opens it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from hub.storage.database import Database
from hub.storage.transactions import Backend, StorageError
from hub.storage.transactions_sqlite import SqliteBackend


class _Opens(Protocol):
    def __call__(self, database: Database, *, exclusive: bool) -> Backend: ...


def _sqlite(database: Database, *, exclusive: bool) -> Backend:
    if database.file is None:
        raise StorageError("a SQLite database of a hub needs a file: one in memory would forget what was accepted")
    return SqliteBackend(database.file, exclusive=exclusive)


def _postgresql(database: Database, *, exclusive: bool) -> Backend:
    # its driver takes 0.2 s to load, for which SQLite's users need not wait; the server itself keeps several hubs apart
    from hub.storage.transactions_postgresql import PostgresBackend

    return PostgresBackend(database.url)


BACKENDS: Final[Mapping[str, _Opens]] = {"sqlite": _sqlite, "postgresql": _postgresql}
"""By the word of :func:`backend_of`."""


def backend_of(database: Database, *, exclusive: bool = True) -> Backend:
    """The backend of a database; ``exclusive`` as a hub has it, else as an administrator's command has it beside a hub.

    Raises:
        InUseError: a SQLite file that another hub has.
        StorageError: a SQLite database without a file.
    """
    return BACKENDS["sqlite" if database.is_sqlite else "postgresql"](database, exclusive=exclusive)
