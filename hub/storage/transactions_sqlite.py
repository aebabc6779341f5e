"""SQLite for :mod:`hub.storage.transactions`: one file, which one hub at a time may have."""

import os
import sqlite3

from hub.storage.identity import FileIdentity
from hub.storage.lock import lock
from hub.storage.reasons import of_sqlite
from hub.storage.transactions import Connection, StorageError

BUSY_TIMEOUT_S = 5.0
"""How long the writer waits for an administrator's command to end."""


class SqliteConnection:
    """:class:`hub.storage.transactions.Connection`."""

    __slots__ = ("_connection", "_file", "execute")

    def __init__(self, file: FileIdentity) -> None:
        self._file = file
        # autocommit: transactions are begun by hand
        self._connection = sqlite3.connect(
            file.path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=512
        )
        self.execute = self._connection.execute
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 67108864"):
            self.execute(f"PRAGMA {pragma}")

    def begin_writing(self) -> None:
        """Take the write lock at once: two writers queue instead of failing half-way."""
        self.execute("BEGIN IMMEDIATE")

    def begin_reading(self) -> None:
        """See :class:`hub.storage.transactions.Connection`."""
        self.execute("BEGIN")

    def roll_back(self) -> None:
        """See :class:`hub.storage.transactions.Connection`. SQLite has ended it by itself when the disk is full."""
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """See :class:`hub.storage.transactions.Connection`. The last connection to a file takes the write-ahead log with it."""
        self._connection.close()
        self._file.log_gone()


class SqliteBackend:
    """:class:`hub.storage.transactions.Backend`.

    Raises:
        InUseError: another hub has the file.
    """

    __slots__ = ("_file", "_lock", "_stamped", "name", "skip_locked")

    def __init__(self, file: FileIdentity, *, exclusive: bool = True) -> None:
        """``file`` is the database's own (:attr:`hub.storage.database.Database.file`), which closes it."""
        self._file = file
        self._lock = lock(file.path) if exclusive else None
        self._stamped = not exclusive
        self.name = file.path.name
        self.skip_locked = ""  # there is no other process

    def connect(self) -> SqliteConnection:
        """See :class:`hub.storage.transactions.Backend`."""
        try:
            self._file.check()  # SQLite would make a new file
            connection = SqliteConnection(self._file)
            self._file.opened(connection.execute)
            if not self._stamped:
                self._file.look_through(connection.execute)
                self._file.stamp()
                self._stamped = True
        except (OSError, sqlite3.Error) as fault:
            raise StorageError(f"{self._file.path} cannot be opened: {fault}") from fault
        return connection

    def check(self) -> None:
        """See :class:`hub.storage.transactions.Backend`."""
        self._file.check()

    def refresh(self) -> None:
        """See :class:`hub.storage.transactions.Backend`."""
        self._file.stamp()

    def lost(self, fault: Exception) -> bool:
        """See :class:`hub.storage.transactions.Backend`: a file does not go away."""
        return False

    def broken(self, fault: Exception) -> bool:
        """See :class:`hub.storage.transactions.Backend`."""
        return of_sqlite(fault) is not None

    def try_writing(self, connection: Connection) -> None:
        """See :class:`hub.storage.transactions.Backend`: a page of the file is written anew as it is."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")

    def again(self, fault: Exception) -> bool:
        """See :class:`hub.storage.transactions.Backend`; nobody else writes within our transaction."""
        return False

    def close(self) -> None:
        """Let another hub have the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
