"""The input of the checks of ``hub doctor``, and their findings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hub.ops.logging import mask
from hub.ops.settings import Settings
from hub.storage.interface import Row, StorageError
from hub.storage.url import DatabaseUrl


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """The hub runs, but somebody should look into it."""
    PROBLEM = "problem"
    """The hub does not start, or cannot work as documented. ``hub doctor`` ends with exit code 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check."""

    level: Level
    subject: str
    """What was checked: a file's name, or a word such as ``clock``."""
    message: str
    """What was found, without secrets."""
    advice: str = ""
    """What to do; empty if there is nothing to do."""


class Inspection:
    """The settings, the data folder and the database, for checks. The database is only read."""

    def __init__(self, settings: Settings, now_ms: int, migrations: Sequence[str]) -> None:
        """``now_ms``: the time of day, milliseconds since 1970; ``migrations``: the packages of all schema versions
        (:func:`hub.families.migrations_of`).
        """
        self.settings = settings
        self.now_ms = now_ms
        self.migrations = tuple(migrations)

    @property
    def data_dir(self) -> Path:
        """The folder of the hub's files; it may not exist."""
        return self.settings.data_dir

    @property
    def database_path(self) -> Path | None:
        """The file of the database, None with PostgreSQL."""
        return DatabaseUrl.parse(self.settings.database).path

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Read all rows of one query on the database of tenants, endpoints and messages. Parameters are ``?``, on SQLite and PostgreSQL.

        Raises:
            StorageError: the database does not exist, or cannot be read.
        """
        path = self.database_path
        if path is not None:
            return read_file(path, sql, parameters)
        # imported here: the driver takes 0.2 s to load, which users of SQLite need not wait for
        import psycopg

        from hub.storage.transactions_postgresql import PostgresBackend

        connection = PostgresBackend(DatabaseUrl.parse(self.settings.database)).connect()
        try:
            connection.begin_reading()
            return connection.execute(sql, parameters).fetchall()
        except psycopg.Error as error:
            raise StorageError(f"{mask(self.settings.database)} cannot be read: {error}") from error
        finally:
            connection.close()


Check = Callable[[Inspection], Iterable[Finding]]
"""A check. It only reads, and raises :class:`hub.storage.transactions.StorageError` if the database cannot be read. A family has its checks
in ``Family.checks``; those of the hub are in :data:`hub.doctor.checks.CHECKS`.
"""


def read_file(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """Read all rows of one query on a SQLite file. The file is opened for reading only, and is not made if it does not exist.

    Raises:
        StorageError: the file does not exist, or cannot be read.
    """
    try:
        with closing(open_to_read(path)) as connection:
            return connection.execute(sql, parameters).fetchall()
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write.

    Raises:
        sqlite3.Error: the file does not exist, or cannot be opened.
    """
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, timeout=5)
