"""From recorded events to consumers and deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import Counters
from hub.outbox.delivery_store import Work
from hub.outbox.dispatcher import Dispatcher
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.models import OutboxEvent, Settled
from hub.outbox.recorder import COLUMNS, EventRecorder
from hub.outbox.timing import Timing
from hub.storage.transactions import StorageError, Transaction, Transactions
from hub.transports.runtime import SystemClock
from tests.hub.outbox.support import a_slice, endpoint


class Consuming:
    """A consumer that notes what it was given, and fails when the test says so."""

    types = ("thing.started", "thing.finished")

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.fails: Callable[[OutboxEvent], bool] = lambda event: False
        self.pauses: asyncio.Event | None = None

    async def consume(self, event: OutboxEvent) -> None:
        if self.pauses is not None:
            await self.pauses.wait()
        if self.fails(event):
            raise RuntimeError("not now")
        self.seen.append((event.key, event.type))

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        raise AssertionError


class DeliveryWorker:
    """Notes what the dispatcher asks of it."""

    def __init__(self) -> None:
        self.room = True
        self.reserved: list[str] = []
        self.rounds = 0
        self.carried: list[Work] = []
        self.looked: list[str] = []

    def reserve(self, endpoint: str, key: str) -> bool:
        if self.room:
            self.reserved.append(endpoint)
        return self.room

    def round_over(self) -> None:
        self.rounds += 1

    def lease_until_ms(self, endpoint: str) -> int:
        return SystemClock().wall_ms() + 60_000

    def carry(self, work: Work) -> None:
        self.carried.append(work)

    def cancel(self, endpoint: str) -> None:
        self.reserved.remove(endpoint)

    def look(self, endpoint: str) -> None:
        self.looked.append(endpoint)


class Dispatching:
    """A dispatcher and what it works with."""

    def __init__(self, transactions: Transactions, *, consume_within_s: float = 10, **settings: Any) -> None:
        self.transactions = transactions
        self.worker = DeliveryWorker()
        self.consumer = Consuming()
        self.counters = Counters()
        self.cache = EndpointCache(transactions)
        self.dispatcher = Dispatcher(
            owner="me",
            transactions=transactions,
            cache=self.cache,
            worker=self.worker,
            clock=SystemClock(),
            counters=self.counters,
            consumers=lambda: dict.fromkeys(Consuming.types, self.consumer),
            timing=Timing(poll_s=0.05, consume_again_s=0.05, consume_within_s=consume_within_s),
            **settings,
        )
        self.recorder = EventRecorder("me", SystemClock(), hand_over=self.dispatcher.take, has_room=self.dispatcher.has_room)

    async def record(self, key: str = "k", type: str = "thing.started", **more: Any) -> OutboxEvent:
        given = {"tenant": "acme", "body": b"{}", **more}
        return await self.transactions.write(lambda tx: self.recorder.add(tx, type=type, key=key, **given))

    async def made(self) -> list[OutboxEvent]:
        """The events that have deliveries, in the order in which these were made."""
        columns = ", ".join(f"e.{column}" for column in COLUMNS.split(", "))
        query = f"SELECT {columns} FROM deliveries d JOIN outbox_events e ON e.id = d.event ORDER BY d.id"
        return [OutboxEvent(*row) for row in await self.transactions.read(lambda tx: tx.rows(query))]

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.cache.refresh(a_slice())
        await self.dispatcher.start()
        yield
        await self.dispatcher.stop()


@pytest.fixture
async def dispatching(transactions: Transactions) -> Dispatching:
    return await made_dispatching(transactions)


async def made_dispatching(transactions: Transactions, **settings: Any) -> Dispatching:
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    return Dispatching(transactions, **settings)


async def test_an_event_is_consumed_and_delivered_to_who_wants_it(dispatching: Dispatching) -> None:
    async with dispatching.running():
        event = await dispatching.record()
        await dispatching.until(lambda: len(dispatching.worker.carried) == 1)
        (work,) = dispatching.worker.carried
        assert (work.event, work.endpoint, work.attempts) == (event, "ep_1", 0)
        assert dispatching.consumer.seen == [("k", "thing.started")]
    assert await dispatching.transactions.read(delivery_store.waiting) == (1, 0)


async def test_where_there_is_no_room_a_delivery_waits_in_the_database(dispatching: Dispatching) -> None:
    dispatching.worker.room = False
    async with dispatching.running():
        await dispatching.record()
        await dispatching.until(lambda: dispatching.worker.looked == ["ep_1"])
    claim = await dispatching.transactions.write(
        lambda tx: delivery_store.claim(tx, "ep_1", owner="you", now_ms=1 << 50, lease_until_ms=1 << 51, order_ms=0, limit=5)
    )
    assert len(claim.work) == 1


async def test_what_nobody_wants_is_dispatched_all_the_same(dispatching: Dispatching) -> None:
    async with dispatching.running():
        await dispatching.record(tenant="other")
        await dispatching.until(lambda: dispatching.counters.dispatched == 1)
    assert dispatching.worker.carried == []
    assert await dispatching.transactions.read(delivery_store.waiting) == (0, 0)


async def test_an_endpoint_that_is_removed_while_its_delivery_is_made_gets_none(dispatching: Dispatching) -> None:
    """The copy of the endpoints in memory may still have it: a delivery to it would be pending for good."""
    await dispatching.cache.refresh(a_slice())
    await dispatching.transactions.write(lambda tx: endpoint_store.remove(tx, "ep_1", 1))
    await dispatching.dispatcher.start()
    await dispatching.record()
    await dispatching.until(lambda: dispatching.counters.dispatched == 1)
    await dispatching.dispatcher.stop()
    assert (dispatching.worker.carried, dispatching.worker.reserved, dispatching.worker.looked) == ([], [], [])
    assert await dispatching.transactions.read(delivery_store.waiting) == (0, 0)


async def test_events_that_a_dead_process_left_are_taken_up(dispatching: Dispatching) -> None:
    event = await dispatching.record()
    await dispatching.transactions.write(delivery_store.free_own)
    second = Dispatching(dispatching.transactions)
    async with second.running():
        await second.until(lambda: len(second.worker.carried) == 1)
    assert second.worker.carried[0].event == event


async def test_a_consumer_that_fails_is_called_again_and_its_key_keeps_its_order(dispatching: Dispatching) -> None:
    failing = True
    dispatching.consumer.fails = lambda event: failing and event.key == "a"
    async with dispatching.running():
        await dispatching.record("a", "thing.started")
        await dispatching.until(lambda: dispatching.counters.consumer_faults > 0)
        await dispatching.record("a", "thing.finished")
        await dispatching.record("b", "thing.started")
        await dispatching.until(lambda: ("b", "thing.started") in dispatching.consumer.seen)
        assert dispatching.consumer.seen == [("b", "thing.started")]
        failing = False
        await dispatching.until(lambda: len(dispatching.consumer.seen) == 3)
        assert dispatching.consumer.seen[1:] == [("a", "thing.started"), ("a", "thing.finished")]
        await dispatching.until(lambda: dispatching.counters.deliveries == 3)
        await dispatching.record("a", "thing.started")
        await dispatching.until(lambda: dispatching.counters.deliveries == 4)
    assert [event.key for event in await dispatching.made()] == ["b", "a", "a", "a"]
    assert [work.event.key for work in dispatching.worker.carried] == ["b", "a", "a", "a"], (
        "its queue keeps the order of what this process has"
    )
    assert dispatching.worker.rounds >= 3


async def test_a_consumer_that_hangs_holds_up_its_round_alone(transactions: Transactions) -> None:
    dispatching = await made_dispatching(transactions, consume_within_s=0.05)
    dispatching.consumer.pauses = asyncio.Event()
    async with dispatching.running():
        await dispatching.record()
        await dispatching.until(lambda: dispatching.counters.consumer_faults > 0)
        dispatching.consumer.pauses.set()
        await dispatching.until(lambda: len(dispatching.worker.carried) == 1)


async def test_many_events_keep_the_order_of_each_key(dispatching: Dispatching) -> None:
    async with dispatching.running():
        await asyncio.gather(
            *(dispatching.record(f"k{number % 7}", "thing.started" if number < 70 else "thing.finished") for number in range(140))
        )
        await dispatching.until(lambda: dispatching.counters.deliveries == 140)
    made = await dispatching.made()
    for key in {event.key for event in made}:
        ids = [event.id for event in made if event.key == key]
        assert ids == sorted(ids)
        types = [type for seen, type in dispatching.consumer.seen if seen == key]
        assert types == ["thing.started"] * 10 + ["thing.finished"] * 10


async def test_what_is_too_much_for_memory_waits_in_the_database(transactions: Transactions) -> None:
    dispatching = await made_dispatching(transactions, max_waiting=3)
    dispatching.consumer.pauses = asyncio.Event()
    async with dispatching.running():
        for number in range(20):
            await dispatching.record(f"k{number}")
        assert dispatching.dispatcher.waiting <= 3
        dispatching.consumer.pauses.set()
        await dispatching.until(lambda: len(dispatching.worker.carried) == 20)


async def test_a_tenant_with_many_events_does_not_keep_those_of_another_out_of_memory(transactions: Transactions) -> None:
    dispatching = await made_dispatching(transactions, max_waiting=20, max_at_once=10)
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_other", tenant="other")))
    dispatching.consumer.pauses = asyncio.Event()
    async with dispatching.running():
        await dispatching.record("first")
        for number in range(100):
            await dispatching.record(f"k{number}")
        await dispatching.record("other", tenant="other")
        began = len(dispatching.worker.carried)
        dispatching.consumer.pauses.set()
        await dispatching.until(lambda: len(dispatching.worker.carried) == 102)
    assert began == 0
    place = [work.event.tenant for work in dispatching.worker.carried].index("other")
    assert place <= 1 + 2 * 10, "in one of the next two rounds: one is of events in memory, one of those in the database"


async def test_events_in_memory_do_not_keep_those_in_the_database_waiting(transactions: Transactions) -> None:
    """Another process recorded it and died, or it is of a tenant that had no room in memory."""
    dispatching = await made_dispatching(transactions)
    left = EventRecorder("gone", SystemClock(), hand_over=lambda *_: None, has_room=lambda _tenant: False)
    stop = False

    async def keep_recording() -> None:
        number = 0
        while not stop:
            await asyncio.gather(*(dispatching.record(f"k{number}-{each}") for each in range(20)))
            number += 1

    async with dispatching.running():
        recording = asyncio.create_task(keep_recording())
        await dispatching.until(lambda: dispatching.counters.dispatched > 0)
        await transactions.write(lambda tx: left.add(tx, tenant="acme", type="thing.started", key="left", body=b"{}"))
        await dispatching.until(lambda: ("left", "thing.started") in dispatching.consumer.seen)
        stop = True
        await recording


async def test_a_database_that_fails_loses_nothing(dispatching: Dispatching, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dispatching.transactions.write
    left = 2

    async def write(operation: Any) -> Any:
        nonlocal left
        if left and "_send_on" in getattr(operation, "__qualname__", ""):
            left -= 1
            raise StorageError("disk full")
        return await real(operation)

    monkeypatch.setattr(dispatching.transactions, "write", write)
    async with dispatching.running():
        first = await dispatching.record()
        await dispatching.until(lambda: left == 0)
        second = await dispatching.record()
        await dispatching.until(lambda: dispatching.counters.deliveries == 2)
    assert await dispatching.made() == [first, second]


async def test_an_event_does_not_overtake_one_that_another_process_left(dispatching: Dispatching) -> None:
    """Its hub died, or is slow: the lease has to run out first."""
    gone = EventRecorder("gone", SystemClock(), hand_over=lambda *_: None, has_room=lambda _tenant: True, lease_ms=3_000)
    older = await dispatching.transactions.write(lambda tx: gone.add(tx, tenant="acme", type="thing.started", key="k", body=b"{}"))
    async with dispatching.running():
        newer, other = await dispatching.record(), await dispatching.record("other")
        await dispatching.until(lambda: dispatching.counters.deliveries == 3)
    assert await dispatching.made() == [other, older, newer]


async def test_a_delivery_does_not_overtake_one_that_another_process_carries(dispatching: Dispatching) -> None:
    older = await dispatching.transactions.write(
        lambda tx: dispatching.recorder.add(tx, tenant="acme", type="thing.started", key="k", body=b"{}")
    )
    async with dispatching.running():
        await dispatching.until(lambda: len(dispatching.worker.carried) == 1)
        await dispatching.transactions.write(lambda tx: tx.run("UPDATE deliveries SET lease_owner = 'gone'"))
        await dispatching.record(type="thing.finished")
        await dispatching.until(lambda: dispatching.counters.dispatched == 2)
    assert [work.event for work in dispatching.worker.carried] == [older]
    assert "ep_1" in dispatching.worker.looked


async def test_stopping_dispatches_what_was_recorded(dispatching: Dispatching) -> None:
    dispatching.consumer.pauses = asyncio.Event()
    await dispatching.cache.refresh(a_slice())
    await dispatching.dispatcher.start()
    for number in range(10):
        await dispatching.record(f"k{number}")
    stopping = asyncio.ensure_future(dispatching.dispatcher.stop())
    dispatching.consumer.pauses.set()
    await stopping
    assert len(dispatching.worker.carried) == 10
    assert await dispatching.transactions.read(delivery_store.waiting) == (10, 0)
