"""Migrations: every table-owning part brings a package of Alembic versions; all of them are run at start, by one process at a time."""

import asyncio
import fcntl
import hashlib
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from hub import __version__
from hub.storage.database import Database
from hub.storage.transactions import StorageError

HUB: Final = ("hub.security.migrations", "hub.outbox.migrations")
"""The hub's own versions; a family names its own in ``Family.migrations``. Each package begins a branch of its own (``branch_labels``)."""

_ADVISORY_LOCK: Final = int.from_bytes(hashlib.sha256(b"hub.storage.migrations").digest()[:8], "big", signed=True)


class NewerDatabaseError(StorageError):
    """A newer hub wrote the database."""


async def migrate(database: Database, packages: Sequence[str] = HUB) -> bool:
    """Bring the database to the newest version of every package; returns whether it is a new one, which had none yet. Safe when several
    processes start at once: the others wait.

    Raises:
        ModuleNotFoundError: a package that is not there.
        NewerDatabaseError: the database has a version that no package knows: it was written by a newer hub.
    """
    config = _config(packages)
    if database.is_sqlite:
        lock = await asyncio.to_thread(_lock, database.path)
        try:
            async with database.engine.connect() as connection:
                return await connection.run_sync(_upgrade, config)
        finally:
            if lock is not None:
                lock.close()
    async with database.engine.connect() as connection:
        # of the transaction, which is that of all migrations: behind a pooler the next one may be another server connection's
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        return await connection.run_sync(_upgrade, config)


def unknown_versions(packages: Sequence[str], versions: Sequence[str]) -> list[str]:
    """Those of a database's versions that no package knows."""
    scripts = ScriptDirectory.from_config(_config(packages))
    known = {script.revision for script in scripts.walk_revisions()}
    return [version for version in versions if version not in known]


def place_of(database: Database) -> str:
    """Where a database is, for people: the whole path of its file, or its URL without the password."""
    return str(database) if database.path is None else str(database.path.absolute())


def _config(packages: Sequence[str]) -> Config:
    folders = [str(Path(path)) for package in packages for path in importlib.import_module(package).__path__]
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(folder.replace("%", "%%") for folder in folders))
    return config


def _lock(path: Path | None):  # type: ignore[no-untyped-def]
    """Hold a lock file beside the database; a process that dies lets go of it."""
    if path is None:
        return None
    lock = os.fdopen(os.open(path.with_name(f"{path.name}.migrating"), os.O_CREAT | os.O_RDWR, 0o600), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _upgrade(connection: Connection, config: Config) -> bool:
    new = not inspect(connection).has_table("alembic_version")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "heads")
    except CommandError as fault:
        if isinstance(fault.__cause__, ResolutionError):
            url = connection.engine.url
            shown = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
            raise NewerDatabaseError(f"{shown} was written by a newer hub than {__version__}: {fault}") from fault
        raise
    connection.commit()
    return new
