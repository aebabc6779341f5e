"""The faults of a database, in words that anybody may read: without addresses, names or statements."""

from __future__ import annotations

import errno
import sqlite3
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why a database cannot be used now. The text is shown by ``/readyz``; docs/operations.md says what to do about each."""

    FULL = "the disk is full"
    LOCKED = "the file is locked by another process"
    DAMAGED = "the file is damaged: run hub doctor"
    NOT_WRITABLE = "the file cannot be written"
    DISK = "the disk reports an error"
    CHANGED = "the file was deleted, replaced or overwritten: restart the hub"
    AWAY = "the database does not answer"
    READ_ONLY = "the database takes no writes"
    SERVER_FULL = "the database has no room, or too many connections"
    OTHER = "the database reports an error"


class FileChangedError(OSError):
    """The file of a database is no longer the one that was opened; the text says what happened to it."""


class DamagedFileError(OSError):
    """The check of a file found damage; the text describes it."""


_BY_CODE: Final = {
    sqlite3.SQLITE_FULL: Reason.FULL,
    sqlite3.SQLITE_BUSY: Reason.LOCKED,
    sqlite3.SQLITE_LOCKED: Reason.LOCKED,
    sqlite3.SQLITE_PROTOCOL: Reason.LOCKED,
    sqlite3.SQLITE_CORRUPT: Reason.DAMAGED,
    sqlite3.SQLITE_NOTADB: Reason.DAMAGED,
    sqlite3.SQLITE_READONLY: Reason.NOT_WRITABLE,
    sqlite3.SQLITE_PERM: Reason.NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: Reason.NOT_WRITABLE,
    sqlite3.SQLITE_IOERR: Reason.DISK,
    sqlite3.SQLITE_NOMEM: Reason.OTHER,
}

_BY_ERRNO: Final = {
    errno.ENOSPC: Reason.FULL,
    errno.EDQUOT: Reason.FULL,
    errno.EFBIG: Reason.FULL,
    errno.EROFS: Reason.NOT_WRITABLE,
    errno.EACCES: Reason.NOT_WRITABLE,
    errno.EPERM: Reason.NOT_WRITABLE,
    errno.EIO: Reason.DISK,
}

_BY_STATE: Final = {"25006": Reason.READ_ONLY, "53": Reason.SERVER_FULL, "XX": Reason.DAMAGED}

_PRIMARY: Final = 0xFF
"""The mask of the low byte: of an extended result code of SQLite it is the primary code (SQLite, "Result and Error Codes")."""


def of_sqlite(error: BaseException) -> Reason | None:
    """The fault of a file that an error of SQLite or of the system reports; None if the error is one of the statement."""
    if isinstance(error, FileChangedError):
        return Reason.CHANGED
    if isinstance(error, DamagedFileError):
        return Reason.DAMAGED
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else _BY_CODE.get(code & _PRIMARY)
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, Reason.DISK)
    return None


def reason(error: BaseException) -> Reason:
    """The fault of a database, SQLite or PostgreSQL, that an error or one of its causes reports."""
    at: BaseException | None = error
    while at is not None:
        if (found := of_sqlite(at)) is not None:
            return found
        state = getattr(at, "sqlstate", None)
        if isinstance(state, str):
            return _BY_STATE.get(state) or _BY_STATE.get(state[:2]) or Reason.AWAY
        if type(at).__module__.startswith("psycopg"):
            return Reason.AWAY
        original = getattr(at, "orig", None)
        at = original if isinstance(original, BaseException) else at.__cause__ or at.__context__
    return Reason.OTHER
