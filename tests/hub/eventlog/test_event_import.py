"""From one node to several: the first owner brings ``events.db`` along, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.eventlog.event_import import EventImport
from hub.eventlog.interface import FencedError
from hub.eventlog.postgresql import PostgresEventLog
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


async def owner(store: Transactions, tenant: str, name: str = "me") -> Fence:
    fence = await store.write(lambda tx: lease.take(tx, f"stat/{tenant}", name, 60))
    assert fence is not None
    return fence


async def read(log: PostgresEventLog, tenant: str = "acme") -> list[tuple[int, bytes]]:
    return [(position, bytes(record)) async for chunk in log.read(tenant, "events") for position, record in chunk]


async def test_records_and_snapshots_come_at_their_positions_once(folder: Path, log: PostgresEventLog, store: Transactions) -> None:
    wanted: list[str] = []
    importing = EventImport(folder, log, wanted.append)
    await importing.start()
    assert wanted == ["acme", "other"]
    for tenant in wanted:
        await importing.open_tenant(tenant, await owner(store, tenant))
    assert await read(log) == [(number, b"%d" % number) for number in range(11, RECORDS + 1)]
    assert await log.load_snapshot("acme", "events", "statistics") == (2_000, b"totals")
    assert await log.append("acme", "events", [b"new"], await owner(store, "acme")) == RECORDS + 1
    again = EventImport(folder, log, wanted.append)
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
    importing = EventImport(folder, log, lambda _: None)
    await importing.start()
    await importing.open_tenant("acme", fence)
    assert len(await read(log)) == RECORDS - 10
    await importing.stop()


async def test_who_lost_the_lease_imports_nothing(folder: Path, log: PostgresEventLog, store: Transactions) -> None:
    fence = await owner(store, "acme")
    await store.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp() - interval '1 second'"))
    await owner(store, "acme", "another")
    importing = EventImport(folder, log, lambda _: None)
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
    importing = EventImport(folder, log, wanted.append)
    await importing.start()
    assert wanted == ["other"]
    await importing.stop()
    assert await read(log) == [(1, b"of the nodes")]


async def test_a_folder_without_events_needs_no_import(tmp_path: Path, log: PostgresEventLog) -> None:
    importing = EventImport(tmp_path, log, lambda _: None)
    await importing.start()
    assert not (tmp_path / "events.db").exists()
    await importing.stop()
