"""Leases on a real PostgreSQL: who owns a name, and when another process may take it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hub.storage import lease
from hub.storage.interface import StorageError
from hub.storage.lease import Fence, Lease
from hub.storage.migrations import HUB
from hub.storage.transactions import Transactions
from hub.transports.runtime import SystemClock
from tests.hub.storage.backends import EVENTS, Postgres, running_at
from tests.world import ManualClock

NAME = "stat/acme"


@pytest.fixture
async def nodes(postgres: Postgres) -> AsyncIterator[list[Transactions]]:
    """The database as two processes have it."""
    url = postgres.url(await postgres.migrated((*HUB, EVENTS)))
    async with running_at(url) as one, running_at(url) as two:
        yield [one, two]


async def take(node: Transactions, owner: str, term_s: float = 60) -> Fence | None:
    return await node.write(lambda tx: lease.take(tx, NAME, owner, term_s))


async def end(node: Transactions) -> None:
    await node.write(lambda tx: tx.run("UPDATE leases SET until = clock_timestamp() - interval '1 second'"))


async def test_the_first_has_it_and_keeps_its_fence(nodes: list[Transactions]) -> None:
    one, two = nodes
    assert await one.read(lambda tx: lease.find(tx, NAME)) is None
    assert await take(one, "a") == Fence(NAME, 1)
    assert await take(two, "b") is None
    assert await take(one, "a") == Fence(NAME, 1)
    found = await two.read(lambda tx: lease.find(tx, NAME))
    assert found is not None
    assert (found.owner, found.fence) == ("a", Fence(NAME, 1))
    assert 50 < found.left_s <= 60


async def test_each_change_of_the_owner_raises_the_fence(nodes: list[Transactions]) -> None:
    one, two = nodes
    first = await take(one, "a")
    assert first is not None
    await end(one)
    assert await take(two, "b") == Fence(NAME, 2)
    assert not await one.write(lambda tx: lease.renew(tx, first, 60))
    await one.write(lambda tx: lease.release(tx, first))
    assert await take(one, "a") is None, "what another has is not released"
    await two.write(lambda tx: lease.release(tx, Fence(NAME, 2)))
    assert await take(one, "a") == Fence(NAME, 3)


async def test_an_owner_whose_lease_has_ended_may_go_on_as_long_as_nobody_took_it(nodes: list[Transactions]) -> None:
    one, two = nodes
    first = await take(one, "a")
    assert first is not None
    await end(two)
    assert await one.write(lambda tx: lease.renew(tx, first, 60))
    assert await take(two, "b") is None
    await end(two)
    assert await take(one, "a") == first


@pytest.mark.parametrize("new", [True, False])
async def test_of_contenders_one_wins(nodes: list[Transactions], new: bool) -> None:
    if not new:
        await take(nodes[0], "before")
        await end(nodes[0])
    found = await asyncio.gather(*(take(nodes[number % 2], f"node {number}") for number in range(10)))
    assert [fence for fence in found if fence is not None] == [Fence(NAME, 1 if new else 2)]


class Owner:
    """One process's lease, and whether it was told that it lost it."""

    def __init__(self, node: Transactions, name: str, clock: ManualClock | SystemClock | None = None, **times: float) -> None:
        self.lost = asyncio.Event()
        self.lease = Lease(node, clock or SystemClock(), NAME, name, on_lost=self.lost.set, **times)


async def test_it_is_renewed_for_as_long_as_it_is_held(nodes: list[Transactions]) -> None:
    one = Owner(nodes[0], "a", term_s=2, renew_s=0.05, give_up_s=1.5)
    two = Owner(nodes[1], "b")
    assert await one.lease.acquire() == Fence(NAME, 1)
    assert await one.lease.acquire() == Fence(NAME, 1)
    for _ in range(30):
        await asyncio.sleep(0.1)
        assert await two.lease.acquire() is None
    assert one.lease.fence == Fence(NAME, 1)
    assert two.lease.fence is None
    await one.lease.release()
    assert one.lease.fence is None
    assert await two.lease.acquire() == Fence(NAME, 2)
    assert not one.lost.is_set()
    await two.lease.release()
    await two.lease.release()


async def test_an_owner_learns_that_another_has_taken_it(nodes: list[Transactions]) -> None:
    """It slept over the end of its lease, and its successor did not wait."""
    one, two = Owner(nodes[0], "a", renew_s=0.2), Owner(nodes[1], "b")
    await one.lease.acquire()
    await end(nodes[1])
    assert await two.lease.acquire() == Fence(NAME, 2)
    async with asyncio.timeout(20):
        await one.lost.wait()
    assert one.lease.fence is None
    assert await one.lease.acquire() is None
    await two.lease.release()


async def test_an_owner_that_cannot_renew_gives_up_before_the_lease_ends(nodes: list[Transactions]) -> None:
    one = Owner(nodes[0], "a", term_s=60, renew_s=0.05, give_up_s=0.5)
    await one.lease.acquire()

    async def away(operation: object) -> None:
        raise StorageError("away")

    nodes[0].write = away  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(20):
        await one.lost.wait()
    assert one.lease.fence is None
    found = await nodes[1].read(lambda tx: lease.find(tx, NAME))
    assert found is not None
    assert found.left_s > 30


async def test_an_owner_whose_process_stood_still_is_none_at_once(nodes: list[Transactions]) -> None:
    clock = ManualClock()
    one = Owner(nodes[0], "a", clock)
    assert await one.lease.acquire() == Fence(NAME, 1)
    clock.advance(7.1)
    assert one.lease.fence is None, "before the task that renews it had its turn"
    await one.lease.release()
