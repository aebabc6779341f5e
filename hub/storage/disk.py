"""Whether the disk of the data folder has room."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

_MIB = 1024 * 1024


class Disk:
    """The disk on which a folder is."""

    __slots__ = ("_folder", "_min_free_bytes")

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        """``min_free_bytes``: bytes that must be free for the hub to be ready."""
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    async def readiness(self) -> str | None:
        """What is wrong; None if nothing is.

        Raises:
            OSError: the folder does not exist, or cannot be read.
        """
        found = await asyncio.to_thread(os.statvfs, self._folder)
        free = found.f_bavail * found.f_frsize
        if free >= self._min_free_bytes:
            return None
        return f"{free / _MIB:.1f} MiB are free in the data folder, expected at least {self._min_free_bytes / _MIB:.1f}"
