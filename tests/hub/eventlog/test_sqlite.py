"""What only the SQLite backend can get wrong: files, modes, locks, faults of the disk, and kill -9."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hub.eventlog.interface import EventLogError, LogInUseError
from hub.eventlog.sqlite import SCHEMA_VERSION, SqliteEventLog


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    await log.append("t", "s", [b"a", b"b"])
    await log.save_snapshot("t", "s", "owner", 1, b"state")
    await log.close()
    log = SqliteEventLog(tmp_path)
    try:
        assert [r async for chunk in log.read("t", "s") for r in chunk] == [(1, b"a"), (2, b"b")]
        assert await log.load_snapshot("t", "s", "owner") == (1, b"state")
        assert await log.append("t", "s", [b"c"]) == 3
    finally:
        await log.close()


async def test_close_writes_what_waits(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    waiting = [asyncio.ensure_future(log.append("t", "s", [b"r"])) for _ in range(50)]
    await asyncio.sleep(0)
    await log.close()
    assert [await one for one in waiting] == list(range(1, 51))


async def test_file_and_side_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "data")
    await log.append("t", "s", [b"a"])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "data").iterdir()}
    await log.close()
    assert set(modes.values()) == {0o600}
    assert "events.db-wal" in modes
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


async def test_a_second_log_on_the_file_is_refused(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    with pytest.raises(LogInUseError, match=rf"events\.db is in use by process {os.getpid()}"):
        SqliteEventLog(tmp_path)
    await log.close()
    await SqliteEventLog(tmp_path).close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with _writer(tmp_path) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(LogInUseError, match=f"process {first.pid}"):
            SqliteEventLog(tmp_path)
        first.kill()


async def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(EventLogError, match=f"later version: expected schema {SCHEMA_VERSION} or less, got {SCHEMA_VERSION + 1}"):
        SqliteEventLog(tmp_path)


async def test_a_file_that_is_no_database_is_refused_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(EventLogError, match="cannot be opened"):
        SqliteEventLog(tmp_path)
    path.unlink()
    await SqliteEventLog(tmp_path).close()  # the lock is free again


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventLogError, match="cannot be opened"):
        SqliteEventLog(tmp_path / "file" / "data")


async def test_a_fault_in_a_group_fails_its_own_append_alone(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    poison: list[bytes] = [b"x", object()]  # type: ignore[list-item]
    results = await asyncio.gather(
        log.append("t", "s", [b"a"]), log.append("u", "s", poison), log.append("t", "s", [b"b"]), return_exceptions=True
    )
    records = [r async for chunk in log.read("t", "s") for r in chunk]
    nothing = [r async for chunk in log.read("u", "s") for r in chunk]
    await log.close()
    assert isinstance(results[1], EventLogError)
    assert [results[0], results[2]] == [1, 2]
    assert records == [(1, b"a"), (2, b"b")]
    assert nothing == []


async def test_a_fault_of_the_disk_reaches_the_caller_and_the_log_goes_on(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    await log.append("t", "s", [b"a"])
    blocker = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    blocker.execute("PRAGMA busy_timeout = 0")
    log.file.writing.execute("PRAGMA busy_timeout = 1")
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(EventLogError, match="cannot be written: database is locked"):
        await log.append("t", "s", [b"b"])
    blocker.execute("ROLLBACK")
    blocker.close()
    assert await log.append("t", "s", [b"c"]) == 2
    await log.close()


async def test_a_fault_of_reading_reaches_the_caller(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    log.file.writing.execute("ALTER TABLE streams RENAME TO gone")
    for _ in range(2):
        with pytest.raises(EventLogError, match=r"events\.db cannot be read: no such table: streams"):
            await log.last("t", "s")
    log.file.writing.execute("ALTER TABLE gone RENAME TO streams")
    assert await log.last("t", "s") == 0
    await log.close()


async def test_a_reader_whose_connection_has_ended_opens_another(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    assert await log.append("t", "s", [b"a"]) == 1
    with pytest.raises(EventLogError, match="cannot be read"):
        await log.file.read(lambda connection: connection.close())
    assert await log.last("t", "s") == 1
    await log.close()


async def test_an_append_that_was_given_up_before_its_turn_is_not_written(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path)
    gate = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    gate.execute("BEGIN IMMEDIATE")  # the writer waits for this lock
    first = asyncio.ensure_future(log.append("t", "s", [b"first"]))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(log.append("t", "s", [b"second"]))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    gate.execute("ROLLBACK")
    gate.close()
    assert await first == 1
    assert await log.append("t", "s", [b"third"]) == 2
    await log.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from hub.eventlog.sqlite import SqliteEventLog

async def main():
    log = SqliteEventLog(Path(sys.argv[1]))
    async def one(name):
        count = 0
        while True:
            count += 1
            position = await log.append("t", "s", [b"%s %d" % (name, count)])
            print(position, name.decode(), count, flush=True)
    await asyncio.gather(*(one(b"w%d" % n) for n in range(4)))

asyncio.run(main())
"""


def _writer(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(data_dir)], stdout=subprocess.PIPE, text=True)


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with _writer(tmp_path) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(200)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().splitlines(keepends=True)
    log = SqliteEventLog(tmp_path)
    kept = {position: record async for chunk in log.read("t", "s") for position, record in chunk}
    await log.close()
    for line in acknowledged:
        if not line.endswith("\n"):  # torn by the kill
            continue
        position, name, count = line.split()
        assert kept[int(position)] == f"{name} {count}".encode()
    assert list(kept) == list(range(1, len(kept) + 1))
