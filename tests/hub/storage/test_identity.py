"""A database file that was deleted, replaced or overwritten while it is open."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hub.storage.identity import FileIdentity
from hub.storage.reasons import FileChangedError

Opened = tuple[FileIdentity, sqlite3.Connection]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a table and an earlier opening's number."""
    made = tmp_path / "hub.db"
    identity, connection = _open(made)
    connection.execute("CREATE TABLE things (name TEXT)")
    connection.close()
    identity.close()
    return made


def _open(path: Path) -> Opened:
    identity = FileIdentity(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    identity.opened(connection.execute)
    identity.stamp()
    return identity, connection


@pytest.fixture
def opened(path: Path) -> Iterator[Opened]:
    identity, connection = _open(path)
    connection.execute("INSERT INTO things VALUES ('a')")
    identity.check()
    yield identity, connection
    connection.close()
    identity.close()


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    os.replace(path.with_name("copy.db"), path)


def overwrite_with_another_database(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE x (y)")
        for _ in range(50):  # its change counter is the higher one
            connection.execute("PRAGMA user_version = 1")
            connection.execute("INSERT INTO x VALUES (1)")
            connection.commit()
    path.write_bytes(other.read_bytes())


def empty(path: Path) -> None:
    os.truncate(path, 0)


def overwrite_with_text(path: Path) -> None:
    path.write_text("x" * 4096)


def delete_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (delete, "deleted"),
        (replace, "replaced by another file"),
        (overwrite_with_another_database, "overwritten by an older copy or another database"),
        (empty, "overwritten with something that is no database"),
        (overwrite_with_text, "overwritten with something that is no database"),
        (delete_the_log, "-wal was deleted or replaced"),
    ],
)
def test_what_became_of_the_file_is_said(opened: Opened, path: Path, act: Callable[[Path], None], said: str) -> None:
    act(path)
    with pytest.raises(FileChangedError, match=said):
        opened[0].check()


def test_a_copy_of_an_earlier_run_that_is_written_over_the_file(path: Path) -> None:
    backup = path.read_bytes()
    identity, connection = _open(path)
    path.write_bytes(backup)
    with pytest.raises(FileChangedError, match="overwritten by an older copy or another database"):
        identity.check()
    connection.close()
    identity.close()


def test_an_older_copy_of_the_same_run_that_is_written_over_the_file(opened: Opened, path: Path) -> None:
    identity, connection = opened
    backup = path.read_bytes()
    connection.execute("CREATE TABLE more (name TEXT)")
    identity.stamp()  # as the hub does from time to time
    path.write_bytes(backup)
    with pytest.raises(FileChangedError, match="overwritten by an older copy"):
        identity.check()


def test_a_stamp_that_waits_for_a_checkpoint_is_no_change(opened: Opened, path: Path) -> None:
    """A reader keeps the number out of the file until it is done."""
    identity, connection = opened
    connection.execute("INSERT INTO things VALUES ('c')")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM things").fetchall()
        connection.execute("INSERT INTO things VALUES ('d')")
        identity.stamp()
        identity.check()
        reader.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    identity.check()


def test_a_file_that_is_put_back_is_the_same_again(opened: Opened, path: Path) -> None:
    aside = path.with_name("aside.db")
    path.rename(aside)
    with pytest.raises(FileChangedError):
        opened[0].check()
    aside.rename(path)
    opened[0].check()


def test_what_others_may_do_is_no_change(opened: Opened, path: Path) -> None:
    """An administrator's command writes, checkpoints and vacuums beside the hub; the hub closes and opens connections."""
    identity, connection = opened
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for number in range(300):
            other.execute("INSERT INTO things VALUES (?)", (str(number) * 100,))
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        identity.check()
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.utime(path)
    identity.check()
    connection.execute("INSERT INTO things VALUES ('b')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    identity.check()


def test_a_new_file_is_watched_from_its_first_page_on(tmp_path: Path) -> None:
    path = tmp_path / "data" / "new.db"
    identity = FileIdentity(path)
    identity.check()
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x (y)")
    identity.check()
    path.write_bytes(b"")
    with pytest.raises(FileChangedError):
        identity.check()
    identity.close()
