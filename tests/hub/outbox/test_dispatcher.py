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


class Desk:
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
async def desk(transactions: Transactions) -> Desk:
    return await made_desk(transactions)


async def made_desk(transactions: Transactions, **settings: Any) -> Desk:
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint()))
    return Desk(transactions, **settings)


async def test_an_event_is_consumed_and_delivered_to_who_wants_it(desk: Desk) -> None:
    async with desk.running():
        event = await desk.record()
        await desk.until(lambda: len(desk.worker.carried) == 1)
        (work,) = desk.worker.carried
        assert (work.event, work.endpoint, work.attempts) == (event, "ep_1", 0)
        assert desk.consumer.seen == [("k", "thing.started")]
    assert await desk.transactions.read(delivery_store.waiting) == (1, 0)


async def test_where_there_is_no_room_a_delivery_waits_in_the_database(desk: Desk) -> None:
    desk.worker.room = False
    async with desk.running():
        await desk.record()
        await desk.until(lambda: desk.worker.looked == ["ep_1"])
    claim = await desk.transactions.write(
        lambda tx: delivery_store.claim(tx, "ep_1", owner="you", now_ms=1 << 50, lease_until_ms=1 << 51, order_ms=0, limit=5)
    )
    assert len(claim.work) == 1


async def test_what_nobody_wants_is_dispatched_all_the_same(desk: Desk) -> None:
    async with desk.running():
        await desk.record(tenant="other")
        await desk.until(lambda: desk.counters.dispatched == 1)
    assert desk.worker.carried == []
    assert await desk.transactions.read(delivery_store.waiting) == (0, 0)


async def test_an_endpoint_that_is_removed_while_its_delivery_is_made_gets_none(desk: Desk) -> None:
    """The copy of the endpoints in memory may still have it: a delivery to it would be pending for good."""
    await desk.cache.refresh(a_slice())
    await desk.transactions.write(lambda tx: endpoint_store.remove(tx, "ep_1", 1))
    await desk.dispatcher.start()
    await desk.record()
    await desk.until(lambda: desk.counters.dispatched == 1)
    await desk.dispatcher.stop()
    assert (desk.worker.carried, desk.worker.reserved, desk.worker.looked) == ([], [], [])
    assert await desk.transactions.read(delivery_store.waiting) == (0, 0)


async def test_events_that_a_dead_process_left_are_taken_up(desk: Desk) -> None:
    event = await desk.record()
    await desk.transactions.write(delivery_store.free_own)
    second = Desk(desk.transactions)
    async with second.running():
        await second.until(lambda: len(second.worker.carried) == 1)
    assert second.worker.carried[0].event == event


async def test_a_consumer_that_fails_is_called_again_and_its_key_keeps_its_order(desk: Desk) -> None:
    failing = True
    desk.consumer.fails = lambda event: failing and event.key == "a"
    async with desk.running():
        await desk.record("a", "thing.started")
        await desk.until(lambda: desk.counters.consumer_faults > 0)
        await desk.record("a", "thing.finished")
        await desk.record("b", "thing.started")
        await desk.until(lambda: ("b", "thing.started") in desk.consumer.seen)
        assert desk.consumer.seen == [("b", "thing.started")]
        failing = False
        await desk.until(lambda: len(desk.consumer.seen) == 3)
        assert desk.consumer.seen[1:] == [("a", "thing.started"), ("a", "thing.finished")]
        await desk.until(lambda: desk.counters.deliveries == 3)
        await desk.record("a", "thing.started")
        await desk.until(lambda: desk.counters.deliveries == 4)
    assert [event.key for event in await desk.made()] == ["b", "a", "a", "a"]
    assert [work.event.key for work in desk.worker.carried] == ["b", "a", "a", "a"], "its queue keeps the order of what this process has"
    assert desk.worker.rounds >= 3


async def test_a_consumer_that_hangs_holds_up_its_round_alone(transactions: Transactions) -> None:
    desk = await made_desk(transactions, consume_within_s=0.05)
    desk.consumer.pauses = asyncio.Event()
    async with desk.running():
        await desk.record()
        await desk.until(lambda: desk.counters.consumer_faults > 0)
        desk.consumer.pauses.set()
        await desk.until(lambda: len(desk.worker.carried) == 1)


async def test_many_events_keep_the_order_of_each_key(desk: Desk) -> None:
    async with desk.running():
        await asyncio.gather(
            *(desk.record(f"k{number % 7}", "thing.started" if number < 70 else "thing.finished") for number in range(140))
        )
        await desk.until(lambda: desk.counters.deliveries == 140)
    made = await desk.made()
    for key in {event.key for event in made}:
        ids = [event.id for event in made if event.key == key]
        assert ids == sorted(ids)
        types = [type for seen, type in desk.consumer.seen if seen == key]
        assert types == ["thing.started"] * 10 + ["thing.finished"] * 10


