"""The SQLite backend of :mod:`hub.storage.transactions`: one file, which one hub at a time may open."""

import os
import sqlite3
import time
from collections.abc import Callable

from hub.storage.identity import FileIdentity
from hub.storage.interface import Connection, StorageError
from hub.storage.lock import lock
from hub.storage.reasons import Reason, of_sqlite

BUSY_TIMEOUT_S = 5.0
"""Seconds for which the writer waits for the lock of another process, such as an administrative command."""

_ASKING_MS = 2
"""Milliseconds for which SQLite itself waits for the lock: it asks at 0, 1 and 2 ms, then the writer has it ask again."""


class SqliteConnection:
    """A :class:`hub.storage.interface.Connection` to a SQLite file."""

    __slots__ = ("_asks_often", "_file", "execute", "raw")

    def __init__(self, file: FileIdentity, *, foreign_keys: bool = True) -> None:
        self._file = file
        self._asks_often = False
        # isolation_level None (autocommit): the hub begins transactions by its own statements
        self.raw = sqlite3.connect(file.path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=512)
        self.execute = self.raw.execute
        # journal_size_limit: the write-ahead log grows during a long replay, and must not keep that size
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            self.execute(f"PRAGMA {pragma}")
        if foreign_keys:
            self.execute("PRAGMA foreign_keys = ON")

    def begin_writing(self) -> None:
        """Begin a transaction and take the write lock at once, so that two writers wait for each other instead of failing half-way. It
        asks for the lock every millisecond: SQLite itself asks ever more rarely, and then hardly ever between two transactions of a process
        that writes without a pause (docs/adr/one-file-many-workers.md).
        """
        if not self._asks_often:
            self.execute(f"PRAGMA busy_timeout = {_ASKING_MS}")
            self._asks_often = True
        end = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if of_sqlite(error) is not Reason.LOCKED or time.monotonic() > end:
                    raise
            else:
                return

    def begin_reading(self) -> None:
        """See :class:`hub.storage.interface.Connection`."""
        self.execute("BEGIN")

    def roll_back(self) -> None:
        """See :class:`hub.storage.interface.Connection`. If the disk is full, SQLite has already ended the transaction."""
        if self.raw.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """See :class:`hub.storage.interface.Connection`. SQLite deletes the write-ahead log when the last connection is closed."""
        self.raw.close()
        self._file.log_gone()


class SqliteBackend:
    """The :class:`hub.storage.interface.Backend` of SQLite.

    Raises:
        InUseError: another hub has the file open.
    """

    __slots__ = ("_file", "_foreign_keys", "_lock", "_prepare", "_prepared", "_stamp", "name", "skip_locked", "unanswered")

    def __init__(
        self,
        file: FileIdentity,
        *,
        exclusive: bool = True,
        stamp: bool | None = None,
        foreign_keys: bool = True,
        prepare: Callable[[SqliteConnection], object] = lambda _: None,
    ) -> None:
        """Make a backend.

        Args:
            file: the file; its owner closes it after this backend.
            exclusive: take the lock that allows only one hub to have the file.
            stamp: whether the first connection checks the file for damage and stamps it; by default if ``exclusive``.
            foreign_keys: whether SQLite enforces foreign keys.
            prepare: called with the first connection, before the check.
        """
        self._file = file
        self._lock = lock(file.path) if exclusive else None
        self._stamp = exclusive if stamp is None else stamp
        self._foreign_keys = foreign_keys
        self._prepare = prepare
        self._prepared = False
        self.name = file.path.name
        self.skip_locked = ""  # no other process claims rows
        self.unanswered = Reason.LOCKED

    def connect(self) -> SqliteConnection:
        """See :class:`hub.storage.interface.Backend`."""
        try:
            self._file.check()  # otherwise SQLite would make a new file in place of a deleted one
            connection = SqliteConnection(self._file, foreign_keys=self._foreign_keys)
            try:
                self._begin(connection)
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{self._file.path} cannot be opened: {error}") from error
        return connection

    def _begin(self, connection: SqliteConnection) -> None:
        if not self._prepared:
            self._prepare(connection)
        self._file.opened(connection.execute)
        if not self._prepared and self._stamp:
            self._file.look_through(connection.execute)
            self._file.stamp()
        self._prepared = True

    def blocked(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`; there is one lock, that of the file, and its error is one of the database."""
        return False

    def check(self) -> None:
        """See :class:`hub.storage.interface.Backend`."""
        self._file.check()

    def refresh(self) -> None:
        """See :meth:`hub.storage.interface.Backend`. Of several processes that have the file open, only the one that stamped it at its
        start does so: the others do not know its stamps.
        """
        if self._stamp:
            self._file.stamp()

    def lost(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`: a connection to a file is never lost."""
        return False

    def broken(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        return of_sqlite(error) is not None

    def try_writing(self, connection: Connection) -> None:
        """See :class:`hub.storage.interface.Backend`: it writes the first page of the file again, unchanged."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")

    def again(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`: only one transaction writes at a time, so there are no conflicts."""
        return False

    def close(self) -> None:
        """Release the lock, so that another hub can take the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
