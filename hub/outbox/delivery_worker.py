"""Sends deliveries to their endpoints. Each endpoint has a queue of its own, tenants take turns, and a delivery is over when its outcome is
on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog

from hub.background import unordered
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice
from hub.outbox.claimer import Claimer
from hub.outbox.counters import Counters
from hub.outbox.delivery_store import Work
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.endpoint_queue import EndpointQueue
from hub.outbox.leases import LeaseReturner
from hub.outbox.models import Consumer, Endpoint, OutboxEvent
from hub.outbox.operations import Operations
from hub.outbox.outcome import Outcome
from hub.outbox.outcome_recorder import OutcomeRecorder
from hub.outbox.settings import OutboxSettings
from hub.outbox.shares import Line, Pool
from hub.outbox.timing import DEFAULT, Timing
from hub.storage.transactions import StorageError, Transactions

_log = structlog.get_logger(__name__)


class Sends(Protocol):
    """Sends one attempt: :class:`hub.outbox.sender.Sender`."""

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        """POST the event. Whatever the receiver does becomes an outcome."""
        ...


class DeliveryWorker:
    """The queues of all endpoints, in one process."""

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        cache: EndpointCache,
        sender: Sends,
        clock: Clock,
        loop: Loop,
        counters: Counters,
        settings: OutboxSettings,
        operations: Operations,
        consumers: Callable[[], Mapping[str, Consumer]],
        timing: Timing = DEFAULT,
    ) -> None:
        """``consumers`` is called at the start. It returns the consumers by event type."""
        self._cache = cache
        self._sender = sender
        self._clock = clock
        self._counters = counters
        self._settings = settings
        self._timing = timing
        self._find_consumers = consumers
        self._queues: dict[str, EndpointQueue] = {}
        self._targets: dict[str, tuple[str, bool]] = {}
        """The URL of each endpoint and whether it is enabled, as they were when this process last read them."""
        self._requests_pool = Pool(settings.in_flight, settings.tenant_share)
        self._held_pool = Pool(settings.held, settings.tenant_share)
        self._line = Line(self._requests_pool)
        """Endpoints that have a delivery ready and wait until another request may begin."""
        self._leases = LeaseReturner(owner=owner, transactions=transactions, clock=clock, spawn=self._spawn, retry_s=timing.look_s)
        self._claimer = Claimer(
            owner=owner,
            transactions=transactions,
            cache=cache,
            clock=clock,
            loop=loop,
            held=self._held_pool,
            order_s=settings.order_s,
            timing=timing,
            lease_until_ms=self.lease_until_ms,
        )
        self._outcomes = OutcomeRecorder(
            owner=owner,
            transactions=transactions,
            cache=cache,
            clock=clock,
            counters=counters,
            settings=settings,
            operations=operations,
        )
        self.latency = self._outcomes.latency
        """Seconds from the recording of an event to the answer with which an endpoint took its delivery."""
        self._requests: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> int:
        """Requests under way."""
        return self._requests_pool.used

    @property
    def in_line(self) -> int:
        """The number of endpoints that have a delivery ready and wait until another request, of all or of their tenant, may begin."""
        return len(self._line)

    @property
    def held(self) -> int:
        """Deliveries in memory."""
        return self._held_pool.used

    @property
    def circuits_open(self) -> int:
        """The number of endpoints that get one probe at a time, because they do not answer."""
        return sum(queue.circuit_open for queue in self._queues.values())

    async def start(self, time_slice: TimeSlice) -> None:
        """Begin to deliver."""
        self._outcomes.consumers = self._find_consumers()
        await self.follow(time_slice)
        self._task = unordered.watch(asyncio.get_running_loop().create_task(self._run(), name="hub.outbox.deliver"))

    async def stop(self, grace_s: float) -> None:
        """Begin no more requests. Those under way may end within ``grace_s`` seconds; then they are cancelled, and made again after the
        next start.
        """
        self._stopping = True
        self._leases.stop()
        if self._task is not None:
            self._wake.set()
            await self._task
            self._task = None
        for queue in self._queues.values():
            self._give_back(queue, queue.let_go())
        if self._requests:
            await asyncio.wait(self._requests, timeout=grace_s)
        for request in self._requests:
            request.cancel()
        while self._requests:  # a request that is cancelled gives its lease back, in another task
            await asyncio.wait(self._requests)

    async def follow(self, time_slice: TimeSlice) -> None:
        """The endpoints may have changed: keep a queue for each endpoint that exists, and search the database for its deliveries."""
        self._divide()
        for identifier in [*self._queues, *(endpoint.id for endpoint in self._cache if endpoint.id not in self._queues)]:
            self._follow(identifier)
            await time_slice.checkpoint()

    def follow_one(self, identifier: str) -> None:
        """An endpoint may have been made, changed or removed."""
        self._divide()
        self._follow(identifier)

    def _divide(self) -> None:
        """Let a tenant use more than its share while no other tenant has an enabled endpoint."""
        alone = self._cache.serves_one_tenant
        for pool in (self._requests_pool, self._held_pool):
            pool.alone = alone

    def _follow(self, identifier: str) -> None:
        endpoint = self._cache.get(identifier)
        if endpoint is None:
            self._targets.pop(identifier, None)
            gone = self._queues.get(identifier)
            if gone is not None and not gone.held:
                del self._queues[identifier]
            return
        queue = self._queue(identifier)
        url, enabled = self._targets.get(identifier, (endpoint.url, True))
        self._targets[identifier] = (endpoint.url, endpoint.enabled)
        if url != endpoint.url or (endpoint.enabled and not enabled):
            queue.forgive()
        queue.resize(endpoint.concurrency or self._settings.concurrency)
        queue.look_at(self._clock.monotonic())
        self._begin(identifier, queue)
        self._wake.set()

    def forget_unused(self) -> None:
        """Forget the shares of tenants that have neither endpoints nor deliveries."""
        for pool in (self._requests_pool, self._held_pool):
            pool.forget_unused(but=self._cache.tenants)

    # -- from the dispatcher --------------------------------------------------------------------------------------------

    def reserve(self, endpoint: str, key: str) -> bool:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        known = self._cache.get(endpoint)
        if known is None or not known.enabled or self._stopping or self._leases.is_left(endpoint, key):
            return False
        queue = self._queue(endpoint)
        if not queue.admits(self._clock.monotonic()) or self._held_pool.of(known.tenant).room <= 0:
            return False
        queue.held += 1
        return True

    def lease_until_ms(self, endpoint: str) -> int:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        known = self._cache.get(endpoint)
        timeout_ms = round(self._timeout_s(known) * 1000) if known is not None else 0
        return self._clock.wall_ms() + timeout_ms + round(self._settings.lease_s * 1000)

    def carry(self, work: Work) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        queue = self._queue(work.endpoint)
        if self._leases.is_left(work.endpoint, work.event.key):  # an older one of its key went back to the database meanwhile
            queue.held -= 1
            self._give_back(queue, [work])
            return
        queue.add(work)
        self._begin(work.endpoint, queue)

    def cancel(self, endpoint: str) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        self._queue(endpoint).held -= 1

    def round_over(self) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        self._leases.round_over()

    def look(self, endpoint: str) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`. If this process does not know the endpoint yet, it looks as soon as it has read
        the endpoint.
        """
        if endpoint in self._queues or self._cache.get(endpoint) is not None:
            self._queue(endpoint).look_at(self._clock.monotonic())
            self._wake.set()

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                wait_s = await self._claimer.claim(self._queues, self._begin)
            except StorageError:
                _log.exception("deliveries_not_claimed")
                wait_s = self._timing.look_s
            if wait_s > 0 and not self._stopping:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    # -- one delivery -----------------------------------------------------------------------------------------------------

    def _begin(self, identifier: str, queue: EndpointQueue) -> None:
        """Begin the deliveries of a queue that are ready, as many as may begin."""
        if self._stopping:
            self._give_back(queue, queue.let_go())
            return
        if queue.may_begin(self._clock.monotonic()):
            endpoint = self._cache.get(identifier)
            # the deliveries of an endpoint that was removed are given back by their attempts
            self._line.join(endpoint.tenant if endpoint is not None else "", identifier)
            self._feed()

    def _feed(self) -> None:
        """Begin requests of the endpoints that wait, tenants in turn, until as many are under way as may be."""
        while (following := self._line.next()) is not None:
            tenant, identifier = following
            queue = self._queues.get(identifier)
            now = self._clock.monotonic()
            work = queue.next(now) if queue is not None else None
            if queue is None or work is None:
                continue
            if queue.may_begin(now):
                self._line.join(tenant, identifier)
            self._requests_pool.of(tenant).add(1)
            self._spawn(self._deliver(queue, work, tenant))

    def _spawn(self, request: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(request)
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _deliver(self, queue: EndpointQueue, work: Work, tenant: str) -> None:
        tried: tuple[Endpoint, Outcome] | None = None
        again_ms = 0
        try:
            tried = await self._try(work)
        except Exception:
            self._counters.unrecorded += 1
            _log.exception("request_failed", delivery=work.delivery)
            again_ms = round(self._settings.lease_s * 1000)
        finally:
            self._requests_pool.of(tenant).add(-1)
            queue.sent()
            if tried is None:
                self._give_back(queue, [], under_way=work, again_ms=again_ms)
            self._begin(work.endpoint, queue)
            self._feed()
        if tried is None:
            return
        decided = False
        try:
            decided = await self._outcomes.record(*tried, queue, work)
        except BaseException as error:
            # the database failed, or the consumer that gets the outcome: the delivery is made again
            self._counters.unrecorded += 1
            _log.exception("outcome_not_recorded", delivery=work.delivery)
            self._give_back(queue, [], under_way=work, again_ms=round(self._settings.lease_s * 1000))
            if not isinstance(error, Exception):
                raise
            return
        now = self._clock.monotonic()
        endpoint = self._cache.get(work.endpoint)
        if endpoint is None or not endpoint.enabled or queue.circuit_open or queue.open_at(now) > now:
            self._give_back(queue, queue.let_go())  # no delivery that it holds begins soon
        self._over(queue, work, decided=decided)

    async def _try(self, work: Work) -> tuple[Endpoint, Outcome] | None:
        """Make the request. Returns None without one where the endpoint was removed or disabled, or the lease would end before the
        request.
        """
        endpoint = self._cache.get(work.endpoint)
        if endpoint is None or not endpoint.enabled:
            return None
        timeout_s = self._timeout_s(endpoint)
        if self._clock.wall_ms() + timeout_s * 1000 > work.lease_until_ms:
            return None
        outcome = await self._sender.send(endpoint, work.event, work.number, timeout_s)
        self._counters.attempts += 1
        return endpoint, outcome

    def _over(self, queue: EndpointQueue, work: Work, *, decided: bool) -> None:
        """A delivery is no longer under way. If it is ``decided``, delivered or dead, the next of its key may begin. If not, the
        database keeps the order: deliveries that waited for it in memory are given back.
        """
        if not decided:
            self._leases.leave(work)
            self._give_back(queue, queue.let_go_behind(work.event.key))
        queue.over(work.event.key)
        now = self._clock.monotonic()
        if queue.blocked:
            queue.look_at(now)  # deliveries that waited for this key may begin now
        self._begin(work.endpoint, queue)
        if queue.due is not None and queue.due <= now and queue.wants_more(now):
            self._wake.set()

    def _give_back(self, queue: EndpointQueue, works: list[Work], *, under_way: Work | None = None, again_ms: int = 0) -> None:
        """Give back the leases of deliveries that the queue no longer holds, and of one that was under way. They may be claimed again
        in ``again_ms`` milliseconds. Until that is on disk, no delivery of their keys begins.
        """
        works = works if under_way is None else [under_way, *works]
        if not works:
            return

        def done() -> None:
            queue.look_at(self._clock.monotonic() + again_ms / 1000)
            if under_way is not None:
                self._over(queue, under_way, decided=False)
            self._wake.set()

        self._leases.give_back(works, again_ms, done)

    def _queue(self, endpoint: str) -> EndpointQueue:
        queue = self._queues.get(endpoint)
        if queue is None:
            known = self._cache.get(endpoint)
            limit = (known.concurrency if known is not None else 0) or self._settings.concurrency
            held = self._held_pool.of(known.tenant if known is not None else "")
            queue = self._queues[endpoint] = EndpointQueue(
                limit,
                self._settings.trip_after,
                held,
                first_probe_s=self._timing.first_probe_s,
                max_probe_s=self._timing.max_probe_s,
            )
            if known is not None and (known.silent or known.closed_until_ms):
                # not longer than the longest pause of the settings: the clock may have been set back
                longest_s = max(self._timing.max_probe_s, self._settings.throttle_s)
                closed_s = min(max(0.0, (known.closed_until_ms - self._clock.wall_ms()) / 1000), longest_s)
                queue.restore(known.silent, self._clock.monotonic() + closed_s)
        return queue

    def _timeout_s(self, endpoint: Endpoint) -> float:
        return endpoint.policy.timeout_ms / 1000 or self._settings.timeout_s
