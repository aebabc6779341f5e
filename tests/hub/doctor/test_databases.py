"""What `hub doctor` says of databases, and what it salvages of damaged ones: real files with flipped bytes."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.core.message import Topic
from hub.doctor.salvage import SalvageError, salvage
from hub.eventlog.channel_log import Selection
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.transports.runtime import SystemClock
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import clean_environment, run_hub

__all__ = ["postgres"]

RECORDS = 3000
PAGE = 4096


async def fill(data: Path) -> None:
    """A tenant, some events of two streams with a snapshot, and some messages of a log channel."""
    assert run_hub(["tenant", "add", "acme", "--data-dir", str(data)], data.parent, clean_environment()).returncode == 0
    log = SqliteEventLog(data)
    for stream in ("s", "t"):
        for first in range(0, RECORDS, 100):
            await log.append("acme", stream, [f"{stream} {number} {'x' * 100}".encode() for number in range(first, first + 100)])
    await log.save_snapshot("acme", "s", "owner", RECORDS, b"state")
    await log.close()
    channels = SqliteChannelLog(data, SystemClock())
    for number in range(200):
        await channels.append(Topic("acme", "", "/orders"), str(number).encode(), b"")
    await channels.close()
    (data / "secret").write_text("s" * 32)
    (data / "secret").chmod(0o600)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    await fill(folder)
    return folder


def doctor(data: Path, *arguments: str) -> tuple[int, Any]:
    done = run_hub(["doctor", "--data-dir", str(data), "--json", *arguments], data.parent, clean_environment())
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def problems(found: list[dict[str, str]]) -> dict[str, str]:
    return {finding["subject"]: finding["message"] for finding in found if finding["level"] == "problem"}


def pages_of(path: Path, marks: tuple[bytes, ...]) -> list[int]:
    """The numbers of pages that hold one of these texts."""
    content = path.read_bytes()
    return [
        number + 1 for number in range(len(content) // PAGE) if any(mark in content[number * PAGE : (number + 1) * PAGE] for mark in marks)
    ]


def flip(path: Path, pages: list[int]) -> None:
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(random.Random(page).randbytes(PAGE))


def events_of(path: Path) -> Iterator[tuple[str, int, bytes]]:
    with closing(sqlite3.connect(path)) as connection:
        yield from connection.execute("SELECT s.name, r.position, r.record FROM records r JOIN streams s ON s.id = r.stream ORDER BY 1, 2")


def test_a_folder_that_is_well(data: Path) -> None:
    code, found = doctor(data)
    assert problems(found) == {}
    assert code == 0
    whole = {finding["subject"] for finding in found if finding["message"] == "it is whole"}
    assert whole == {"hub.db", "events.db", "channels.db"}


@pytest.mark.parametrize("name", ["hub.db", "events.db", "channels.db"])
def test_a_page_that_is_damaged_is_found(data: Path, name: str) -> None:
    with closing(sqlite3.connect(data / name)) as connection:
        (table,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE type = 'table' ORDER BY rootpage LIMIT 1").fetchone()
    flip(data / name, [table])
    code, found = doctor(data)
    assert code == 1
    assert problems(found)[name].startswith("it is damaged: ")


def test_a_file_that_is_no_database_does_not_keep_the_others_from_being_looked_at(data: Path) -> None:
    (data / "hub.db").write_bytes(b"nothing" * 1000)
    code, found = doctor(data)
    assert code == 1
    assert problems(found)["hub.db"] == "it is damaged: file is not a database"
    assert {finding["subject"] for finding in found if finding["message"] == "it is whole"} == {"events.db", "channels.db"}


def test_versions_of_a_newer_hub(data: Path) -> None:
    for name in ("events.db", "channels.db"):
        with closing(sqlite3.connect(data / name)) as connection:
            connection.execute("PRAGMA user_version = 99")
    with closing(sqlite3.connect(data / "hub.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'z_0009' WHERE rowid = (SELECT min(rowid) FROM alembic_version)")
        connection.commit()
    found = problems(doctor(data)[1])
    assert found["hub.db"] == "a newer hub wrote it: z_0009"
    assert found["events.db"].startswith("schema 99;")
    assert found["channels.db"].startswith("schema 99;")


def test_positions_ahead_of_the_clock(data: Path) -> None:
    with closing(sqlite3.connect(data / "channels.db")) as connection:
        connection.execute("UPDATE logs SET top = top + 3600000000")
        connection.commit()
    (clock,) = [finding for finding in doctor(data)[1] if "positions are" in finding["message"]]
    assert clock["level"] == "warning"


async def test_a_postgresql_that_takes_no_writes(data: Path, postgres: Postgres) -> None:
    name = await postgres.migrated()
    url = postgres.url(name)
    assert {finding["subject"] for finding in doctor(data, "--database-url", url)[1] if "takes writes" in finding["message"]} == {
        "PostgreSQL"
    }
    other = await postgres.create()
    with psycopg.connect(host=str(postgres.socket_dir), user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {other} SET default_transaction_read_only = on".encode())
    url = postgres.url(other)
    code, found = doctor(data, "--database-url", url)
    assert code == 1
    assert problems(found)["PostgreSQL"].endswith("takes no writes: read-only")


def test_a_whole_folder_is_salvaged_whole(data: Path, tmp_path: Path) -> None:
    code, found = doctor(data, "--salvage", str(tmp_path / "new"))
    assert code == 0
    assert {report["name"]: report["rows"] for report in found["events.db"]} == {"records": 2 * RECORDS, "streams": 2, "snapshots": 1}
    assert list(events_of(tmp_path / "new" / "events.db")) == list(events_of(data / "events.db"))
    assert (tmp_path / "new" / "secret").read_text() == "s" * 32
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "new").iterdir()} == {"0o600"}
    assert problems(doctor(tmp_path / "new")[1]) == {}
    assert "acme" in run_hub(["tenant", "list", "--data-dir", str(tmp_path / "new")], tmp_path, clean_environment()).stdout


async def test_rows_around_damaged_pages_are_salvaged(data: Path, tmp_path: Path) -> None:
    """Three of the pages of records are damaged, in two streams: what stands on the others is saved, with its positions."""
    before = {(stream, position): record for stream, position, record in events_of(data / "events.db")}
    damaged = sorted({page for mark in (b"s 700 ", b"s 2000 ", b"t 1500 ") for page in pages_of(data / "events.db", (mark,))[:1]})
    content = (data / "events.db").read_bytes()
    lost = {key for key, record in before.items() if any(record in content[(page - 1) * PAGE : page * PAGE] for page in damaged)}
    assert lost
    flip(data / "events.db", damaged)
    code, found = doctor(data, "--salvage", str(tmp_path / "new"))
    assert code == 1
    (records,) = [report for report in found["events.db"] if report["name"] == "records"]
    assert records["gaps"]
    after = {(stream, position): record for stream, position, record in events_of(tmp_path / "new" / "events.db")}
    assert before.items() >= after.items()
    assert before.keys() - after.keys() <= lost  # nothing that was readable is missing
    assert len(after) > 2 * RECORDS - 200
    log = SqliteEventLog(tmp_path / "new")  # and a hub goes on with it
    assert await log.append("acme", "s", [b"next"]) == RECORDS + 1
    assert await log.load_snapshot("acme", "s", "owner") == (RECORDS, b"state")
    await log.close()


async def test_messages_of_log_channels_are_salvaged(data: Path, tmp_path: Path) -> None:
    doctor(data, "--salvage", str(tmp_path / "new"))
    log = SqliteChannelLog(tmp_path / "new", SystemClock())
    page = await log.read(Selection("acme", ("",), frozenset({"/orders"})), 0, 10**6)
    await log.close()
    assert [record.data for record in page.records] == [str(number).encode() for number in range(200)]


def test_a_file_of_which_nothing_can_be_read_is_said_and_left_out(data: Path, tmp_path: Path) -> None:
    flip(data / "events.db", [1])
    code, found = doctor(data, "--salvage", str(tmp_path / "new"))
    assert code == 1
    assert "nothing can be read" in found["events.db"][0]["gaps"][0]
    assert not (tmp_path / "new" / "events.db").exists()
    assert (tmp_path / "new" / "hub.db").exists()


def test_a_folder_that_is_there_is_not_written_into(data: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    code, said = doctor(data, "--salvage", str(tmp_path / "new"))
    assert code == 1
    assert "expected a folder that is not there yet" in said.replace("\n", " ")


async def test_a_hub_that_runs_is_not_salvaged(data: Path, tmp_path: Path) -> None:
    log = SqliteEventLog(data)
    code, said = doctor(data, "--salvage", str(tmp_path / "new"))
    assert code == 1
    assert f"is in use by process {os.getpid()}" in said.replace("\n", " ")
    await log.close()


def test_nothing_of_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"x" * 10_000)
    with pytest.raises(SalvageError, match="file is not a database"):
        salvage(tmp_path / "x.db", tmp_path / "y.db")