async def test_what_is_too_much_for_memory_waits_in_the_database(transactions: Transactions) -> None:
    desk = await made_desk(transactions, max_waiting=3)
    desk.consumer.pauses = asyncio.Event()
    async with desk.running():
        for number in range(20):
            await desk.record(f"k{number}")
        assert desk.dispatcher.waiting <= 3
        desk.consumer.pauses.set()
        await desk.until(lambda: len(desk.worker.carried) == 20)


async def test_a_tenant_with_many_events_does_not_keep_those_of_another_out_of_memory(transactions: Transactions) -> None:
    desk = await made_desk(transactions, max_waiting=20, max_at_once=10)
    await transactions.write(lambda tx: endpoint_store.save(tx, endpoint("ep_other", tenant="other")))
    desk.consumer.pauses = asyncio.Event()
    async with desk.running():
        await desk.record("first")
        for number in range(100):
            await desk.record(f"k{number}")
        await desk.record("other", tenant="other")
        began = len(desk.worker.carried)
        desk.consumer.pauses.set()
        await desk.until(lambda: len(desk.worker.carried) == 102)
    assert began == 0
    place = [work.event.tenant for work in desk.worker.carried].index("other")
    assert place <= 1 + 2 * 10, "in one of the next two rounds: one is of events in memory, one of those in the database"


async def test_events_in_memory_do_not_keep_those_in_the_database_waiting(transactions: Transactions) -> None:
    """Another process recorded it and died, or it is of a tenant that had no room in memory."""
    desk = await made_desk(transactions)
    left = EventRecorder("gone", SystemClock(), hand_over=lambda *_: None, has_room=lambda _tenant: False)
    stop = False

    async def keep_recording() -> None:
        number = 0
        while not stop:
            await asyncio.gather(*(desk.record(f"k{number}-{each}") for each in range(20)))
            number += 1

    async with desk.running():
        recording = asyncio.create_task(keep_recording())
        await desk.until(lambda: desk.counters.dispatched > 0)
        await transactions.write(lambda tx: left.add(tx, tenant="acme", type="thing.started", key="left", body=b"{}"))
        await desk.until(lambda: ("left", "thing.started") in desk.consumer.seen)
        stop = True
        await recording


async def test_a_database_that_fails_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    real = desk.transactions.write
    left = 2

    async def write(operation: Any) -> Any:
        nonlocal left
        if left and "_send_on" in getattr(operation, "__qualname__", ""):
            left -= 1
            raise StorageError("disk full")
        return await real(operation)

    monkeypatch.setattr(desk.transactions, "write", write)
    async with desk.running():
        first = await desk.record()
        await desk.until(lambda: left == 0)
        second = await desk.record()
        await desk.until(lambda: desk.counters.deliveries == 2)
    assert await desk.made() == [first, second]


async def test_an_event_does_not_overtake_one_that_another_process_left(desk: Desk) -> None:
    """Its hub died, or is slow: the lease has to run out first."""
    gone = EventRecorder("gone", SystemClock(), hand_over=lambda *_: None, has_room=lambda _tenant: True, lease_ms=300)
    older = await desk.transactions.write(lambda tx: gone.add(tx, tenant="acme", type="thing.started", key="k", body=b"{}"))
    async with desk.running():
        newer, other = await desk.record(), await desk.record("other")
        await desk.until(lambda: desk.counters.deliveries == 3)
    assert await desk.made() == [other, older, newer]


async def test_a_delivery_does_not_overtake_one_that_another_process_carries(desk: Desk) -> None:
    older = await desk.transactions.write(lambda tx: desk.recorder.add(tx, tenant="acme", type="thing.started", key="k", body=b"{}"))
    async with desk.running():
        await desk.until(lambda: len(desk.worker.carried) == 1)
        await desk.transactions.write(lambda tx: tx.run("UPDATE deliveries SET lease_owner = 'gone'"))
        await desk.record(type="thing.finished")
        await desk.until(lambda: desk.counters.dispatched == 2)
    assert [work.event for work in desk.worker.carried] == [older]
    assert "ep_1" in desk.worker.looked


async def test_stopping_dispatches_what_was_recorded(desk: Desk) -> None:
    desk.consumer.pauses = asyncio.Event()
    await desk.cache.refresh(a_slice())
    await desk.dispatcher.start()
    for number in range(10):
        await desk.record(f"k{number}")
    stopping = asyncio.ensure_future(desk.dispatcher.stop())
    desk.consumer.pauses.set()
    await stopping
    assert len(desk.worker.carried) == 10
    assert await desk.transactions.read(delivery_store.waiting) == (10, 0)
