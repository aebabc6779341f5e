"""Folders that the nodes of a hub share, such as that of media. A file in each has an id, by which nodes find that it is the same one."""

from __future__ import annotations

import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from hub.storage.private_folder import make_private

MARKER: Final = ".hub-folder"
"""The name of the file. It stays in the folder."""

_ID: Final = re.compile(r"[0-9a-f]{16}")
_WRITTEN_WITHIN_S: Final = 2.0
"""Seconds that another node may take from making the file to writing the id."""


def folder_id(folder: Path) -> str:
    """The id of a folder; the folder and the id are made if they do not exist. It may block: call it from a thread.

    Raises:
        OSError: the folder cannot be read, or not be written; or the file in it holds no id.
    """
    make_private(folder)
    path = folder / MARKER
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    try:
        made = secrets.token_hex(8)
        os.write(descriptor, made.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return made


def known_id(folder: Path) -> str | None:
    """The id of a folder, None if it has none. Nothing is made.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        found = (folder / MARKER).read_text(errors="replace")
    except FileNotFoundError:
        return None
    return found if _ID.fullmatch(found) else None


def _read(path: Path) -> str:
    until = time.monotonic() + _WRITTEN_WITHIN_S
    while True:
        found = path.read_text(errors="replace")
        if _ID.fullmatch(found):
            return found
        if found or time.monotonic() > until:
            raise OSError(f"{path} holds no id of a folder: remove it, while no hub runs")
        time.sleep(0.01)  # another node has just made it
