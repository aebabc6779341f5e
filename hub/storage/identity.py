"""Whether a SQLite file is still the one that was opened: an open file lives on when its name is gone, and takes writes that nobody will
ever read.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from hub.storage.reasons import DamagedFileError, FileChangedError

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_STAMP: Final = slice(68, 72)
"""The application id in a database's header (SQLite, "Database File Format", section 1.3.17)."""

CHECK_BYTES: Final = 256 * 1024 * 1024
"""Largest file that is looked through at the start after a process did not end by itself: it takes about a second; `hub doctor` looks
through larger ones.
"""

BUSY_TIMEOUT_S: Final = 5.0
"""How long stamping waits for the writer."""


class FileIdentity:
    """A file and its write-ahead log, watched by name.

    It is opened before SQLite opens it and must be closed after SQLite has closed it: closing any descriptor of a file lets go of all locks
    that the process has on it (SQLite, "How To Corrupt An SQLite Database File", section 2.2).
    """

    __slots__ = ("_descriptor", "_inode", "_newest", "_seen", "_stamps", "_unclean", "_wal", "_wal_path", "path")

    def __init__(self, path: Path) -> None:
        """Open the file, and make it where it is not there, readable by its owner alone; SQLite gives its side files the same mode.

        Raises:
            OSError: it cannot be opened or made.
        """
        self.path = path
        self._wal_path = f"{path}-wal"
        self._unclean = os.path.exists(self._wal_path)  # SQLite takes it away when the last connection is closed
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        found = os.fstat(self._descriptor)
        self._inode = (found.st_dev, found.st_ino)
        self._wal: tuple[int, int] | None = None
        self._seen = False
        self._stamps: frozenset[int] = frozenset()
        self._newest = 0

    def check(self) -> None:
        """Raise FileChangedError if the file or its log was deleted, replaced or overwritten. It takes a few microseconds."""
        if _inode(self.path) != self._inode:
            raise self._changed("deleted" if _inode(self.path) is None else "replaced by another file")
        stamp = self._stamp_there()
        if stamp is None:
            if self._seen:
                raise self._changed("overwritten with something that is no database")
            return  # a new file, which SQLite has not written yet
        self._seen = True
        if self._stamps:
            if stamp not in self._stamps:
                raise self._changed("overwritten by an older copy or another database")
            if len(self._stamps) > 1 and self._newest == stamp:
                self._stamps = frozenset({stamp})
        if self._wal is not None and _inode(self._wal_path) != self._wal:
            raise FileChangedError(f"{self._wal_path} was deleted or replaced while the hub had it open")

    def opened(self, execute: Callable[[str], Any]) -> None:
        """Watch the write-ahead log from now on; ``execute`` is that of a connection to the file, which has the log open from then on."""
        execute("SELECT count(*) FROM sqlite_master").fetchone()  # a connection opens it when it reads
        self._wal = _inode(self._wal_path)

    def look_through(self, execute: Callable[[str], Any]) -> None:
        """Where the process before did not end by itself, look for pages that were torn when the machine stopped, up to a size
        (:data:`CHECK_BYTES`); ``execute`` is that of a connection.

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
        """A connection of ours was closed: if the write-ahead log went with it, it is watched again from the next one on."""
        if _inode(self._wal_path) is None:
            self._wal = None

    def stamp(self) -> None:
        """Write a new number into the file's header, by which older copies of the file are recognised: at the start, and from
        time to time, so that a copy that was made meanwhile is an older one too.

        Raises:
            FileChangedError: it is not the file any more.
            sqlite3.Error: it cannot be written.
        """
        self.check()
        number = secrets.randbits(30) + 1
        there = self._stamp_there()
        # first known, then written: another thread may look in between
        self._stamps = frozenset({number} if there is None else {number, there})
        self._newest = number
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute(f"PRAGMA application_id = {number}")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # into the file itself, unless somebody reads: then a later one does it
        self.check()

    def close(self) -> None:
        """Let the file go. Calling it twice does no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _stamp_there(self) -> int | None:
        """The number in the file, None where it is no database."""
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
