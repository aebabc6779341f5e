"""Checks of the database and the logs: that they are undamaged, readable and of a known version, and that the server's clock is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from hub.doctor.inspection import Finding, Inspection, Level, read_file
from hub.eventlog import channel_log_sqlite, sqlite
from hub.storage.migrations import unknown_versions
from hub.storage.transactions import StorageError

MAX_ERRORS: Final = 5
"""Errors of one file that are reported at most."""

CLOCK_SLACK_MS: Final = 5_000
"""Milliseconds by which the clocks of this machine and of the database may differ."""

_OLD_VERSION: Final = "start the newer version of the hub, or restore the backup that was made before the upgrade"


def files(inspection: Inspection) -> Iterator[Path]:
    """The SQLite files of the hub that exist."""
    named = (inspection.database_path, inspection.data_dir / sqlite.FILE_NAME, inspection.data_dir / channel_log_sqlite.FILE_NAME)
    yield from (path for path in named if path is not None and path.is_file())


def integrity(inspection: Inspection) -> Iterable[Finding]:
    """Check that every page of every SQLite file is undamaged; this reads the whole of each file."""
    for path in files(inspection):
        try:
            said = [str(text) for (text,) in read_file(path, f"PRAGMA integrity_check({MAX_ERRORS})")]
            said += [f"{table}: a row refers to one that is not there" for table, *_ in read_file(path, "PRAGMA foreign_key_check")]
        except StorageError as error:
            said = [str(error.__cause__)]
        if said == ["ok"]:
            yield Finding(Level.OK, path.name, "it is whole")
            continue
        reported = "; ".join(each for each in said[:MAX_ERRORS] if each != "ok")
        advice = "keep a copy of the folder; restore a backup, or save what can be read with --salvage NEW-FOLDER"
        yield Finding(Level.PROBLEM, path.name, f"it is damaged: {reported}", advice)


def versions(inspection: Inspection) -> Iterable[Finding]:
    """Check that this version of the hub knows the versions of the database and of the files."""
    for path, known in (
        (inspection.data_dir / sqlite.FILE_NAME, sqlite.SCHEMA_VERSION),
        (inspection.data_dir / channel_log_sqlite.FILE_NAME, channel_log_sqlite.SCHEMA_VERSION),
    ):
        if path.is_file():
            ((version,),) = read_file(path, "PRAGMA user_version")
            newer = version > known
            advice = _OLD_VERSION if newer else ""
            yield Finding(Level.PROBLEM if newer else Level.OK, path.name, f"schema {version}; this hub knows up to {known}", advice)
    database = inspection.database_path
    if database is not None and not database.is_file():
        yield Finding(Level.WARNING, database.name, f"there is no file {database.absolute()}", "hub serve, or hub tenant add, makes it")
        return
    found = [str(version) for (version,) in inspection.rows("SELECT version_num FROM alembic_version ORDER BY 1")]
    subject = "database" if database is None else database.name
    if unknown := unknown_versions(inspection.migrations, found):
        yield Finding(Level.PROBLEM, subject, f"a newer hub wrote it: {', '.join(unknown)}", _OLD_VERSION)
    else:
        yield Finding(Level.OK, subject, f"schema {', '.join(found)}")


def clocks(inspection: Inspection) -> Iterable[Finding]:
    """Check that positions of log channels are not ahead of this machine's clock, and that PostgreSQL's clock agrees with it."""
    channels = inspection.data_dir / channel_log_sqlite.FILE_NAME
    if channels.is_file():
        ((top_us,),) = read_file(channels, "SELECT max(top) FROM logs")
        if top_us is not None and top_us // 1000 > inspection.now_ms + CLOCK_SLACK_MS:
            ahead_s = (top_us // 1000 - inspection.now_ms) // 1000
            message = f"positions are {ahead_s} s ahead of this machine's clock, which was ahead once, or is behind now"
            yield Finding(Level.WARNING, "clock", message, "set the clock, and keep it right with NTP; positions go on from the newest one")
    if inspection.database_path is None:
        ((there_ms,),) = inspection.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        if abs(there_ms - inspection.now_ms) > CLOCK_SLACK_MS:
            message = f"the clocks of PostgreSQL and of this machine differ by {abs(there_ms - inspection.now_ms) // 1000} s"
            yield Finding(Level.WARNING, "clock", message, "keep both right with NTP")


def server(inspection: Inspection) -> Iterable[Finding]:
    """Check that PostgreSQL answers and takes writes."""
    if inspection.database_path is not None:
        return
    ((read_only, version),) = inspection.rows("SELECT current_setting('default_transaction_read_only'), current_setting('server_version')")
    ((standby,),) = inspection.rows("SELECT pg_is_in_recovery()")
    if standby or read_only == "on":
        advice = "name the primary in database_url, or several hosts with target_session_attrs=read-write"
        yield Finding(Level.PROBLEM, "PostgreSQL", f"version {version} takes no writes: {'a standby' if standby else 'read-only'}", advice)
    else:
        yield Finding(Level.OK, "PostgreSQL", f"version {version} answers and takes writes")
