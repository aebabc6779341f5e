"""Sends deliveries to their endpoints. Each endpoint has a queue of its own, tenants take turns, and a delivery is over when its outcome is
on disk.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import structlog

from hub.core.metric import Histogram
from hub.core.ports import Clock
from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import DELIVERY_BOUNDS, Counters
from hub.outbox.delivery_store import Claim, Work
from hub.outbox.endpoint_queue import CIRCUIT_MAX_S, EndpointQueue
from hub.outbox.endpoint_store import EndpointCache
from hub.outbox.models import Consumer, DeliveryState, Endpoint, OutboxEvent, Settled
from hub.outbox.operations import Operations
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.schedule import Decision, decide
from hub.outbox.settings import OutboxSettings
from hub.outbox.shares import Line, Pool
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""The longest time between two looks into the database for an endpoint with deliveries there: another process may have made some."""

BLOCKED_S: Final = 1.0
"""The time until the next look where a due delivery waits for an older one of its key."""

QUEUES_AT_ONCE: Final = 64
"""Queues looked at in one transaction."""


class Sends(Protocol):
    """One attempt: :class:`hub.outbox.sender.Sender`."""

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        """POST the event. Whatever the receiver does becomes an outcome."""
        ...


def in_turn(ready: Mapping[str, list[tuple[int, str, EndpointQueue]]]) -> list[tuple[str, str, EndpointQueue]]:
    """Order queues by turns of tenants: one of each tenant, then another of each; within a tenant the one that waited longest comes
    first.
    """
    ranked = [
        (rank, turn, tenant, identifier, queue)
        for tenant, queues in ready.items()
        for rank, (turn, identifier, queue) in enumerate(sorted(queues, key=lambda each: each[0]))
    ]
    ranked.sort(key=lambda each: each[:2])
    return [(tenant, identifier, queue) for _, _, tenant, identifier, queue in ranked]


