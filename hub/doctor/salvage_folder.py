"""Makes a new data folder with everything that can still be read from an old one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from hub.doctor.salvage import SalvageError, TableReport, salvage
from hub.eventlog import channel_log_sqlite, sqlite
from hub.ops.settings import Settings
from hub.storage.lock import lock
from hub.storage.url import DatabaseUrl

_BESIDE: Final = ("*.db", "*.db-wal", "*.db-shm", "*.db-journal", "*.lock", "*.migrating")
"""Files that are not copied unchanged: the databases, and the files beside them while they are open."""


def salvage_folder(settings: Settings, into: Path) -> dict[str, list[TableReport]]:
    """Write a new folder with the readable rows of each database and a copy of every other file. Returns the reports of the tables by file.
    If nothing of a file can be read, it has one report without rows that says why, and the file is not in the new folder.

    Raises:
        SalvageError: there is no data folder, or the new folder exists already.
        InUseError: a hub has a file open.
        OSError: the new folder cannot be written.
    """
    folder = settings.data_dir
    if not folder.is_dir():
        raise SalvageError(f"there is no data folder {folder.absolute()}")
    if into.exists():
        raise SalvageError(f"expected a folder that is not there yet, got {into.absolute()}")
    database = DatabaseUrl.parse(settings.database).path
    sources = [path for path in (database, folder / sqlite.FILE_NAME, folder / channel_log_sqlite.FILE_NAME) if path and path.is_file()]
    held = [lock(path) for path in sources if path.with_name(f"{path.name}.lock").exists()]
    try:
        shutil.copytree(folder, into, ignore=shutil.ignore_patterns(*_BESIDE))
        into.chmod(0o700)
        return {path.name: _salvaged(path, into / path.name) for path in sources}
    finally:
        for descriptor in held:
            os.close(descriptor)


def _salvaged(source: Path, target: Path) -> list[TableReport]:
    try:
        return salvage(source, target)
    except SalvageError as error:
        target.unlink()
        return [TableReport("(the file)", 0, [f"nothing can be read: {error}"])]
