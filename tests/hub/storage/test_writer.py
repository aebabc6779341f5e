"""The writer that the database and both logs stand on: what its options change. The rest is in test_transactions.py."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.storage.identity import FileIdentity
from hub.storage.interface import Operation, StorageError, Transaction
from hub.storage.transactions_sqlite import SqliteBackend
from hub.storage.writer import GroupWriter


@contextmanager
def writing(folder: Path, **options: Any) -> Iterator[GroupWriter[Transaction]]:
    """A writer over a file with a table ``things``, whose ids are unique."""
    file = FileIdentity(folder / "things.db")
    backend = SqliteBackend(file)
    connection = backend.connect()
    connection.execute("CREATE TABLE IF NOT EXISTS things (id INTEGER PRIMARY KEY, name TEXT)")
    writer = GroupWriter(
        backend,
        lambda connection, afterwards: Transaction(connection, "", afterwards),
        **{"max_group": 256, "max_waiting": 10_000, **options},
    )
    writer.start(connection, "test-write")
    try:
        yield writer
    finally:
        writer.stop()
        backend.close()
        file.close()


def insert(number: int) -> Operation[int]:
    return lambda tx: tx.run("INSERT INTO things (id) VALUES (?)", (number,))


def ids(folder: Path) -> list[int]:
    connection = sqlite3.connect(folder / "things.db")
    found = [number for (number,) in connection.execute("SELECT id FROM things ORDER BY id")]
    connection.close()
    return found


class Refused(Exception):
    """An operation's own reason."""


def refuse(tx: Transaction) -> None:
    insert(100)(tx)
    raise Refused


class Held:
    """Keeps the writer busy, so that what is written meanwhile is one group."""

    def __init__(self, writer: GroupWriter[Transaction]) -> None:
        self._gate = threading.Event()
        began = threading.Event()

        def hold(_: Transaction) -> None:
            began.set()
            self._gate.wait()

        self._task = writer.submit(hold)
        self._began = began

    async def __aenter__(self) -> None:
        await asyncio.to_thread(self._began.wait)

    async def __aexit__(self, *_: object) -> None:
        self._gate.set()
        await self._task


@pytest.mark.parametrize("optimistic", [False, True])
async def test_who_is_refused_takes_nobody_along(tmp_path: Path, optimistic: bool) -> None:
    undone: list[bool] = []
    with writing(tmp_path, optimistic=optimistic, on_undo=lambda: undone.append(True)) as writer:
        async with Held(writer):
            operations: list[Operation[Any]] = [insert(1), insert(2), refuse, insert(1), insert(3)]
            tasks = [writer.submit(each) for each in operations]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        counters = writer.counters
        assert [type(result) for result in results] == [int, int, Refused, sqlite3.IntegrityError, int]
        assert (counters.operations, counters.commits, counters.refused, counters.faults) == (6, 2, 2, 0)
    assert ids(tmp_path) == [1, 2, 3]
    assert undone == [True] * (3 if optimistic else 2)


@pytest.mark.parametrize("optimistic", [False, True])
async def test_what_happens_after_a_commit_happens_once(tmp_path: Path, optimistic: bool) -> None:
    seen: list[int] = []

    def write(tx: Transaction) -> None:
        insert(1)(tx)
        tx.after_commit(lambda: seen.append(1))

    with writing(tmp_path, optimistic=optimistic) as writer:
        async with Held(writer):
            tasks = [writer.submit(each) for each in (write, refuse)]
        await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == [1]
    assert ids(tmp_path) == [1]


@pytest.mark.parametrize("optimistic", [False, True])
async def test_a_full_disk_fails_all_of_a_group_and_is_over_when_there_is_room(tmp_path: Path, optimistic: bool) -> None:
    with writing(tmp_path, optimistic=optimistic) as writer:
        assert writer.connection is not None
        (pages,) = writer.connection.execute("PRAGMA page_count").fetchone()
        writer.connection.execute(f"PRAGMA max_page_count = {pages}")
        large: Operation[int] = lambda tx: tx.run("INSERT INTO things (name) VALUES (?)", ("x" * 20_000,))  # noqa: E731
        async with Held(writer):
            tasks = [writer.submit(each) for each in (insert(1), large, insert(2))]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [StorageError] * 3
        assert writer.condition.trouble is not None
        writer.connection.execute("PRAGMA max_page_count = 1000000")
        await writer.look()
        assert writer.condition.trouble is None
        await writer.submit(insert(3))
    assert ids(tmp_path) == [3]


@pytest.mark.parametrize(("dropped", "expected"), [(False, [1, 2]), (True, [2])])
async def test_whose_caller_gave_up_before_its_turn(tmp_path: Path, dropped: bool, expected: list[int]) -> None:
    with writing(tmp_path, drop_cancelled=dropped) as writer:
        async with Held(writer):
            given_up = writer.submit(insert(1))
            given_up.cancel()
        await writer.submit(insert(2))
    assert ids(tmp_path) == expected


async def test_callers_of_several_loops_hear_of_their_own(tmp_path: Path) -> None:
    with writing(tmp_path) as writer, ThreadPoolExecutor(3) as threads:

        def elsewhere(first: int) -> list[int]:
            async def write() -> list[int]:
                return list(await asyncio.gather(*(writer.submit(insert(first + number)) for number in range(50))))

            return asyncio.run(write())

        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(threads, elsewhere, first) for first in (0, 100, 200)))
        assert results == [[1] * 50] * 3
    assert len(ids(tmp_path)) == 150


async def test_a_caller_whose_loop_is_closed_stops_nobody(tmp_path: Path) -> None:
    with writing(tmp_path) as writer:

        async def leave() -> None:
            writer.submit(insert(1))

        async with Held(writer):
            await asyncio.to_thread(asyncio.run, leave())
        assert await writer.submit(insert(2)) == 1
    assert ids(tmp_path) == [1, 2]


async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    with writing(tmp_path, max_waiting=2) as writer:
        async with Held(writer):
            waiting = [writer.submit(insert(number)) for number in range(2)]
            with pytest.raises(StorageError, match="does not keep up: 2 operations wait"):
                await writer.submit(insert(9))
        assert await asyncio.gather(*waiting) == [1, 1]


async def test_a_group_has_a_largest_size(tmp_path: Path) -> None:
    with writing(tmp_path, max_group=10) as writer:
        async with Held(writer):
            tasks = [writer.submit(insert(number)) for number in range(25)]
        await asyncio.gather(*tasks)
        assert writer.counters.commits == 4