class DeliveryWorker:
    """All queues of a process."""

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        cache: EndpointCache,
        sender: Sends,
        clock: Clock,
        counters: Counters,
        settings: OutboxSettings,
        operations: Operations,
        consumers: Callable[[], Mapping[str, Consumer]],
    ) -> None:
        """``consumers`` is called at the start. It returns the consumers by event type."""
        self._owner = owner
        self._transactions = transactions
        self._cache = cache
        self._sender = sender
        self._clock = clock
        self._counters = counters
        self.latency = Histogram(DELIVERY_BOUNDS)
        """Seconds from the recording of events to the answer that took each delivery."""
        self._settings = settings
        self._operations = operations
        self._find_consumers = consumers
        self._consumers: Mapping[str, Consumer] = {}
        self._random = random.Random()  # noqa: S311  spreads retries, keeps no secret
        self._queues: dict[str, EndpointQueue] = {}
        self._targets: dict[str, tuple[str, bool]] = {}
        """The URL of each endpoint and whether it is enabled, as they were when this process last read them."""
        self._turns = itertools.count(1)
        self._requests_pool = Pool(settings.in_flight, settings.tenant_share)
        self._held_pool = Pool(settings.held, settings.tenant_share)
        self._line = Line(self._requests_pool)
        """Endpoints that have a delivery ready and wait until another request may begin."""
        self._giving_back: Counter[tuple[str, str]] = Counter()
        """Endpoints and keys of deliveries whose leases are being given back."""
        self._given_back: set[tuple[str, str]] = set()
        """Endpoints and keys whose leases were given back since the dispatcher's last round."""
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

    async def start(self) -> None:
        """Begin to deliver."""
        self._consumers = self._find_consumers()
        self.follow()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="hub.outbox.deliver")

    async def stop(self, grace_s: float) -> None:
        """Begin no more requests. Those under way may end within ``grace_s`` seconds; later ones are cancelled and made again after the
        next start.
        """
        self._stopping = True
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

    def follow(self) -> None:
        """The endpoints have changed: keep a queue for each of those that exist."""
        now = self._clock.monotonic()
        for gone in [each for each, queue in self._queues.items() if self._cache.get(each) is None and not queue.held]:
            del self._queues[gone]
        tenants = {endpoint.tenant for endpoint in self._cache}
        waiting = {endpoint.tenant for endpoint in self._cache if endpoint.enabled}
        for pool in (self._requests_pool, self._held_pool):
            pool.alone = len(waiting) <= 1
            pool.forget_unused(but=tenants)
        before, self._targets = self._targets, {endpoint.id: (endpoint.url, endpoint.enabled) for endpoint in self._cache}
        for endpoint in self._cache:
            queue = self._queue(endpoint.id)
            url, enabled = before.get(endpoint.id, (endpoint.url, True))
            if url != endpoint.url or (endpoint.enabled and not enabled):
                queue.forgive()
            queue.resize(endpoint.concurrency or self._settings.concurrency)
            queue.look_at(now)
            self._begin(endpoint.id, queue)
        self._wake.set()

    # -- from the dispatcher --------------------------------------------------------------------------------------------

    def reserve(self, endpoint: str, key: str) -> bool:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        known = self._cache.get(endpoint)
        if known is None or not known.enabled or self._stopping or self._is_left(endpoint, key):
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
        if self._is_left(work.endpoint, work.event.key):  # it was left to the database after its place was kept
            queue.held -= 1
            self._give_back(queue, [work])
            return
        queue.add(work)
        self._begin(work.endpoint, queue)

    def _is_left(self, endpoint: str, key: str) -> bool:
        """Whether an older delivery of the key was left to the database and may not have been claimed by this process since."""
        return (endpoint, key) in self._giving_back or (endpoint, key) in self._given_back

    def cancel(self, endpoint: str) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        self._queue(endpoint).held -= 1

    def look(self, endpoint: str) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`. If this process does not know the endpoint yet, it looks when it does."""
        if endpoint in self._queues or self._cache.get(endpoint) is not None:
            self._queue(endpoint).look_at(self._clock.monotonic())
            self._wake.set()

    # -- looking for work -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            try:
                wait_s = await self._look()
            except StorageError:
                _log.exception("deliveries_not_claimed")
                wait_s = LOOK_S
            if wait_s > 0 and not self._stopping:
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _look(self) -> float:
        """Claim deliveries that may begin soon. Returns in how many seconds to look again, unless the loop is woken before."""
        self._wake.clear()
        now = self._clock.monotonic()
        next_at = now + LOOK_S
        ready: dict[str, list[tuple[int, str, EndpointQueue]]] = {}
        """By tenant."""
        for identifier, queue in self._queues.items():
            if queue.due is None:
                continue
            endpoint = self._cache.get(identifier)
            if endpoint is None or not endpoint.enabled:
                continue
            begins = max(queue.due, queue.open_at(now))
            if begins > now:
                next_at = min(next_at, begins)
            elif queue.wants_more(now):
                ready.setdefault(endpoint.tenant, []).append((queue.turn, identifier, queue))
        wanted: list[tuple[str, EndpointQueue, int]] = []
        for tenant, identifier, queue in in_turn(ready):
            room = self._held_pool.of(tenant).room
            if room <= 0:
                continue
            # a share for each of its endpoints, rather than all for the first of them
            limit = min(queue.space(now), room, max(queue.limit, room // len(ready[tenant])))
            queue.held += limit
            queue.turn = next(self._turns)
            queue.due = None
            queue.looking = True
            wanted.append((identifier, queue, limit))
            if len(wanted) == QUEUES_AT_ONCE:
                break
        if not wanted:
            return max(0.0, next_at - now)
        claims = await self._claim(wanted)
        now = self._clock.monotonic()
        wall_ms = self._clock.wall_ms()
        for (identifier, queue, limit), claim in zip(wanted, claims, strict=True):
            queue.looking = False
            queue.held -= limit - len(claim.work)
            queue.blocked = False
            if claim.due_ms is not None:
                due_in = (claim.due_ms - wall_ms) / 1000
                # a delivery that is due and was not claimed waits for an older one of its key
                queue.blocked = due_in <= 0 and not claim.work
                queue.look_at(now + (BLOCKED_S if queue.blocked else max(due_in, 0.0)))
            for work in claim.work:
                queue.add(work)
            self._begin(identifier, queue)
        return 0.0

    async def _claim(self, wanted: list[tuple[str, EndpointQueue, int]]) -> list[Claim]:
        now_ms = self._clock.wall_ms()
        order_ms = round(self._settings.order_s * 1000)
        asked = [(identifier, self.lease_until_ms(identifier), limit) for identifier, _, limit in wanted]

        def write(tx: Transaction) -> list[Claim]:
            return [
                delivery_store.claim(
                    tx, identifier, owner=self._owner, now_ms=now_ms, lease_until_ms=until_ms, order_ms=order_ms, limit=limit
                )
                for identifier, until_ms, limit in asked
            ]

        try:
            return await self._transactions.write(write)
        except BaseException:
            for _, queue, limit in wanted:
                queue.looking = False
                queue.held -= limit
                queue.look_at(self._clock.monotonic() + LOOK_S)
            raise

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
            decided = await self._record_outcome(*tried, queue, work)
        except BaseException as error:
            # the database failed, or a consumer that was notified of the outcome: the delivery is made again
            self._counters.unrecorded += 1
            _log.exception("outcome_not_recorded", delivery=work.delivery)
            self._give_back(queue, [], under_way=work, again_ms=round(self._settings.lease_s * 1000))
            if not isinstance(error, Exception):
                raise
            return
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
            self._given_back.add((work.endpoint, work.event.key))
            self._give_back(queue, queue.let_go_behind(work.event.key))
        queue.over(work.event.key)
        now = self._clock.monotonic()
        if queue.blocked:
            queue.look_at(now)  # deliveries that waited for this key may begin now
        self._begin(work.endpoint, queue)
        if queue.due is not None and queue.due <= now and queue.wants_more(now):
            self._wake.set()

    # -- leaving deliveries to the database ---------------------------------------------------------------------------------

    def _give_back(self, queue: EndpointQueue, works: list[Work], *, under_way: Work | None = None, again_ms: int = 0) -> None:
        """Give back the leases of deliveries that the queue no longer holds, and of one that was under way. They may be claimed again
        in ``again_ms`` milliseconds. Until that is on disk, no delivery of their keys begins.
        """
        works = works if under_way is None else [under_way, *works]
        if not works:
            return
        for work in works:
            self._giving_back[work.endpoint, work.event.key] += 1
        self._spawn(self._return_leases(queue, works, under_way, again_ms))

    async def _return_leases(self, queue: EndpointQueue, works: list[Work], under_way: Work | None, again_ms: int) -> None:
        numbers = [work.delivery for work in works]

        def write(tx: Transaction) -> None:
            delivery_store.give_back(tx, numbers, self._owner, self._clock.wall_ms() + again_ms if again_ms else 0)

        try:
            while True:
                try:
                    await asyncio.shield(self._transactions.write(write))
                    break
                except StorageError:
                    _log.exception("leases_not_given_back", again_s=LOOK_S)
                    if self._stopping:
                        return  # they run out, or the next start frees them
                    await asyncio.sleep(LOOK_S)
        finally:
            for work in works:
                key = (work.endpoint, work.event.key)
                self._giving_back[key] -= 1
                if not self._giving_back[key]:
                    del self._giving_back[key]
                    self._given_back.add(key)
            queue.look_at(self._clock.monotonic() + again_ms / 1000)
            if under_way is not None:
                self._over(queue, under_way, decided=False)
            self._wake.set()

    def round_over(self) -> None:
        """See :class:`hub.outbox.dispatcher.DeliveryPort`."""
        self._given_back.clear()

    # -- what came of it ------------------------------------------------------------------------------------------------------

    async def _record_outcome(self, endpoint: Endpoint, outcome: Outcome, queue: EndpointQueue, work: Work) -> bool:
        """Record what came of a request; returns whether the delivery is over."""
        decision = decide(endpoint.policy, outcome, work.step, self._settings, self._random)
        self._count(outcome)
        now_ms = self._clock.wall_ms()
        next_ms = now_ms + round(decision.wait_s * 1000)
        failing_since_ms, disable = self._health(endpoint, decision, now_ms)
        now = self._clock.monotonic()
        if decision.silent:
            queue.silent(now)
        else:
            queue.answered()
        if decision.pause_s:
            queue.close(now + decision.pause_s)
        silent = queue.failures if queue.circuit_open else 0
        closed_s = queue.open_at(now) - now
        closed_until_ms = now_ms + round(closed_s * 1000) if closed_s else 0
        circuit_changed = (silent, closed_until_ms) != (endpoint.silent, endpoint.closed_until_ms)
        endpoint.silent, endpoint.closed_until_ms = silent, closed_until_ms
        note = failing_since_ms != endpoint.failing_since_ms or (failing_since_ms is None and queue.failed)
        consumer = self._consumers.get(work.event.type)

        def write(tx: Transaction) -> bool:
            kept = delivery_store.record(tx, work, outcome, owner=self._owner, state=decision.state, next_ms=next_ms, error=decision.error)
            if note:
                endpoint_store.failing_since(tx, endpoint.id, failing_since_ms)
            if circuit_changed:
                endpoint_store.store_circuit(tx, endpoint.id, silent, closed_until_ms)
            if disable and endpoint_store.disable(tx, endpoint.id, disable):
                self._operations.endpoint_disabled(tx, endpoint, disable)
            if kept and decision.state is not DeliveryState.PENDING:
                if decision.state is DeliveryState.DEAD:
                    self._operations.delivery_dead(tx, work, decision.error, outcome.status)
                if consumer is not None:
                    body = outcome.body
                    consumer.settled(
                        tx, Settled(work.event, work.delivery, endpoint.id, decision.state, outcome.status, body, decision.error)
                    )
            return kept

        kept = await self._transactions.write(write)
        endpoint.failing_since_ms = failing_since_ms
        queue.failed = failing_since_ms is not None
        if disable:
            endpoint.enabled = False
            endpoint.disabled_reason = disable
            self._counters.disabled += 1
        now = self._clock.monotonic()
        if not kept:
            self._counters.lost += 1
        elif decision.state is DeliveryState.DELIVERED:
            self._counters.delivered += 1
            self.latency.observe((now_ms - work.event.at_ms) / 1000)
        elif decision.state is DeliveryState.DEAD:
            self._counters.dead += 1
        else:
            self._counters.retried += 1
            queue.look_at(now + decision.wait_s)
        if disable or queue.circuit_open or queue.open_at(now) > now:  # no delivery that it holds begins soon
            self._give_back(queue, queue.let_go())
        return kept and decision.state is not DeliveryState.PENDING

    def _health(self, endpoint: Endpoint, decision: Decision, now_ms: int) -> tuple[int | None, str]:
        """Returns the time since which the endpoint has done nothing but fail, and the reason to disable it, empty if there is none."""
        if decision.state is DeliveryState.DELIVERED:
            return None, ""
        since_ms = endpoint.failing_since_ms if endpoint.failing_since_ms is not None else now_ms
        hours = (now_ms - since_ms) / 3_600_000
        if decision.disable:
            return since_ms, decision.disable
        if hours >= self._settings.disable_after_h:
            return since_ms, f"nothing but failures for {hours:.0f} hours; the last: {decision.error}"
        return since_ms, ""

    def _count(self, outcome: Outcome) -> None:
        match outcome.failure:
            case Failure.TIMEOUT:
                self._counters.timeouts += 1
            case Failure.CONNECT:
                self._counters.unreachable += 1
            case Failure.FORBIDDEN:
                self._counters.forbidden += 1

    # -- queues ------------------------------------------------------------------------------------------------------------

    def _queue(self, endpoint: str) -> EndpointQueue:
        queue = self._queues.get(endpoint)
        if queue is None:
            known = self._cache.get(endpoint)
            limit = (known.concurrency if known is not None else 0) or self._settings.concurrency
            held = self._held_pool.of(known.tenant if known is not None else "")
            queue = self._queues[endpoint] = EndpointQueue(limit, self._settings.trip_after, held)
            if known is not None and (known.silent or known.closed_until_ms):
                # at most the longest pause there is: the clock may have been set back
                longest_s = max(CIRCUIT_MAX_S, self._settings.throttle_s)
                closed_s = min(max(0.0, (known.closed_until_ms - self._clock.wall_ms()) / 1000), longest_s)
                queue.restore(known.silent, self._clock.monotonic() + closed_s)
        return queue

    def _timeout_s(self, endpoint: Endpoint) -> float:
        return endpoint.policy.timeout_ms / 1000 or self._settings.timeout_s
