"""The copy of the endpoints in a process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from hub.core.time_slice import TimeSlice
from hub.outbox import endpoint_store
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.models import EVERY_ENDPOINT, NO_ENDPOINT, OutboxEvent
from hub.storage.transactions import Operation, Transaction, Transactions
from tests.hub.outbox.support import a_slice, endpoint
from tests.world import ManualClock


def event(type: str = "thing.started", tenant: str = "acme", media: str = "", to: str = EVERY_ENDPOINT) -> OutboxEvent:
    return OutboxEvent(1, tenant, type, "k", media, "op", "trace", to, b"{}", 0)


async def test_a_change_is_followed(transactions: Transactions) -> None:
    cache = EndpointCache(transactions)
    assert await cache.refresh(a_slice())
    assert not await cache.refresh(a_slice())
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_full")))
    await transactions.write(lambda tx: endpoint_store.save(tx, replace(endpoint("ep_full"), url="https://b.example/")))
    assert await cache.refresh(a_slice())
    assert [each.url for each in cache] == ["https://b.example/"]
    await transactions.write(lambda tx: endpoint_store.remove(tx, "ep_full", 0))
    assert await cache.refresh(a_slice())
    assert len(cache) == 0


async def test_a_change_of_its_own_is_not_undone_by_what_was_read_before_it(light_transactions: Transactions) -> None:
    """Else an endpoint that an administrator enabled would stay disabled here until the next look, and miss the events until then."""
    await light_transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_1", enabled=False)))
    read = asyncio.Event()
    asked_again = asyncio.Event()

    class Slow:
        """The database, with time between what it read and who asked."""

        async def read(self, operation: Operation[Any]) -> Any:
            result = await light_transactions.read(operation)
            read.set()
            await asked_again.wait()
            return result

    cache = EndpointCache(cast("Transactions", Slow()))
    refreshing = asyncio.create_task(cache.refresh(a_slice()))
    await read.wait()
    enabled = endpoint("ep_1")

    def enable(tx: Transaction) -> None:
        endpoint_store.save(tx, enabled)
        tx.after_commit(lambda: cache.put("ep_1", enabled))

    await light_transactions.write(enable)
    asked_again.set()
    assert await refreshing
    assert cache["ep_1"].enabled
    assert not await cache.refresh(a_slice())


async def test_who_gets_an_event(light_transactions: Transactions) -> None:
    cache = EndpointCache(light_transactions)
    for each in (
        endpoint("all"),
        endpoint("type", types=("thing.started",)),
        endpoint("tree", types=("thing.*",)),
        endpoint("chat", media=("chat",)),
        endpoint("disabled", enabled=False),
        endpoint("owned", owner="messaging"),
        endpoint("foreign", tenant="other"),
    ):
        cache.put(each.id, each)
    assert cache.wanting(event()) == ["all", "type", "tree"]
    assert cache.wanting(event("thing.finished", media="chat")) == ["all", "tree", "chat"]
    assert cache.wanting(event("thingy.x")) == ["all"]
    assert cache.wanting(event(tenant="other")) == ["foreign"]
    assert cache.wanting(event(to="owned")) == ["owned"]
    assert cache.wanting(event(to="disabled")) == ["disabled"]
    assert cache.wanting(event(to=NO_ENDPOINT)) == []


async def test_a_disabled_endpoint_is_not_enabled_by_rows_that_were_read_before(light_transactions: Transactions) -> None:
    await light_transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_1")))

    class Disabling:
        """The database; another part of this process disables the endpoint between the reading and its answer."""

        def __init__(self) -> None:
            self.reads = 0

        async def read(self, operation: Operation[Any]) -> Any:
            result = await light_transactions.read(operation)
            self.reads += 1
            if self.reads == 1:
                await light_transactions.write(lambda tx: endpoint_store.disable(tx, "ep_1", "gone"))
                cache.disable("ep_1", "gone")
            return result

    cache = EndpointCache(cast("Transactions", Disabling()))
    assert await cache.refresh(a_slice())
    assert (cache["ep_1"].enabled, cache["ep_1"].disabled_reason) == (False, "gone")


async def test_reading_many_endpoints_gives_way(light_transactions: Transactions) -> None:
    for number in range(5):
        await light_transactions.write(lambda tx, number=number: endpoint_store.save(tx, endpoint(f"ep_{number}")))  # type: ignore[misc]
    breaths = 0

    class Loop:
        async def breathe(self) -> None:
            nonlocal breaths
            breaths += 1

    cache = EndpointCache(light_transactions)
    assert await cache.refresh(TimeSlice(ManualClock(step=1), cast("Any", Loop())))
    assert (len(cache), breaths) == (5, 5)


def test_one_tenant_is_served_alone() -> None:
    cache = EndpointCache(cast("Transactions", None))
    assert cache.serves_one_tenant
    for each in (endpoint("a"), endpoint("b"), endpoint("c", tenant="other", enabled=False)):
        cache.put(each.id, each)
    assert cache.serves_one_tenant
    assert set(cache.tenants) == {"acme", "other"}
    cache.put("c", endpoint("c", tenant="other"))
    assert not cache.serves_one_tenant
    cache.put("c", None)
    cache.put("c", None)
    assert cache.serves_one_tenant
    assert set(cache.tenants) == {"acme"}
