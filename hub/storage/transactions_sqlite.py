"""SQLite for :mod:`hub.storage.transactions`: one file, which one hub at a time may have."""

import os
import sqlite3
from collections.abc import Callable

from hub.storage.identity import FileIdentity
from hub.storage.interface import Connection, StorageError
from hub.storage.lock import lock
from hub.storage.reasons import Reason, of_sqlite

BUSY_TIMEOUT_S = 5.0
"""How long the writer waits for an administrator's command to end."""


class SqliteConnection:
    """:class:`hub.storage.interface.Connection`."""

    __slots__ = ("_file", "execute", "raw")

    def __init__(self, file: FileIdentity, *, foreign_keys: bool = True) -> None:
        self._file = file
        # autocommit: transactions are begun by hand
        self.raw = sqlite3.connect(file.path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=512)
        self.execute = self.raw.execute
        # the limit: a long replay must not leave a giant write-ahead log behind
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864"):
            self.execute(f"PRAGMA {pragma}")
        if foreign_keys:
            self.execute("PRAGMA foreign_keys = ON")

    def begin_writing(self) -> None:
        """Take the write lock at once: two writers queue instead of failing half-way."""
        self.execute("BEGIN IMMEDIATE")

    def begin_reading(self) -> None:
        """See :class:`hub.storage.interface.Connection`."""
        self.execute("BEGIN")

    def roll_back(self) -> None:
        """See :class:`hub.storage.interface.Connection`. SQLite has ended it by itself when the disk is full."""
        if self.raw.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """See :class:`hub.storage.interface.Connection`. The last connection to a file takes the write-ahead log with it."""
        self.raw.close()
        self._file.log_gone()


class SqliteBackend:
    """:class:`hub.storage.interface.Backend`.

    Raises:
        InUseError: another hub has the file.
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
        """``file`` stays its owner's, who closes it after this. ``exclusive``: take the lock by which one hub has the file; ``stamp``:
        whether the first connection looks through the file and stamps it, by default where it is exclusive; ``prepare`` gets the first
        connection before that.
        """
        self._file = file
        self._lock = lock(file.path) if exclusive else None
        self._stamp = exclusive if stamp is None else stamp
        self._foreign_keys = foreign_keys
        self._prepare = prepare
        self._prepared = False
        self.name = file.path.name
        self.skip_locked = ""  # there is no other process
        self.unanswered = Reason.LOCKED

    def connect(self) -> SqliteConnection:
        """See :class:`hub.storage.interface.Backend`."""
        try:
            self._file.check()  # SQLite would make a new file
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

    def check(self) -> None:
        """See :class:`hub.storage.interface.Backend`."""
        self._file.check()

    def refresh(self) -> None:
        """See :class:`hub.storage.interface.Backend`."""
        self._file.stamp()

    def lost(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`: a file does not go away."""
        return False

    def broken(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`."""
        return of_sqlite(error) is not None

    def try_writing(self, connection: Connection) -> None:
        """See :class:`hub.storage.interface.Backend`: a page of the file is written anew as it is."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")

    def again(self, error: Exception) -> bool:
        """See :class:`hub.storage.interface.Backend`; nobody else writes within our transaction."""
        return False

    def close(self) -> None:
        """Let another hub have the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
