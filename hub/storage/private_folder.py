"""Makes folders that no other user of the machine may look into."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MODE: Final = 0o700


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone. ``Path.mkdir`` gives that mode to the last one only.

    Raises:
        OSError: one cannot be made.
    """
    for each in reversed(folder.parents):
        if not each.exists():
            each.mkdir(mode=MODE, exist_ok=True)
    folder.mkdir(mode=MODE, exist_ok=True)
