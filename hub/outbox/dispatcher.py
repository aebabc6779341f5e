"""Dispatches events: calls their consumers in this process, then makes a delivery for each endpoint that wants the event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from hub.background import unordered
from hub.core.ports import Clock
from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import Counters
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.models import Consumer, OutboxEvent
from hub.outbox.shares import Pool, Turns
from hub.outbox.timing import DEFAULT, Timing
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

MAX_AT_ONCE: Final = 256
"""Events of one round at most: their consumers run concurrently, and one transaction makes their deliveries."""

KEPT_FREE: Final = 0.25
"""The part of the places in memory that stays free for tenants that use none yet."""


class DeliveryPort(Protocol):
    """Sends deliveries: :class:`hub.outbox.delivery_worker.DeliveryWorker`."""

    def reserve(self, endpoint: str, key: str) -> bool:
        """Reserve a place for a delivery of a key that will be made next. Returns False if the delivery has to wait in the database."""
        ...

    def lease_until_ms(self, endpoint: str) -> int:
        """The end of a lease that begins now, for a delivery of this endpoint, in ms."""
        ...

    def carry(self, work: delivery_store.Work) -> None:
        """Take a delivery for which a place was reserved. Those of one key come in order."""
        ...

    def round_over(self) -> None:
        """All places that were reserved in this round have been used or given back."""
        ...

    def cancel(self, endpoint: str) -> None:
        """Give back a reserved place: the delivery was not made, or it waits in the database."""
        ...

    def look(self, endpoint: str) -> None:
        """Deliveries of an endpoint wait in the database: search for them."""
        ...


class Dispatcher:
    """Dispatches events in the order of their ids. Events of one key never overtake one another."""

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        cache: EndpointCache,
        worker: DeliveryPort,
        clock: Clock,
        counters: Counters,
        consumers: Callable[[], Mapping[str, Consumer]],
        lease_ms: int = 30_000,
        max_waiting: int = 5_000,
        tenant_share: float = 0.25,
        timing: Timing = DEFAULT,
        max_at_once: int = MAX_AT_ONCE,
    ) -> None:
        """``consumers`` is called at the start and returns the consumers by event type. An event that is not dispatched within ``lease_ms``
        may be claimed by another process. At most ``max_waiting`` events wait in memory; one tenant may use the part ``tenant_share`` of
        these places while others wait. Further events wait in the database. ``max_at_once`` events are dispatched in one round.
        """
        self._lease_ms = lease_ms
        self._timing = timing
        self._again_ms = round(timing.consume_again_s * 1000)
        self._max_at_once = max_at_once
        self._owner = owner
        self._transactions = transactions
        self._cache = cache
        self._worker = worker
        self._clock = clock
        self._counters = counters
        self._find_consumers = consumers
        self._consumers: Mapping[str, Consumer] = {}
        self._waiting: Turns[OutboxEvent] = Turns(Pool(max_waiting, tenant_share, KEPT_FREE))
        self._behind = True
        """Whether there may be events in the database that no process dispatches."""
        self._look_at = 0.0
        """The latest time for the next search in the database."""
        self._from_memory = False
        """Whether the events of the last round came from memory."""
        self._wake = asyncio.Event()
        self._stuck: dict[tuple[str, str], int] = {}
        """Keys whose events wait since a consumer failed, each with the id of its newest event."""
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Events that wait in memory."""
        return len(self._waiting)

    def has_room(self, tenant: str) -> bool:
        """Whether a new event of a tenant may wait in memory. Called by the database's thread."""
        return self._waiting.pool.room_of(tenant) > 0

    def take(self, event: OutboxEvent, leased: bool) -> None:
        """An event is on disk. ``leased``: this process dispatches it from memory; else it waits in the database."""
        self._counters.recorded += 1
        if leased:
            self._waiting.append(event.tenant, event)
        else:
            self._behind = True
        self._wake.set()

    async def start(self) -> None:
        """Begin to dispatch."""
        self._consumers = self._find_consumers()
        self._task = unordered.watch(asyncio.get_running_loop().create_task(self._run(), name="hub.outbox.dispatcher"))

    async def stop(self) -> None:
        """Dispatch the events that wait in memory, then stop."""
        task, self._task = self._task, None
        if task is None:
            return
        self._wake.set()
        await task

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                events, claimed = await self._next()
                if events:
                    try:
                        await self._dispatch(events, claimed)
                    except StorageError:
                        for event in reversed(events):  # before later events, which must not overtake them
                            self._waiting.put_back(event.tenant, event)
                        raise
                elif self._task is None:
                    return
            except StorageError:
                _log.exception("events_not_dispatched")
                if self._task is None:
                    return  # they are in the database, and are dispatched when a hub starts
                self._behind = True
                await asyncio.sleep(self._timing.poll_s)

    async def _next(self) -> tuple[list[OutboxEvent], bool]:
        """The next events to dispatch, or none after a while; and whether they were claimed from the database. An event that has to wait
        for an older one is not claimed.
        """
        if not self._waiting and not self._behind and self._task is not None:
            self._wake.clear()
            self._waiting.pool.forget_unused()
            try:
                async with asyncio.timeout(self._timing.poll_s):
                    await self._wake.wait()
            except TimeoutError:
                self._behind = True
        if self._clock.monotonic() >= self._look_at:
            self._behind = True  # another process may have given events back; search also while there are events in memory
        # take turns while both have events: a tenant that fills the memory must not delay events in the database
        from_memory = self._waiting and not (self._behind and self._from_memory and self._task is not None)
        self._from_memory = bool(from_memory)
        if from_memory:
            return self._waiting.take(self._max_at_once), False
        if self._task is None or not self._behind:
            return [], False
        self._look_at = self._clock.monotonic() + self._timing.poll_s
        now = self._clock.wall_ms()
        limit = self._max_at_once
        claimed = await self._transactions.write(lambda tx: delivery_store.claim_events(tx, self._owner, now, self._lease_ms, limit))
        self._behind = len(claimed) == limit
        return claimed, True

    async def _dispatch(self, events: Sequence[OutboxEvent], claimed: bool) -> None:
        by_key: dict[tuple[str, str], list[OutboxEvent]] = {}
        for event in events:
            by_key.setdefault((event.tenant, event.key), []).append(event)
        outcomes = await asyncio.gather(*(self._consume(key, each, claimed) for key, each in by_key.items()))
        done = sorted(event for consumed, _ in outcomes for event in consumed)
        later = [event.id for _, left in outcomes for event in left]
        await self._send_on(done, later)

    async def _consume(
        self, key: tuple[str, str], events: Sequence[OutboxEvent], claimed: bool
    ) -> tuple[Sequence[OutboxEvent], Sequence[OutboxEvent]]:
        """Call the consumers for the events of one key, in order. Returns the events that are done and those to be tried again later."""
        newest = self._stuck.get(key, 0)
        if newest and not claimed:
            # an older event of the key was given back, so these are given back, too
            self._stuck[key] = events[-1].id
            return (), events
        for index, event in enumerate(events):
            consumer = self._consumers.get(event.type)
            if consumer is None:
                continue
            try:
                async with asyncio.timeout(self._timing.consume_within_s):
                    await consumer.consume(event)
            except Exception:
                self._counters.consumer_faults += 1
                _log.exception("consumer_failed", type=event.type, event_id=event.id, again_in_ms=self._again_ms)
                self._stuck[key] = max(events[-1].id, newest)
                return events[:index], events[index:]
        if newest and events[-1].id >= newest:
            del self._stuck[key]
        return events, ()

    async def _send_on(self, events: Sequence[OutboxEvent], later: Sequence[int]) -> None:
        """Make the deliveries of events and mark the events as dispatched, in one transaction."""
        now = self._clock.wall_ms()
        planned = [
            (event, endpoint, self._worker.reserve(endpoint, event.key), self._worker.lease_until_ms(endpoint))
            for event in events
            for endpoint in self._cache.wanting(event)
        ]

        def write(tx: Transaction) -> list[delivery_store.Created | None]:
            there = endpoint_store.kept(tx, {endpoint for _, endpoint, _, _ in planned})  # one may have been removed since it was planned
            made = [
                delivery_store.create(tx, event, endpoint, now, self._owner if reserved else "", lease_until_ms if reserved else 0)
                if endpoint in there
                else None
                for event, endpoint, reserved, lease_until_ms in planned
            ]
            if events:
                delivery_store.dispatched(tx, events)
            if later:
                delivery_store.release_events(tx, later, now + self._again_ms)
            return made

        try:
            made = await self._transactions.write(write)
        except BaseException:
            for _, endpoint, reserved, _ in planned:
                if reserved:
                    self._worker.cancel(endpoint)
            raise
        self._counters.dispatched += len(events)
        for (event, endpoint, reserved, lease_until_ms), created in zip(planned, made, strict=True):
            self._counters.deliveries += created is not None
            if reserved and created is not None and created.leased:
                self._worker.carry(delivery_store.Work(created.delivery, endpoint, 0, 0, event, lease_until_ms))
                continue
            if reserved:
                self._worker.cancel(endpoint)
            if created is not None:
                self._worker.look(endpoint)
        self._worker.round_over()
