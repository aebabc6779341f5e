"""One database, SQLite or PostgreSQL: its engine, and its two kinds of transaction."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, ExceptionContext, MetaData, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from hub.storage.identity import FileIdentity
from hub.storage.text import check_text
from hub.storage.transactions import StorageError

BUSY_TIMEOUT_MS: Final = 5000
"""How long SQLite waits for another process's transaction before it gives up."""

CONNECT_TIMEOUT_S: Final = 5
"""How long a new connection to PostgreSQL may take, unless the URL says otherwise (``?connect_timeout=``)."""

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

    __slots__ = ("engine", "file", "url")

    def __init__(self, url: str | URL) -> None:
        """``url`` is a SQLAlchemy URL with an async driver (:attr:`hub.ops.settings.Settings.database`)."""
        self.url = make_url(url)
        self.file: FileIdentity | None = None
        """The file of a SQLite database that has one, and whether it is still the same."""
        if self.is_sqlite:
            if (path := self.path) is not None:
                self.file = FileIdentity(path)
            self.engine: AsyncEngine = create_async_engine(self.url)
            event.listen(self.engine.sync_engine, "do_connect", self._check_file)
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            # no prepared statements: a pooler in front of the server may lend out another connection with each transaction, and these
            # are not the statements that come by the thousand
            arguments: dict[str, Any] = {"prepare_threshold": None}
            if "connect_timeout" not in self.url.query:
                arguments["connect_timeout"] = CONNECT_TIMEOUT_S
            self.engine = create_async_engine(self.url, pool_pre_ping=True, pool_size=5, max_overflow=5, connect_args=arguments)
            event.listen(self.engine.sync_engine, "handle_error", _drop_what_is_of_no_use)

        event.listen(self.engine.sync_engine, "before_cursor_execute", _check_text)

    def _check_file(self, *_: object) -> None:
        """Before a connection is made: SQLite would make a new file in the place of one that is gone."""
        if self.file is not None:
            self.file.check()

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
        """A session for looking; nothing that it changes is kept.

        Raises:
            StorageError: the database cannot be read now.
        """
        with _of_the_database("read"):
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back when something raises.

        Raises:
            StorageError: the database cannot be written now.
        """
        with _of_the_database("written"):
            self._check_file()
            async with self.engine.connect() as connection:
                await connection.execution_options(**{_WRITE: True})
                async with AsyncSession(connection, expire_on_commit=False) as session, session.begin():
                    yield session
            self._check_file()  # else what was committed is in a file that nobody will read

    async def close(self) -> None:
        """Close every connection, and let go of the file."""
        await self.engine.dispose()
        if self.file is not None:
            self.file.close()


@contextmanager
def _of_the_database(done: str) -> Iterator[None]:
    """Raise what is wrong with the database, and not with what was asked of it, as a StorageError."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError, OSError) as fault:
        asked = isinstance(fault, DBAPIError) and not (
            fault.connection_invalidated or isinstance(fault, OperationalError | InterfaceError | InternalError)
        )
        if asked:
            raise
        raise StorageError(f"the database cannot be {done}: {getattr(fault, 'orig', None) or fault}") from fault


def _check_text(_connection: Connection, _cursor: object, _statement: str, parameters: Any, *_: object) -> None:
    check_text(parameters.values() if isinstance(parameters, dict) else parameters or ())


def _drop_what_is_of_no_use(context: ExceptionContext) -> None:
    """Have the pool give up a connection, and those that were opened before it, where SQLAlchemy alone would keep them."""
    from hub.storage.postgresql_faults import of_no_use  # SQLite's users need not load the driver

    if context.original_exception is not None and of_no_use(context.original_exception):
        context.is_disconnect = True


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
