"""Copies a SQLite file before a newer hub changes its tables."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

SUFFIX: Final = ".before-upgrade"
"""The end of the copy's name. Each upgrade replaces the copy of the upgrade before."""

BUSY_TIMEOUT_S: Final = 5.0
"""Seconds for which reading waits for another process that has locked the file."""

_log = structlog.get_logger(__name__)


def copy_before_upgrade(path: Path) -> Path:
    """Copy a SQLite file to ``<its name>.before-upgrade`` beside it, readable by its owner only; returns the path of the copy. If the
    process is killed meanwhile, there is either the copy of the upgrade before, or the complete new one. The caller must make sure that
    nobody writes to the file.

    Raises:
        OSError: the copy cannot be made.
        sqlite3.Error: the file cannot be read, or the copy cannot be written.
    """
    copy = path.with_name(path.name + SUFFIX)
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)  # left by a process that was killed
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with (
            closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as source,
            closing(sqlite3.connect(part)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # so that the copy is one file, without a write-ahead log
        _sync(part)
        os.replace(part, copy)
        _sync(copy.parent)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _log.warning("copied_before_upgrade", file=str(path), copy=str(copy))
    return copy


def _sync(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
