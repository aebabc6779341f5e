"""Where tests keep their files: in memory, on a machine with room for all of them, and else where the system has its temporary files.

What the hub acknowledges lies on the disk (``fsync``), and most tests write to a database or a store of their own: some ten times each for
4 ms, and a sixth of their CPU. Nothing in a test depends on a power cut, and whatever else ends a process leaves what it has written there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SHARED_MEMORY: Final = Path("/dev/shm")
"""A file system in memory, on Linux."""

NEEDED_BYTES: Final = 8 * 1024**3
"""What must be free of the file system and of the memory: all files of a whole run are three times less."""

_NAME: Final = "hubt-"


def memory_folder(environment: Mapping[str, str] = os.environ, shared: Path = SHARED_MEMORY, needed: int = NEEDED_BYTES) -> Path | None:
    """Make the folder of this process for the files of its tests. None where somebody chose another one (``TMPDIR``), where there is not
    enough room, or where files there cannot have what S3's server of the tests gives them (user attributes: Linux 6.6).
    """
    if "TMPDIR" in environment or not shared.is_dir() or min(shutil.disk_usage(shared).free, _available()) < needed:
        return None
    folder = shared / f"{_NAME}{os.getpid()}"
    folder.mkdir(mode=0o755)  # PostgreSQL runs as a user of its own where the tests run as root
    try:
        os.setxattr(folder, "user.hub-tests", b"")
    except OSError:
        folder.rmdir()
        return None
    return folder


def remove_left(shared: Path = SHARED_MEMORY) -> None:
    """Remove what runs left there that have ended: those that failed keep their files until the next one begins."""
    for folder in shared.glob(f"{_NAME}*"):
        if not Path("/proc", folder.name.removeprefix(_NAME)).exists():
            shutil.rmtree(folder, ignore_errors=True)


def use(folder: Path) -> None:
    """Have this process, and those that it starts, keep temporary files there."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _available() -> int:
    """The bytes of memory that programs may have yet."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    raise RuntimeError("expected a line MemAvailable in /proc/meminfo")
