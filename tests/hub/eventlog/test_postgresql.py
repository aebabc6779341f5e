"""What only the PostgreSQL backend does: several processes append, each fenced by its lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from hub.eventlog.interface import EventLogError, FencedError
from hub.eventlog.postgresql import PostgresEventLog
from hub.storage import lease
from hub.storage.lease import Fence
from hub.storage.migrations import HUB
from hub.storage.transactions import Transaction, Transactions
from hub.storage.url import DatabaseUrl
from tests.hub.storage.backends import EVENTS, Postgres, postgres, running_at, running_postgres

__all__ = ["postgres"]

PACKAGES: Final = (*HUB, EVENTS)


@pytest.fixture
async def url(postgres: Postgres) -> str:
    """Of a database with the tables of the event log."""
    return postgres.url(await postgres.migrated(PACKAGES))


@pytest.fixture
async def store(url: str) -> AsyncIterator[Transactions]:
    async with running_at(url) as transactions:
        yield transactions


@pytest.fixture
async def logs(url: str) -> AsyncIterator[list[PostgresEventLog]]:
    """Those of two nodes."""
    made = [PostgresEventLog(DatabaseUrl.parse(url)) for _ in range(2)]
    yield made
    for log in made:
        await log.close()


async def taken(store: Transactions, owner: str, term_s: float = 60) -> Fence:
    fence = await store.write(lambda tx: lease.take(tx, "stat/t", owner, term_s))
    assert fence is not None
    return fence


async def end(store: Transactions) -> None:
    """Have the lease end now, as if its term were over."""
    await store.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp() - interval '1 second'"))


async def read(log: PostgresEventLog, tenant: str = "t") -> list[tuple[int, bytes]]:
    return [record async for chunk in log.read(tenant, "s") for record in chunk]


async def test_an_owner_appends_trims_and_keeps_snapshots(store: Transactions, logs: list[PostgresEventLog]) -> None:
    log, other = logs
    fence = await taken(store, "one")
    assert await log.append("t", "s", [b"a", b"b", b"c"], fence) == 3
    await log.save_snapshot("t", "s", "stat", 2, b"two", fence)
    await log.trim("t", "s", 2, fence)
    assert await read(other) == [(3, b"c")]
    assert await other.load_snapshot("t", "s", "stat") == (2, b"two")
    assert await log.append("t", "s", [], fence) == 3


@pytest.mark.parametrize("fence", [Fence("stat/t", 99), Fence("stat/nobody", 1)], ids=["number", "name"])
async def test_a_fence_that_does_not_hold_changes_nothing(store: Transactions, logs: list[PostgresEventLog], fence: Fence) -> None:
    log, other = logs
    right = await taken(store, "one")
    await log.append("t", "s", [b"a"], right)
    await log.save_snapshot("t", "s", "stat", 1, b"one", right)
    with pytest.raises(FencedError, match=f"the lease {fence.lease} has another owner: nothing was written"):
        await other.append("t", "s", [b"b"], fence)
    with pytest.raises(FencedError):
        await other.append("t", "s", [], fence)
    with pytest.raises(FencedError):
        await other.trim("t", "s", 1, fence)
    with pytest.raises(FencedError):
        await other.save_snapshot("t", "s", "stat", 2, b"two", fence)
    assert await read(log) == [(1, b"a")]
    assert await log.last("t", "s") == 1
    assert await log.load_snapshot("t", "s", "stat") == (1, b"one")


async def test_an_owner_that_slept_over_its_lease_is_refused(store: Transactions, logs: list[PostgresEventLog]) -> None:
    sleeper, successor = logs
    first = await taken(store, "one")
    await sleeper.append("t", "s", [b"a"], first)
    await end(store)
    assert await sleeper.append("t", "s", [b"b"], first) == 2, "as long as nobody else has it, it is still the owner"
    second = await taken(store, "two")
    assert second.number == first.number + 1
    assert await successor.append("t", "s", [b"c"], second) == 3
    with pytest.raises(FencedError):
        await sleeper.append("t", "s", [b"lost"], first)
    assert await successor.append("t", "s", [b"d"], second) == 4
    assert await read(successor) == [(1, b"a"), (2, b"b"), (3, b"c"), (4, b"d")]


async def test_a_refused_append_takes_nobody_along(store: Transactions, logs: list[PostgresEventLog]) -> None:
    log, _ = logs
    fence = await taken(store, "one")
    found = await asyncio.gather(
        *(log.append("t", "s", [b"%d" % number], fence if number % 3 else Fence("stat/t", 7)) for number in range(9)),
        return_exceptions=True,
    )
    assert [type(each) for each in found if not isinstance(each, int)] == [FencedError] * 3
    assert [each for each in found if isinstance(each, int)] == [1, 2, 3, 4, 5, 6]
    assert [record for _, record in await read(log)] == [b"1", b"2", b"4", b"5", b"7", b"8"]


async def test_who_takes_a_lease_waits_for_what_its_owner_is_writing(store: Transactions, logs: list[PostgresEventLog]) -> None:
    """Else the next owner would read a log that the last one's records still come into."""
    first = await taken(store, "one")
    log, successor = logs
    await end(store)
    written, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: object) -> None:
        """Behind the append in its transaction."""
        loop.call_soon_threadsafe(written.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)

    appending = asyncio.ensure_future(log.append("t", "s", [b"a"], first))
    holding = asyncio.ensure_future(log.database.write(hold))
    await written.wait()
    taking = asyncio.ensure_future(store.write(lambda tx: lease.take(tx, "stat/t", "two", 60)))
    await asyncio.sleep(0.1)
    if not appending.done():  # both came into one transaction
        assert not taking.done()
    go.set()
    assert await appending == 1
    await holding
    second = await taking
    assert second == Fence("stat/t", 2)
    assert await read(successor) == [(1, b"a")]


