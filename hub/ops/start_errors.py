"""Explains in one sentence why a hub or a command cannot start and what to do (docs/operations.md lists them)."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from hub.cluster.checks import MisfitError
from hub.cluster.link.address import LinkListenError
from hub.eventlog.interface import EventLogError, LogInUseError, NewerFileError
from hub.ops.logging import mask
from hub.ops.settings import Settings, SettingsError
from hub.redis.server import UnusableRedisError
from hub.storage.lock import InUseError
from hub.storage.migrations import NewerDatabaseError
from hub.storage.reasons import Reason, reason
from hub.storage.transactions import StorageError
from hub.storage.url import DatabaseUrl
from hub.transports.listener import StartError

_OLD_VERSION = "start that version of the hub again, or restore the backup that was made before the upgrade"


START_ERRORS: Final = (SettingsError, StartError, EventLogError, StorageError, OSError, ValueError)
"""The exceptions of a start that :func:`sentence` explains; any other is a fault in the hub itself."""


def sentence(error: BaseException, settings: Settings | None) -> str:
    """Why a hub does not start; of several problems of its settings, one in a line. ``settings``: None if they cannot be read."""
    if isinstance(error, SettingsError | StartError) or settings is None:
        return str(error)
    return explain(error, settings) or str(error)


def explain(error: BaseException, settings: Settings) -> str | None:
    """The explanation of an exception; None for a fault in the hub itself, for which the log needs the traceback."""
    if isinstance(error, InUseError | LogInUseError):
        return _line(error)
    if isinstance(error, LinkListenError):
        return _line(error)
    if isinstance(error, UnusableRedisError | MisfitError):
        return "; ".join(error.problems)
    if isinstance(error, NewerDatabaseError | NewerFileError):
        return f"{_line(error)}: {_OLD_VERSION}"
    if not isinstance(error, StorageError | EventLogError | OSError | sqlite3.Error):
        return None
    database = DatabaseUrl.parse(settings.database)
    said = mask(_innermost(error))
    of_log = isinstance(error, EventLogError)
    if not database.is_sqlite and not of_log and not _of_a_file(error):
        return _of_server(reason(error), f"PostgreSQL at {mask(settings.database)}", said)
    path = Path(_path_of(error, Path(database.database or "")))
    return _of_file(reason(error), path, settings.data_dir, said)


def _of_server(why: Reason, server: str, said: str) -> str:
    if why is Reason.READ_ONLY:
        advice = "name the primary in database_url (HUB_DATABASE_URL), or several hosts with target_session_attrs=read-write"
        return f"{server} takes no writes ({said}): {advice}"
    if why is Reason.SERVER_FULL:
        return f"{server} has no room or too many connections ({said}): make room there, then start again"
    if why is Reason.DAMAGED:
        return f"{server} reports damaged data ({said}): its administrator must look at it before the hub starts"
    return f"{server} cannot be used ({said}): start it, or correct database_url (HUB_DATABASE_URL)"


def _of_file(why: Reason, path: Path, data_dir: Path, said: str) -> str:
    match why:
        case Reason.FULL:
            return f"the disk of {path.parent} is full ({said}): make room, then start again"
        case Reason.LOCKED:
            return f"{path} is locked by another process ({said}): end the command, backup or SQLite shell that has it, then start again"
        case Reason.DAMAGED:
            return (
                f"{path} is damaged ({said}): keep a copy of the data folder, look with hub doctor --data-dir {data_dir}, then restore a "
                f"backup, or have hub doctor --data-dir {data_dir} --salvage NEW-FOLDER save what can still be read"
            )
        case Reason.NOT_WRITABLE:
            return f"{path} cannot be opened for writing by uid {os.getuid()} ({said}): start the hub as the owner of {path.parent}"
        case Reason.CHANGED:
            return said
        case _:
            return f"{path} cannot be used ({said}): look at the disk, and at hub doctor --data-dir {data_dir}"


def _of_a_file(error: BaseException) -> bool:
    """Whether the error concerns a file of this machine, not the database server."""
    return isinstance(error, OSError) and error.filename is not None


def _path_of(error: BaseException, otherwise: Path) -> str:
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, EventLogError) and at.path is not None:
            return str(at.path)
        if isinstance(at, OSError) and at.filename is not None:
            return str(at.filename)
        at = at.__cause__
    return str(otherwise)


def _innermost(error: BaseException) -> str:
    """The first line of the innermost error, which the database or the operating system reported."""
    at = error
    while True:
        inner = getattr(at, "orig", None) or at.__cause__
        if not isinstance(inner, BaseException):
            return (at.strerror if isinstance(at, OSError) and at.strerror else None) or _line(at)
        at = inner


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
