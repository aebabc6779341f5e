"""What a check of ``hub doctor`` gets and what it answers."""

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
    """The hub runs, and somebody should look."""
    PROBLEM = "problem"
    """The hub does not start, or cannot do what it promises. ``hub doctor`` ends with code 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of a check."""

    level: Level
    subject: str
    """What was looked at: a file's name, or a word such as ``clock``."""
    message: str
    """What was seen, without secrets."""
    advice: str = ""
    """What to do; empty where there is nothing to do."""


class Inspection:
    """What there is to look at: the settings, the data folder, and the database, which is only read."""

    def __init__(self, settings: Settings, now_ms: int, migrations: Sequence[str]) -> None:
        """``now_ms``: the time of day, milliseconds since 1970; ``migrations``: the packages of all schema versions
        (:func:`hub.families.migrations_of`).
        """
        self.settings = settings
        self.now_ms = now_ms
        self.migrations = tuple(migrations)

    @property
    def data_dir(self) -> Path:
        """The folder of the hub's files; it may be absent."""
        return self.settings.data_dir

    @property
    def database_path(self) -> Path | None:
        """The file of the database, None with PostgreSQL."""
        return DatabaseUrl.parse(self.settings.database).path

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of one query on the database of tenants, endpoints and messages; parameters stand as ``?`` on both databases.

        Raises:
            StorageError: it is not there, or cannot be read.
        """
        path = self.database_path
        if path is not None:
            return read_file(path, sql, parameters)
        # its driver takes 0.2 s to load, for which SQLite's users need not wait
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
"""A check. It only reads, and raises :class:`hub.storage.transactions.StorageError` where the database does not let it. A family offers its
own in ``Family.checks``; those of the hub stand in :data:`hub.doctor.checks.CHECKS`.
"""


def read_file(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """All rows of one query on a SQLite file, which is opened for reading alone and never made.

    Raises:
        StorageError: it is not there, or cannot be read.
    """
    try:
        with closing(open_to_read(path)) as connection:
            return connection.execute(sql, parameters).fetchall()
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {error}") from error


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write.

    Raises:
        sqlite3.Error: the file is not there, or cannot be opened.
    """
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, timeout=5)
