"""Migrations: every table-owning part brings a package of Alembic versions; all of them are run at start, by one process at a time."""

import asyncio
import fcntl
import hashlib
import importlib
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError, to_tuple
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text

from hub import __version__
from hub.storage.database import Database
from hub.storage.interface import StorageError
from hub.storage.upgrade_copy import copy_before_upgrade

HUB: Final = ("hub.security.migrations", "hub.outbox.migrations")
"""The hub's own versions; a family names its own in ``Family.migrations``. Each package begins a branch of its own (``branch_labels``)."""

BUSY_TIMEOUT_S: Final = 5.0
"""How long SQLite waits for another process's transaction before it gives up."""

CONNECT_TIMEOUT_S: Final = 5
"""How long a new connection to PostgreSQL may take, unless the URL says otherwise (``?connect_timeout=``)."""

_ADVISORY_LOCK: Final = int.from_bytes(hashlib.sha256(b"hub.storage.migrations").digest()[:8], "big", signed=True)


class NewerDatabaseError(StorageError):
    """A newer hub wrote the database."""


async def migrate(database: Database, packages: Sequence[str] = HUB) -> bool:
    """Bring the database to the newest version of every package; returns whether it is a new one, which had none yet. Safe when several
    processes start at once: the others wait. All that is missing is done in one transaction: a process that is killed leaves the old
    tables or the new ones. A SQLite file is copied before (:func:`hub.storage.upgrade_copy.copy_before_upgrade`).

    Raises:
        ModuleNotFoundError: a package that is not there.
        NewerDatabaseError: the database has a version that no package knows: it was written by a newer hub.
        StorageError: a SQLite file cannot be copied.
    """
    return await asyncio.to_thread(_migrate, database, packages)


def _migrate(database: Database, packages: Sequence[str]) -> bool:
    config = _config(packages)
    engine = _engine(database)
    lock = None if database.path is None else _lock(database.path)
    try:
        with engine.connect() as connection:
            if not database.is_sqlite:
                # of the transaction, which is that of all migrations: behind a pooler the next one may be another server connection's
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            return _upgrade(connection, config, database.path)
    finally:
        engine.dispose()
        if lock is not None:
            lock.close()


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


def _engine(database: Database) -> Engine:
    """What Alembic works on: one connection in one thread, closed when it is done."""
    if not database.is_sqlite:
        arguments: dict[str, Any] = {"prepare_threshold": None}  # a pooler may lend out another server connection at any time
        if "connect_timeout" not in database.url.query:
            arguments["connect_timeout"] = CONNECT_TIMEOUT_S
        return create_engine(database.url, poolclass=NullPool, connect_args=arguments)
    engine = create_engine(database.url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})

    def check(*_: object) -> None:
        if database.file is not None:
            database.file.check()  # SQLite would make a new file in the place of one that is gone

    event.listen(engine, "do_connect", check)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _lock(path: Path) -> IO[str]:
    """Hold a lock file beside the database; a process that dies lets go of it."""
    lock = os.fdopen(os.open(path.with_name(f"{path.name}.migrating"), os.O_CREAT | os.O_RDWR, 0o600), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _upgrade(connection: Connection, config: Config, path: Path | None) -> bool:
    """Run what is missing, in the one transaction that the connection has. ``path`` is the SQLite file, which is copied before its tables
    change: the connection holds its write lock, so nobody else writes meanwhile.
    """
    found = set(MigrationContext.configure(connection).get_current_heads())
    config.attributes["connection"] = connection
    try:
        if path is not None and found and _lacks(ScriptDirectory.from_config(config), found):
            try:
                copy_before_upgrade(path)
            except (OSError, sqlite3.Error) as fault:
                raise StorageError(f"{path} cannot be copied before its tables are changed: {fault}") from fault
        command.upgrade(config, "heads")
    except CommandError as fault:
        if isinstance(fault.__cause__, ResolutionError):
            url = connection.engine.url
            shown = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
            raise NewerDatabaseError(f"{shown} was written by a newer hub than {__version__}: {fault}") from fault
        raise
    connection.commit()
    return not found


def _lacks(scripts: ScriptDirectory, found: set[str]) -> bool:
    """Whether a database of these versions lacks one. A version stands for all that it follows and depends on.

    Raises:
        CommandError: a version that no package knows.
    """
    there: set[str] = set()
    waiting = list(found)
    while waiting:
        script = scripts.get_revision(waiting.pop())
        if script.revision not in there:
            there.add(script.revision)
            waiting += [*to_tuple(script.down_revision, default=()), *to_tuple(script.dependencies, default=())]
    return not there.issuperset(scripts.get_heads())
