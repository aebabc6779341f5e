"""The PostgreSQL backend of :mod:`hub.storage.transactions`, which uses psycopg."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import errors

from hub.storage.interface import Connection, Patience, StorageError
from hub.storage.postgresql_errors import of_no_use, of_prepared_statements
from hub.storage.reasons import Reason
from hub.storage.url import DatabaseUrl

CONNECT_TIMEOUT_S = 5

ENDLESS = Patience()
"""For changes of tables, which may take long."""

IDLE_S = 10
"""Seconds after which the server ends a transaction that writes whose process does not go on."""

_BEGIN = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{IDLE_S}s'"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

PREPARE_AFTER = 5
"""Executions of a statement after which it is prepared; psycopg's own default."""


class PostgresConnection:
    """A :class:`hub.storage.interface.Connection` to PostgreSQL."""

    __slots__ = ("_begin_reading", "_begin_writing", "_connection")

    def __init__(self, arguments: Mapping[str, Any], *, prepare: bool = True, patience: Patience = ENDLESS) -> None:
        """``patience``: of the statements in transactions. ``prepare``: whether frequent statements may be prepared. Behind a pooler, which
        may use another server connection for each transaction, statements are never prepared. A pooler is recognised because the process
        number in the connection's start-up message is not that of the server process which answers.
        """
        lock = f"; SET LOCAL lock_timeout = {round(patience.lock_s * 1000)}"
        self._begin_writing = f"{_BEGIN}{lock}; SET LOCAL statement_timeout = {round(patience.statement_s * 1000)}".encode()
        self._begin_reading = f"{_BEGIN_READING}{lock}".encode()
        # autocommit: the hub begins transactions by its own statements
        self._connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            **{"connect_timeout": CONNECT_TIMEOUT_S, **arguments}, autocommit=True, prepare_threshold=None
        )
        try:
            (answering,) = self._connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
        except psycopg.Error:
            self._connection.close()
            raise
        if prepare and answering == self._connection.info.backend_pid:
            self._connection.prepare_threshold = PREPARE_AFTER

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """See :class:`hub.storage.interface.Connection`."""
        return self._connection.execute(_translated(sql), parameters)

    def begin_writing(self) -> None:
        """See :class:`hub.storage.interface.Connection`. A process that stands still within the transaction loses it, with its locks."""
        self._connection.execute(self._begin_writing, prepare=False)

    def begin_reading(self) -> None:
        """See :class:`hub.storage.interface.Connection`."""
        self._connection.execute(self._begin_reading, prepare=False)

    def roll_back(self) -> None:
        """See :class:`hub.storage.interface.Connection`."""
        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """See :class:`hub.storage.interface.Connection`."""
        self._connection.close()


class PostgresBackend:
    """The :class:`hub.storage.interface.Backend` of PostgreSQL. ``url`` is that of the database."""

    __slots__ = ("_arguments", "_patience", "_prepare", "_shown", "name", "skip_locked", "unanswered")

    def __init__(self, url: DatabaseUrl, patience: Patience = ENDLESS) -> None:
        self._patience = patience
        self._arguments = url.arguments()
        self._prepare = True
        self._shown = str(url)
        self.name = "PostgreSQL"
        self.skip_locked = " FOR UPDATE SKIP LOCKED"
        self.unanswered = Reason.AWAY

    def connect(self) -> PostgresConnection:
        """See :class:`hub.storage.interface.Backend`."""
        try:
            return PostgresConnection(self._arguments, prepare=self._prepare, patience=self._patience)
        except psycopg.Error as error:
            raise StorageError(f"{self._shown} cannot be reached: {error}") from error

    def lost(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        if of_prepared_statements(error):
            self._prepare = False
        return of_no_use(error)

    def broken(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        return of_no_use(error)

    def blocked(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        return isinstance(error, errors.LockNotAvailable | errors.QueryCanceled)

    def check(self) -> None:
        """See :class:`hub.storage.interface.Backend`; a server has no file that could be replaced."""

    def refresh(self) -> None:
        """See :class:`hub.storage.interface.Backend`; there is nothing to do."""

    def try_writing(self, connection: Connection) -> None:
        """See :class:`hub.storage.interface.Backend`.

        Raises:
            psycopg.Error: the server takes no writes.
        """
        (read_only,) = connection.execute("SHOW transaction_read_only").fetchone()
        if read_only == "on":
            raise errors.ReadOnlySqlTransaction("the server takes reading transactions alone")
        connection.execute("SELECT txid_current()")

    def again(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)

    def close(self) -> None:
        """See :class:`hub.storage.interface.Backend`; there is nothing to release."""


@lru_cache(maxsize=1024)
def _translated(sql: str) -> bytes:
    """Replace ``?`` by psycopg's placeholders. No statement of the hub has a question mark or a percent sign within a text."""
    return sql.replace("%", "%%").replace("?", "%s").encode()
