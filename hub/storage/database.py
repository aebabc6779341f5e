"""One database, SQLite or PostgreSQL: its engine, and its two kinds of transaction."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, MetaData, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

BUSY_TIMEOUT_MS: Final = 5000
"""How long SQLite waits for another process's transaction before it gives up."""

_WRITE: Final = "hub_write"


class Base(DeclarativeBase):
    """Base of every table's model. Constraints get names by rule, so that migrations can speak of them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """An engine with the rules of its kind.

    SQLite: write-ahead log, foreign keys, a busy time-out, and ``BEGIN IMMEDIATE`` for writers, so that two of them queue instead of
    failing half-way; the file is readable by its owner alone, for it holds hashes of secrets.
    """

    __slots__ = ("engine", "url")

    def __init__(self, url: str | URL) -> None:
        """``url`` is a SQLAlchemy URL with an async driver (:attr:`hub.ops.settings.Settings.database`)."""
        self.url = make_url(url)
        if self.is_sqlite:
            if (path := self.path) is not None:
                _create_private(path)
            self.engine: AsyncEngine = create_async_engine(self.url)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(self.url, pool_pre_ping=True, pool_size=5, max_overflow=5)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite, else PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database that has one."""
        name = self.url.database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for looking; nothing that it changes is kept."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back when something raises."""
        async with self.engine.connect() as connection:
            await connection.execution_options(**{_WRITE: True})
            async with AsyncSession(connection, expire_on_commit=False) as session, session.begin():
                yield session

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner alone; the write-ahead log takes over the file's mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    cursor = connection.cursor()
    try:
        for pragma in (f"busy_timeout = {BUSY_TIMEOUT_MS}", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")