async def test_renewing_a_lease_does_not_wait_for_fenced_writes(store: Transactions, url: str) -> None:
    fence = await taken(store, "one")
    async with running_at(url) as other:
        locked, go = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(tx: Transaction) -> None:
            assert tx.row("SELECT 1 FROM leases WHERE name = ? AND fence = ? FOR KEY SHARE", tuple(fence)) == (1,)
            loop.call_soon_threadsafe(locked.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(30)

        holding = asyncio.ensure_future(other.write(hold))
        await locked.wait()
        async with asyncio.timeout(20):
            assert await store.write(lambda tx: lease.renew(tx, fence, 60))
            assert await store.write(lambda tx: lease.take(tx, "stat/t", "two", 60)) is None
        go.set()
        await holding


async def test_two_nodes_that_append_without_a_lease_share_the_positions(logs: list[PostgresEventLog]) -> None:
    found = await asyncio.gather(*(logs[number % 2].append("t", "s", [b"%d" % number]) for number in range(60)))
    assert sorted(found) == list(range(1, 61))
    assert [position for position, _ in await read(logs[0])] == list(range(1, 61))


async def test_a_server_that_is_away_refuses_and_comes_back() -> None:
    with running_postgres() as server:
        log = PostgresEventLog(DatabaseUrl.parse(server.url(await server.migrated(PACKAGES))))
        assert await log.append("t", "s", [b"a"]) == 1
        assert await log.last("t", "s") == 1
        server.halt()
        with pytest.raises(EventLogError, match="cannot be written"):
            await log.append("t", "s", [b"b"])
        with pytest.raises(EventLogError, match="cannot be read"):
            await log.last("t", "s")
        assert await log.database.trouble() is not None
        server.resume()
        assert await log.append("t", "s", [b"c"]) == 2
        assert [record for _, record in await read(log)] == [b"a", b"c"]
        assert await log.database.trouble() is None
        await log.close()
