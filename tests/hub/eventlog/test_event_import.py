"""From one node to several: the first owner brings ``events.db`` along, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.eventlog.event_import import EventImport
from hub.eventlog.interface import FencedError
from hub.eventlog.postgresql import PostgresEventLog
from hub.eventlog.removal import remove_events
from hub.eventlog.sqlite import SqliteEventLog
from hub.storage import lease
from hub.storage.lease import Fence
from hub.storage.migrations import HUB
from hub.storage.transactions import Transactions
from hub.storage.url import DatabaseUrl
from tests.hub.storage.backends import EVENTS, Postgres, postgres, running_at

__all__ = ["postgres"]

RECORDS = 2_500


@pytest.fixture
async def url(postgres: Postgres) -> str:
    return postgres.url(await postgres.migrated((*HUB, EVENTS)))


@pytest.fixture
async def log(url: str) -> AsyncIterator[PostgresEventLog]:
    made = PostgresEventLog(DatabaseUrl.parse(url))
    yield made
    await made.close()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Transactions]:
    async with running_at(url) as transactions:
        yield transactions


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """That of a hub that was alone: the log of ``acme`` was trimmed behind a snapshot."""
    log = SqliteEventLog(tmp_path)
    await log.append("acme", "events", [b"%d" % number for number in range(1, RECORDS + 1)])
    await log.save_snapshot("acme", "events", "statistics", 2_000, b"totals")
    await log.trim("acme", "events", 10)
    await log.append("other", "events", [b"x"])
    await log.close()
    return tmp_path


async def nobody(tenant: str) -> None:
    """No other node owns a tenant."""


async def owner(store: Transactions, tenant: str, name: str = "me") -> Fence:
    fence = await store.write(lambda tx: lease.take(tx, f"stat/{tenant}", name, 60))
    assert fence is not None
    return fence


async def read(log: PostgresEventLog, tenant: str = "acme") -> list[tuple[int, bytes]]:
    return [(position, bytes(record)) async for chunk in log.read(tenant, "events") for position, record in chunk]


async def test_records_and_snapshots_come_at_their_positions_once(folder: Path, log: PostgresEventLog, store: Transactions) -> None:
    wanted: list[str] = []
    importing = EventImport(folder, log, wanted.append, nobody)
    await importing.start()
    assert wanted == ["acme", "other"]
    for tenant in wanted:
        await importing.open_tenant(tenant, await owner(store, tenant))
    assert await read(log) == [(number, b"%d" % number) for number in range(11, RECORDS + 1)]
    assert await log.load_snapshot("acme", "events", "statistics") == (2_000, b"totals")
    assert await log.append("acme", "events", [b"new"], await owner(store, "acme")) == RECORDS + 1
    again = EventImport(folder, log, wanted.append, nobody)
    await again.start()
    assert wanted == ["acme", "other"], "nothing is left to import"
    await again.stop()
    file = SqliteEventLog(folder)
    kept = [record async for chunk in file.read("acme", "events") for record in chunk]
    assert (len(kept), await file.last("acme", "events")) == (RECORDS - 10, RECORDS), "the file stays as it was"
    await file.close()


async def test_a_node_that_was_killed_in_the_middle_begins_again(folder: Path, log: PostgresEventLog, store: Transactions) -> None:
    fence = await owner(store, "acme")
    await log.import_records("acme", "events", [(11, b"11"), (12, b"12")], fence)
    assert await log.last("acme", "events") == 0, "what was imported in part does not count"
    importing = EventImport(folder, log, lambda _: None, nobody)
    await importing.start()
    await importing.open_tenant("acme", fence)
    assert len(await read(log)) == RECORDS - 10
    await importing.stop()


async def test_who_lost_the_lease_imports_nothing(folder: Path, log: PostgresEventLog, store: Transactions) -> None:
    fence = await owner(store, "acme")
    await store.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp() - interval '1 second'"))
    await owner(store, "acme", "another")
    importing = EventImport(folder, log, lambda _: None, nobody)
    await importing.start()
    with pytest.raises(FencedError):
        await importing.open_tenant("acme", fence)
    assert await log.last("acme", "events") == 0
    assert await read(log) == []
    await importing.stop()


async def test_events_that_several_nodes_took_are_not_mixed_with_those_of_the_file(
    folder: Path, log: PostgresEventLog, store: Transactions
) -> None:
    await log.append("acme", "events", [b"of the nodes"], await owner(store, "acme"))
    wanted: list[str] = []
    importing = EventImport(folder, log, wanted.append, nobody)
    await importing.start()
    assert wanted == ["other"]
    await importing.stop()
    assert await read(log) == [(1, b"of the nodes")]


async def test_a_tenant_that_another_node_has_is_asked_for_as_long_as_it_has_no_events(
    folder: Path, log: PostgresEventLog, store: Transactions
) -> None:
    asked: list[str] = []

    async def ask_for(tenant: str) -> None:
        asked.append(tenant)
        if tenant == "acme":  # it was handed over, and this process owns it now
            await importing.open_tenant(tenant, await owner(store, tenant))

    importing = EventImport(folder, log, lambda _: None, ask_for, ask_s=(0.01, 0.02))
    await log.append("other", "events", [b"of a node"], await owner(store, "other"))  # after importing looked, it would be too late as well
    await importing.start()
    async with asyncio.timeout(60):
        while importing.waiting:
            await asyncio.sleep(0.01)
    assert set(asked) == {"acme"}
    assert len(await read(log)) == RECORDS - 10
    await importing.stop()


async def test_events_that_come_while_it_waits_end_the_import_and_are_told(
    folder: Path, log: PostgresEventLog, store: Transactions
) -> None:
    importing = EventImport(folder, log, lambda _: None, nobody, ask_s=(0.01, 0.02))
    await importing.start()
    assert (importing.waiting, importing.refused) == (2, 0)
    assert "2 tenants in events.db wait" in str(await importing.failing())
    for tenant in ("acme", "other"):
        await log.append(tenant, "events", [b"of a node"], await owner(store, tenant))
    async with asyncio.timeout(60):
        while importing.waiting:
            await asyncio.sleep(0.01)
    assert importing.refused == 2
    assert "2 tenants in events.db are not imported" in str(await importing.failing())
    await importing.stop()


async def test_as_many_events_of_others_as_the_file_has_are_not_taken_for_it(
    folder: Path, log: PostgresEventLog, store: Transactions
) -> None:
    await log.append("other", "events", [b"of a node", b"another"], await owner(store, "other"))
    importing = EventImport(folder, log, lambda _: None, nobody)
    await importing.start()
    assert importing.refused == 1
    await importing.open_tenant("acme", await owner(store, "acme"))
    await importing.stop()
    # what was imported is known, whatever came after it; a file that went on meanwhile is told
    await log.append("acme", "events", [b"new"] * 10, await owner(store, "acme"))
    again = EventImport(folder, log, lambda _: None, nobody)
    await again.start()
    assert (again.waiting, again.refused) == (0, 1)
    await again.stop()
    file = SqliteEventLog(folder)
    await file.append("acme", "events", [b"alone again"])
    await file.close()
    later = EventImport(folder, log, lambda _: None, nobody)
    await later.start()
    assert (later.waiting, later.refused) == (0, 2)
    await later.stop()


async def test_a_removed_tenant_leaves_nothing_and_comes_again_from_the_beginning(log: PostgresEventLog, store: Transactions) -> None:
    fence = await owner(store, "acme")
    await log.append("acme", "events", [b"1", b"2"], fence)
    await log.save_snapshot("acme", "events", "statistics", 1, b"x", fence)
    await log.append("other", "events", [b"3"], await owner(store, "other"))
    await store.write(lambda tx: remove_events(tx, "acme"))
    assert await log.tenants("events") == ["other"]
    assert await log.load_snapshot("acme", "events", "statistics") is None
    with pytest.raises(FencedError):
        await log.append("acme", "events", [b"4"], fence)
    assert await read(log) == []
    assert await log.append("acme", "events", [b"new"], await owner(store, "acme")) == 1
    assert await read(log) == [(1, b"new")]


async def test_a_folder_without_events_needs_no_import(tmp_path: Path, log: PostgresEventLog) -> None:
    importing = EventImport(tmp_path, log, lambda _: None, nobody)
    await importing.start()
    assert not (tmp_path / "events.db").exists()
    await importing.stop()
