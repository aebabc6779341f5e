"""A data folder of version 0.1.0 (tests/channels/statistics/recorded_0_1_0) is copied, then brought up to date, or left as it was."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from channels.families import FAMILIES
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.interface import EventLogError
from hub.families import migrations_of
from hub.storage.interface import StorageError
from hub.storage.migrations import migrate, versions_of
from hub.storage.schema import newest
from hub.transports.runtime import SystemClock
from tests.hub.storage.backends import Sqlite, opened

RECORDED = Path(__file__).parents[2] / "channels" / "statistics" / "recorded_0_1_0"

PACKAGES = migrations_of(FAMILIES)

OLD = {"messaging_0001", "secure_email_0001", "interactions_0001"}
"""What 0.1.0 noted of its versions; they stand for those that they depend on, too."""

NEW = set(newest(versions_of(PACKAGES)))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The ``hub.db`` of 0.1.0."""
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((RECORDED / "hub.sql").read_text())
    return path


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def versions(path: Path) -> set[object]:
    return {version for (version,) in rows(path, "SELECT version_num FROM alembic_version")}


def dump(path: Path) -> list[str]:
    """All that is in a file, but for what marks the file itself."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


def copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-upgrade")


async def upgrade(path: Path) -> None:
    async with opened(f"sqlite:///{path}") as database:
        assert not await migrate(database, PACKAGES)


async def test_it_is_copied_then_upgraded(old: Path) -> None:
    before = dump(old)
    with capture_logs() as logs:
        await upgrade(old)
    assert {path.name for path in old.parent.iterdir()} == {"hub.db", "hub.db.migrating", "hub.db.before-upgrade"}
    assert dump(copy_of(old)) == before
    assert (versions(copy_of(old)), versions(old)) == (OLD, NEW)
    assert stat.S_IMODE(copy_of(old).stat().st_mode) == 0o600
    assert [entry["copy"] for entry in logs if entry["event"] == "copied_before_upgrade"] == [str(copy_of(old))]


async def test_the_copy_opens_as_the_old_one_did(old: Path) -> None:
    await upgrade(old)
    again = old.parent / "again.db"
    copy_of(old).rename(again)
    await upgrade(again)
    assert versions(again) == NEW


async def test_what_is_up_to_date_or_new_is_not_copied(old: Path, sqlite: Sqlite) -> None:
    await upgrade(old)
    copy_of(old).unlink()
    await upgrade(old)
    assert not copy_of(old).exists()
    async with opened(f"sqlite:///{old.parent / 'new.db'}") as database:
        assert await migrate(database, PACKAGES)
    assert not copy_of(old.parent / "new.db").exists()


async def test_an_upgrade_that_cannot_be_copied_before_is_not_begun(old: Path) -> None:
    before = dump(old)
    copy_of(old).mkdir()  # a file cannot take its place
    with pytest.raises(StorageError, match="cannot be copied before its tables are changed"):
        await upgrade(old)
    assert dump(old) == before
    assert not copy_of(old).with_name("hub.db.before-upgrade.part").exists()
    copy_of(old).rmdir()
    await upgrade(old)


DIE = """
import asyncio, os, shutil, signal, sys

from channels.families import FAMILIES
from hub.families import migrations_of
from hub.storage.database import Database
from hub.storage.migrations import migrate
from hub.storage.transactions_sqlite import SqliteConnection

left = 0

def step(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def audited(event, arguments):
    if event in ("os.rename", "os.remove") or event == "open" and ".before-upgrade" in str(arguments[0]):
        step()

sys.addaudithook(audited)
def traced(self, *arguments, made=SqliteConnection.__init__, **options):
    made(self, *arguments, **options)
    self.raw.set_trace_callback(step)

def closed(self, close=SqliteConnection.close):
    step()
    close(self)

SqliteConnection.__init__, SqliteConnection.close = traced, closed

async def upgrade(path):
    database = Database(f"sqlite:///{path}")
    await migrate(database, migrations_of(FAMILIES))
    database.close()

def taken(path, steps):
    global left
    shutil.copyfile(f"{folder}/hub.db", path)
    left = steps
    asyncio.run(upgrade(path))
    return steps - left

folder = sys.argv[1]
whole = taken(f"{folder}/whole.db", 1000)
chosen = sorted({0, 1, 2, 3, 4, 5, whole // 2, whole - 3, whole - 2, whole - 1})
for at in chosen:
    child = os.fork()
    if child == 0:
        taken(f"{folder}/killed-{at}.db", at)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, at
print(whole, *chosen)
"""
"""Ends processes at their steps: an open, a rename or a removal of the copy, a statement, the commit among them, or behind it."""


async def test_a_kill_at_any_step_leaves_the_old_or_the_new(old: Path) -> None:
    before = dump(old)
    folder = old.parent
    done = subprocess.run([sys.executable, "-c", DIE, str(folder)], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    steps, *chosen = map(int, done.stdout.splitlines()[-1].split())  # the log is before it
    assert steps > 15
    seen = set()
    for step in chosen:
        path = folder / f"killed-{step}.db"
        found = versions(path)
        assert found in (OLD, NEW), step
        seen.add("old" if found == OLD else "new")
        if found == OLD:
            assert dump(path) == before, step
        if copy_of(path).exists():
            assert dump(copy_of(path)) == before, step
        await upgrade(path)
        assert versions(path) == NEW
        assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert seen == {"old", "new"}


@pytest.fixture
def old_log(tmp_path: Path) -> Path:
    """A ``channels.db`` of schema 1, which had no names of messages."""
    path = tmp_path / "channels.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RECORDED / "channels.sql").read_text())
        connection.executescript("DROP INDEX records_once; ALTER TABLE records DROP COLUMN once; PRAGMA user_version = 1;")
    return path


async def test_a_log_is_copied_before_its_tables_change_and_not_again(old_log: Path) -> None:
    before = dump(old_log)
    for _ in range(2):
        log = SqliteChannelLog(old_log.parent, SystemClock())
        await log.close()
        assert dump(copy_of(old_log)) == before
        assert rows(copy_of(old_log), "PRAGMA user_version") == [(1,)]
        assert rows(old_log, "PRAGMA user_version") == [(2,)]
    assert stat.S_IMODE(copy_of(old_log).stat().st_mode) == 0o600


async def test_a_log_that_cannot_be_copied_is_left_as_it_was(old_log: Path) -> None:
    before = dump(old_log)
    copy_of(old_log).mkdir()
    with pytest.raises(EventLogError, match=r"channels\.db cannot be opened"):
        SqliteChannelLog(old_log.parent, SystemClock())
    assert dump(old_log) == before
    copy_of(old_log).rmdir()
    await SqliteChannelLog(old_log.parent, SystemClock()).close()
