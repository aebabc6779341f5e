"""Checks of the data folder: who may read it, whether the disk has room, and whether the clock is right."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hub.doctor.inspection import Finding, Inspection, Level

LOW_BYTES: Final = 1024**3
"""Free bytes below which there is a warning: as much as a busy hub's logs need for a day."""

CLOCK_SLACK_MS: Final = 60_000
"""Milliseconds by which a file's time may be ahead of the clock: in normal operation, clocks are set back by seconds."""

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def permissions(inspection: Inspection) -> Iterable[Finding]:
    """Check that the folder and its files belong to one user, who may write them, and that nobody else may read them: they contain hashes
    of secrets.
    """
    folder = inspection.data_dir
    if not folder.is_dir():
        yield Finding(
            Level.PROBLEM,
            "data folder",
            f"there is no folder {folder.absolute()}",
            "name the right one with --data-dir; hub serve makes a new one",
        )
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(
            Level.PROBLEM,
            "data folder",
            f"{folder.absolute()} cannot be read and written by this user (uid {os.getuid()})",
            f"run hub doctor and hub serve as the folder's owner (uid {folder.stat().st_uid}), or give the folder to this user",
        )
        return
    wrong = 0
    for path in (folder, *sorted(each for each in folder.rglob("*") if each.is_file() or each.is_dir())):
        found = path.stat()
        if found.st_mode & OTHERS:
            wrong += 1
            yield Finding(
                Level.WARNING,
                _name(path, folder),
                f"other users may use it (mode {stat.S_IMODE(found.st_mode):04o}), and it may hold secrets",
                f"chmod {'700' if path.is_dir() else '600'} {path}",
            )
        elif found.st_uid != folder.stat().st_uid:
            wrong += 1
            yield Finding(
                Level.PROBLEM,
                _name(path, folder),
                f"it belongs to uid {found.st_uid}, the folder to uid {folder.stat().st_uid}",
                f"chown {folder.stat().st_uid} {path}; a command that was run as another user made it",
            )
    if not wrong:
        yield Finding(Level.OK, "permissions", f"{folder.absolute()} and its files are their owner's alone")


def space(inspection: Inspection) -> Iterable[Finding]:
    """Check that the disk has room."""
    if not inspection.data_dir.is_dir():
        return
    free = shutil.disk_usage(inspection.data_dir).free
    level = Level.OK if free >= LOW_BYTES else Level.WARNING if free else Level.PROBLEM
    advice = "" if level is Level.OK else "make room, or lower replay.max_bytes and the retention settings of docs/settings.md"
    yield Finding(level, "space", f"{free // 1024**2} MiB are free", advice)


def clock(inspection: Inspection) -> Iterable[Finding]:
    """Check that no file was written in the future: that would show that the clock is wrong now, or was ahead once."""
    if not inspection.data_dir.is_dir():
        return
    newest = max(inspection.data_dir.rglob("*.db*"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        return
    ahead_ms = int(newest.stat().st_mtime * 1000) - inspection.now_ms
    if ahead_ms > CLOCK_SLACK_MS:
        yield Finding(
            Level.WARNING,
            "clock",
            f"{newest.name} was written {ahead_ms // 1000} s in the future: this machine's clock is behind, or was ahead then",
            "set the clock, and keep it right with NTP",
        )
    else:
        yield Finding(Level.OK, "clock", "no file was written in the future")


def _name(path: Path, folder: Path) -> str:
    return "data folder" if path == folder else str(path.relative_to(folder))
