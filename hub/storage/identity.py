"""Checks that a SQLite file is still the one that was opened. If somebody deletes or replaces an open file, the process can go on writing
to the old one, and those writes are lost.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from hub.storage.private_folder import make_private
from hub.storage.reasons import DamagedFileError, FileChangedError

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_STAMP: Final = slice(68, 72)
"""The application id in a database's header (SQLite, "Database File Format", section 1.3.17)."""

CHECK_BYTES: Final = 256 * 1024 * 1024
"""Largest file, in bytes, that is checked at the start after a crash, which takes about a second. `hub doctor` checks larger files too."""

BUSY_TIMEOUT_S: Final = 5.0
"""Seconds for which stamping waits for the writer's lock."""


class FileIdentity:
    """Identifies a SQLite file and its write-ahead log, and notices when other files have taken their names.

    Make this object before SQLite opens the file, and close it after SQLite has closed it: closing any descriptor of a file releases all
    locks that the process has on the file (SQLite, "How To Corrupt An SQLite Database File", section 2.2).
    """

    __slots__ = ("_descriptor", "_inode", "_newest", "_seen", "_stamps", "_unclean", "_wal", "_wal_path", "path")

    def __init__(self, path: Path) -> None:
        """Open the file. If it does not exist, it is made, readable by its owner only; SQLite gives its side files the same mode.

        Raises:
            OSError: the file cannot be opened or made.
        """
        self.path = path
        self._wal_path = f"{path}-wal"
        self._unclean = os.path.exists(self._wal_path)  # SQLite deletes it when the last connection is closed
        make_private(path.parent)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        found = os.fstat(self._descriptor)
        self._inode = (found.st_dev, found.st_ino)
        self._wal: tuple[int, int] | None = None
        self._seen = False
        self._stamps: frozenset[int] = frozenset()
        self._newest = 0

    def check(self) -> None:
        """Raise FileChangedError if the file or its write-ahead log was deleted, replaced or overwritten. It takes a few microseconds."""
        if _inode(self.path) != self._inode:
            raise self._changed("deleted" if _inode(self.path) is None else "replaced by another file")
        stamp = self._stamp_there()
        if stamp is None:
            if self._seen:
                raise self._changed("overwritten with something that is no database")
            return  # a new file that SQLite has not written yet
        self._seen = True
        if self._stamps:
            if stamp not in self._stamps:
                raise self._changed("overwritten by an older copy or another database")
            if len(self._stamps) > 1 and self._newest == stamp:
                self._stamps = frozenset({stamp})
        if self._wal is not None and _inode(self._wal_path) != self._wal:
            raise FileChangedError(f"{self._wal_path} was deleted or replaced while the hub had it open")

    def opened(self, execute: Callable[[str], Any]) -> None:
        """Watch the write-ahead log from now on. ``execute`` is that of a connection to the file; it opens the log, if it has not yet."""
        execute("SELECT count(*) FROM sqlite_master").fetchone()  # a connection opens the log when it reads
        self._wal = _inode(self._wal_path)

    def look_through(self, execute: Callable[[str], Any]) -> None:
        """If the last process crashed, look for pages that were only partly written, in files up to :data:`CHECK_BYTES`. ``execute`` is
        that of a connection to the file.

        Raises:
            DamagedFileError: a page is damaged.
            sqlite3.Error: the file cannot be read.
        """
        if not self._unclean or os.fstat(self._descriptor).st_size > CHECK_BYTES:
            return
        (found,) = execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise DamagedFileError(" ".join(str(found).split()))

    def log_gone(self) -> None:
        """Note that a connection of this process was closed. If SQLite deleted the write-ahead log with it, the log is no longer watched
        until the next connection is opened.
        """
        if _inode(self._wal_path) is None:
            self._wal = None

    def stamp(self) -> None:
        """Write a new random number, the stamp, into the file's header. An older copy of the file has another stamp, so :meth:`check`
        recognises it. Called at the start and from time to time, so that copies that were made since then are recognised too.

        Raises:
            FileChangedError: the file was deleted, replaced or overwritten.
            sqlite3.Error: the file cannot be written.
        """
        self.check()
        number = secrets.randbits(30) + 1
        there = self._stamp_there()
        # the number is accepted before it is written, since another thread may check in between
        self._stamps = frozenset({number} if there is None else {number, there})
        self._newest = number
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute(f"PRAGMA application_id = {number}")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # move it to the file itself; if somebody reads, a later checkpoint does
        self.check()

    def close(self) -> None:
        """Close the file. It may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _stamp_there(self) -> int | None:
        """The stamp in the file; None if the file is no database."""
        found = os.pread(self._descriptor, _HEADER_BYTES, 0)
        if len(found) < _HEADER_BYTES or not found.startswith(_MAGIC):
            return None
        return int.from_bytes(found[_STAMP], "big")

    def _changed(self, how: str) -> FileChangedError:
        return FileChangedError(f"{self.path} was {how} while the hub had it open: nothing more is written to it; restart the hub")


def _inode(path: str | Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
