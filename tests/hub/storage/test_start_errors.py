"""A hub that cannot start says why in one sentence, and what to do; so do the commands that open its database."""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hub.eventlog.sqlite import SqliteEventLog
from hub.ops.settings import Settings
from hub.ops.start_errors import explain
from tests.hub.storage.backends import Postgres
from tests.support.hub_process import clean_environment, run_hub

QUIET = clean_environment({"HUB_LOG_LEVEL": "error"})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a tenant in its database."""
    folder = tmp_path_factory.mktemp("template")
    assert run_hub(["tenant", "add", "acme", "--data-dir", "data"], folder, QUIET).returncode == 0
    return folder / "data"


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    for path in template.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    return made


def serve(data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return run_hub(["serve", "--port", "0", "--data-dir", str(data), *flags], data.parent, QUIET)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command printed when it failed."""
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Traceback" not in line
    return line


def no_database(path: Path) -> None:
    path.write_bytes(b"this was never a database" * 500)


def torn(path: Path) -> None:
    """The pages behind the first are of nothing, as after a write that the disk never did."""
    size = path.stat().st_size if path.exists() else 0
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


@pytest.mark.parametrize("damage", [no_database, torn])
def test_a_damaged_database(data: Path, damage: Callable[[Path], None]) -> None:
    damage(data / "hub.db")
    for said in (sentence(serve(data)), sentence(run_hub(["tenant", "list", "--data-dir", str(data)], data.parent, QUIET))):
        assert re.search(r"hub\.db is damaged \((file is not a database|database disk image is malformed)\): keep a copy", said)
        assert f"hub doctor --data-dir {data}" in said


@pytest.mark.parametrize("name", ["events.db", "channels.db"])
def test_a_damaged_log(data: Path, name: str) -> None:
    no_database(data / name)
    assert f"{data / name} is damaged (file is not a database)" in sentence(serve(data))


@pytest.mark.parametrize("name", ["hub.db", "events.db"])
async def test_a_torn_page_that_the_start_does_not_touch(data: Path, tmp_path: Path, name: str) -> None:
    """As a machine leaves it that stopped while a page was written: the write-ahead log is there, and a page of an index is half old."""
    log = SqliteEventLog(data)
    for _ in range(50):
        await log.append("acme", "s", [b"x" * 1000] * 10)
    with closing(sqlite3.connect(data / "hub.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE big (name TEXT)")
        database.executemany("INSERT INTO big VALUES (?)", [("x" * 1000,)] * 500)
        database.commit()
        for path in ("hub.db", "events.db"):
            with closing(sqlite3.connect(data / path)) as other:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        # the log begins anew: what it held before is in the file alone
        database.execute("UPDATE revision SET number = number + 1")
        database.commit()
        await log.append("acme", "s", [b"y"])
        left = tmp_path / "left"
        shutil.copytree(data, left, ignore=shutil.ignore_patterns("*.lock"))
    await log.close()
    middle = (left / name).stat().st_size // 4096 // 2 * 4096
    with (left / name).open("r+b") as file:
        file.seek(middle)
        file.write(b"\xff" * 2000)
    said = sentence(serve(left))
    assert f"{left / name} is damaged" in said
    assert "--salvage" in said


def test_a_database_of_a_newer_hub(data: Path) -> None:
    with closing(sqlite3.connect(data / "hub.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'future_9999' WHERE rowid = (SELECT min(rowid) FROM alembic_version)")
        connection.commit()
    for said in (sentence(serve(data)), sentence(run_hub(["token", "list", "--data-dir", str(data)], data.parent, QUIET))):
        assert "was written by a newer hub than" in said
        assert said.endswith("start that version of the hub again, or restore the backup that was made before the upgrade")


@pytest.mark.parametrize("name", ["events.db", "channels.db"])
def test_a_log_of_a_newer_hub(data: Path, name: str) -> None:
    with closing(sqlite3.connect(data / name)) as connection:
        connection.execute("PRAGMA user_version = 999")
    said = sentence(serve(data))
    assert f"{data / name} was made by a later version" in said
    assert "start that version of the hub again" in said


def test_a_postgresql_that_is_not_there(data: Path) -> None:
    url = "postgresql://hub:geheim@127.0.0.1:1/hub"
    for done in (serve(data, "--database-url", url), run_hub(["tenant", "list", "--database-url", url], data.parent, QUIET)):
        said = sentence(done)
        assert "PostgreSQL at" in said
        assert "start it, or correct database_url (HUB_DATABASE_URL)" in said
        assert "geheim" not in said


def test_a_postgresql_without_the_database(data: Path, postgres: Postgres) -> None:
    url = postgres.url("nowhere")
    assert 'database "nowhere" does not exist' in sentence(serve(data, "--database-url", url))


def test_a_database_that_another_process_has_locked(data: Path) -> None:
    with closing(sqlite3.connect(data / "hub.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert "hub.db is locked by another process" in sentence(serve(data))


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    said = sentence(serve(tmp_path / "data"))
    assert str(tmp_path / "data") in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "data/secret"), "data/secret cannot be opened for writing by uid"),
        (OSError(errno.EROFS, "Read-only file system", "data/hub.db"), "data/hub.db cannot be opened for writing by uid"),
        (OSError(errno.ENOSPC, "No space left on device", "data/hub.db"), "the disk of data is full (No space left on device): make room"),
        (ValueError("a fault of ours"), None),
    ],
)
def test_what_the_system_refuses(error: Exception, said: str | None) -> None:
    """Root, as whom tests may run, is refused nothing: the errors are made here."""
    found = explain(error, Settings(data_dir=Path("data")))
    assert (found is None) if said is None else (found is not None and found.startswith(said))


def test_who_makes_a_new_database_says_so_and_where(tmp_path: Path) -> None:
    made = run_hub(["tenant", "add", "acme", "--data-dir", "typo", "--json"], tmp_path, QUIET)
    assert made.returncode == 0
    assert made.stderr == f"made a new database: {tmp_path / 'typo' / 'hub.db'}\n"
    assert run_hub(["tenant", "list", "--data-dir", "typo"], tmp_path, QUIET).stderr == ""


@pytest.mark.parametrize(
    "command", [["tenant", "list"], ["user", "list"], ["endpoint", "list"], ["channel", "list"], ["file", "list"]], ids=str
)
def test_a_command_that_begins_no_database_says_that_there_is_none(tmp_path: Path, command: list[str]) -> None:
    refused = run_hub([*command, "--data-dir", "typo"], tmp_path, QUIET)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"there is no database at {tmp_path / 'typo' / 'hub.db'}: name the folder of the hub with --data-dir")
    assert not (tmp_path / "typo").exists()


async def test_who_makes_new_tables_in_postgresql_says_so_without_the_password(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url(await postgres.create()).replace("postgresql://postgres@", "postgresql://postgres:geheim@")
    made = run_hub(["tenant", "add", "acme", "--database-url", url], tmp_path, QUIET)
    assert made.stderr.startswith("made a new database: postgresql://postgres:***@/hub_")
    assert run_hub(["tenant", "list", "--database-url", url], tmp_path, QUIET).stderr == ""
