"""SQLite for :mod:`hub.storage.transactions`: one file, which one hub at a time may have."""

import os
import sqlite3
from pathlib import Path

from hub.storage.lock import lock
from hub.storage.transactions import StorageError

BUSY_TIMEOUT_S = 5.0
"""How long the writer waits for an administrator's command to end."""


class SqliteConnection:
    """:class:`hub.storage.transactions.Connection`."""

    __slots__ = ("_connection", "execute")

    def __init__(self, path: Path) -> None:
        # autocommit: transactions are begun by hand
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=512
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

    def close(self) -> None:
        """See :class:`hub.storage.transactions.Connection`."""
        self._connection.close()


class SqliteBackend:
    """:class:`hub.storage.transactions.Backend`.

    Raises:
        InUseError: another hub has the file.
    """

    __slots__ = ("_lock", "_path", "skip_locked")

    def __init__(self, path: Path, *, exclusive: bool = True) -> None:
        self._path = path
        self._lock = lock(path) if exclusive else None
        self.skip_locked = ""  # there is no other process

    def connect(self) -> SqliteConnection:
        """See :class:`hub.storage.transactions.Backend`."""
        try:
            return SqliteConnection(self._path)
        except sqlite3.Error as fault:
            raise StorageError(f"{self._path} cannot be opened: {fault}") from fault

    def lost(self, fault: Exception) -> bool:
        """See :class:`hub.storage.transactions.Backend`: a file does not go away."""
        return False

    def again(self, fault: Exception) -> bool:
        """See :class:`hub.storage.transactions.Backend`; nobody else writes within our transaction."""
        return False

    def close(self) -> None:
        """Let another hub have the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
