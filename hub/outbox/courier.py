"""Carries deliveries to their endpoints: fair among them, each in a lane of its own, and every outcome is on disk before it counts."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import structlog

from hub.core.ports import Clock
from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import Counters
from hub.outbox.delivery_store import Claim, Work
from hub.outbox.endpoint_store import EndpointBook
from hub.outbox.lane import Lane
from hub.outbox.model import Consumer, DeliveryState, Endpoint, OutboxEvent, Settled
from hub.outbox.operations import Operations
from hub.outbox.outcome import Fault, Outcome
from hub.outbox.schedule import Verdict, judge
from hub.outbox.settings import OutboxSettings
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""How often the database is asked at least for an endpoint that has something left there: another process may have made it."""

BLOCKED_S: Final = 1.0
"""How soon to look again where what is due waits for an older one of its key."""

LANES_AT_ONCE: Final = 64
"""Lanes looked at in one transaction."""


class Sends(Protocol):
    """One attempt: :class:`hub.outbox.sender.Sender`."""

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        """POST it; whatever the other side does becomes an outcome."""
        ...


class Courier:
    """All lanes of a process."""

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        book: EndpointBook,
        sender: Sends,
        clock: Clock,
        counters: Counters,
        settings: OutboxSettings,
        operations: Operations,
        consumers: Callable[[], Mapping[str, Consumer]],
    ) -> None:
        """``consumers`` is asked for at the start: by event type."""
        self._owner = owner
        self._transactions = transactions
        self._book = book
        self._sender = sender
        self._clock = clock
        self._counters = counters
        self._settings = settings
        self._operations = operations
        self._find_consumers = consumers
        self._consumers: Mapping[str, Consumer] = {}
        self._random = random.Random()  # noqa: S311  spreads retries, keeps no secret
        self._lanes: dict[str, Lane] = {}
        self._turns = itertools.count(1)
        self._under_way = 0
        self._requests: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> int:
        """Requests under way."""
        return self._under_way

    @property
    def tripped(self) -> int:
        """Endpoints that get no more than a probe, because they do not answer."""
        return sum(lane.tripped for lane in self._lanes.values())

    async def start(self) -> None:
        """Begin to deliver."""
        self._consumers = self._find_consumers()
        self.follow()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="hub.outbox.courier")

    async def stop(self, patience_s: float) -> None:
        """Begin nothing any more; what is under way may end within ``patience_s``, else it is tried again after the next start."""
        self._stopping = True
        if self._task is not None:
            self._wake.set()
            await self._task
            self._task = None
        if self._requests:
            await asyncio.wait(self._requests, timeout=patience_s)
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def follow(self) -> None:
        """The endpoints have changed: lanes for those that are there."""
        now = self._clock.monotonic()
        for gone in [each for each, lane in self._lanes.items() if self._book.get(each) is None and not lane.keys]:
            del self._lanes[gone]
        for endpoint in self._book:
            lane = self._lane(endpoint.id)
            lane.resize(endpoint.concurrency or self._settings.concurrency)
            lane.look_at(now)
        self._wake.set()

    # -- from the dispatcher --------------------------------------------------------------------------------------------

    def reserve(self, endpoint: str, event: OutboxEvent) -> bool:
        """See :class:`hub.outbox.dispatcher.Courier`."""
        known = self._book.get(endpoint)
        if known is None or not known.enabled or self._stopping or self._under_way >= self._settings.in_flight:
            return False
        lane = self._lane(endpoint)
        if not lane.admits(event.key, self._clock.monotonic()):
            return False
        self._begin(lane, event.key)
        return True

    def lease_until_ms(self, endpoint: str) -> int:
        """See :class:`hub.outbox.dispatcher.Courier`."""
        known = self._book.get(endpoint)
        timeout_ms = round(self._timeout_s(known) * 1000) if known is not None else 0
        return self._clock.wall_ms() + timeout_ms + round(self._settings.lease_s * 1000)

    def carry(self, work: Work) -> None:
        """See :class:`hub.outbox.dispatcher.Courier`."""
        request = asyncio.get_running_loop().create_task(self._deliver(work))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    def cancel(self, endpoint: str, key: str) -> None:
        """See :class:`hub.outbox.dispatcher.Courier`."""
        self._end(self._lane(endpoint), key)

    def look(self, endpoint: str) -> None:
        """See :class:`hub.outbox.dispatcher.Courier`."""
        self._lane(endpoint).look_at(self._clock.monotonic())
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
        """Claim what may begin now; returns in how many seconds to look again unless somebody wakes us."""
        self._wake.clear()
        now = self._clock.monotonic()
        room = self._settings.in_flight - self._under_way
        wanted: list[tuple[str, Lane, int]] = []
        next_at = now + LOOK_S
        ready: list[tuple[int, str, Lane]] = []
        for identifier, lane in self._lanes.items():
            if lane.due is None:
                continue
            endpoint = self._book.get(identifier)
            if endpoint is None or not endpoint.enabled:
                continue
            begins = max(lane.due, lane.open_at(now))
            if begins > now:
                next_at = min(next_at, begins)
            elif lane.room(now) > 0:
                ready.append((lane.turn, identifier, lane))
        ready.sort(key=lambda each: each[0])
        for _, identifier, lane in ready[:LANES_AT_ONCE]:
            if room <= 0:
                break
            limit = min(lane.room(now), room)
            room -= limit
            lane.turn = next(self._turns)
            lane.due = None
            lane.looking = True
            wanted.append((identifier, lane, limit))
        if not wanted:
            return max(0.0, next_at - now)
        claims = await self._claim(wanted)
        now = self._clock.monotonic()
        wall_ms = self._clock.wall_ms()
        for (_, lane, _), claim in zip(wanted, claims, strict=True):
            lane.looking = False
            lane.blocked = False
            if claim.due_ms is not None:
                due_in = (claim.due_ms - wall_ms) / 1000
                # what is due and was not given out waits for an older one of its key
                lane.blocked = due_in <= 0 and not claim.work
                lane.look_at(now + (BLOCKED_S if lane.blocked else max(due_in, 0.0)))
            for work in claim.work:
                self._begin(lane, work.event.key)
                self.carry(work)
        return 0.0

    async def _claim(self, wanted: list[tuple[str, Lane, int]]) -> list[Claim]:
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
            for _, lane, _ in wanted:
                lane.looking = False
                lane.look_at(self._clock.monotonic() + LOOK_S)
            raise

    # -- one delivery -----------------------------------------------------------------------------------------------------

    async def _deliver(self, work: Work) -> None:
        lane = self._lane(work.endpoint)
        try:
            endpoint = self._book.get(work.endpoint)
            if endpoint is None:
                await self._transactions.write(lambda tx: delivery_store.give_back(tx, [work.delivery], self._owner))
                return
            outcome = await self._sender.send(endpoint, work.event, work.number, self._timeout_s(endpoint))
            self._counters.attempts += 1
            await self._judge(endpoint, lane, work, outcome)
        except asyncio.CancelledError:
            # the hub stops: the next one tries again at once
            await asyncio.shield(self._transactions.write(lambda tx: delivery_store.give_back(tx, [work.delivery], self._owner)))
            raise
        except Exception:
            # the database, or what a consumer made of the outcome: the lease runs out, and it is tried again: at least once
            self._counters.unrecorded += 1
            _log.exception("outcome_not_recorded", delivery=work.delivery)
        finally:
            self._end(lane, work.event.key)

    async def _judge(self, endpoint: Endpoint, lane: Lane, work: Work, outcome: Outcome) -> None:
        verdict = judge(endpoint.policy, outcome, work.step, self._settings, self._random)
        self._count(outcome)
        now_ms = self._clock.wall_ms()
        next_ms = now_ms + round(verdict.wait_s * 1000)
        failing_since_ms, disable = self._health(endpoint, verdict, now_ms)
        note = failing_since_ms != endpoint.failing_since_ms or (failing_since_ms is None and lane.failed)
        consumer = self._consumers.get(work.event.type)

        def write(tx: Transaction) -> bool:
            kept = delivery_store.record(tx, work, outcome, owner=self._owner, state=verdict.state, next_ms=next_ms, error=verdict.error)
            if note:
                endpoint_store.failing_since(tx, endpoint.id, failing_since_ms)
            if disable and endpoint_store.disable(tx, endpoint.id, disable):
                self._operations.endpoint_disabled(tx, endpoint, disable)
            if kept and verdict.state is not DeliveryState.PENDING:
                if verdict.state is DeliveryState.DEAD:
                    self._operations.delivery_dead(tx, work, verdict.error, outcome.status)
                if consumer is not None:
                    body = outcome.body
                    consumer.settled(
                        tx, Settled(work.event, work.delivery, endpoint.id, verdict.state, outcome.status, body, verdict.error)
                    )
            return kept

        kept = await self._transactions.write(write)
        endpoint.failing_since_ms = failing_since_ms
        lane.failed = failing_since_ms is not None
        if disable:
            endpoint.enabled = False
            endpoint.disabled_reason = disable
            self._counters.disabled += 1
        now = self._clock.monotonic()
        if verdict.silent:
            lane.silent(now)
        else:
            lane.answered()
        if verdict.pause_s:
            lane.close(now + verdict.pause_s)
        if not kept:
            self._counters.lost += 1
        elif verdict.state is DeliveryState.DELIVERED:
            self._counters.delivered += 1
        elif verdict.state is DeliveryState.DEAD:
            self._counters.dead += 1
        else:
            self._counters.retried += 1
            lane.look_at(now + verdict.wait_s)

    def _health(self, endpoint: Endpoint, verdict: Verdict, now_ms: int) -> tuple[int | None, str]:
        """Since when the endpoint does nothing but fail, and why it has to be disabled, if it has."""
        if verdict.state is DeliveryState.DELIVERED:
            return None, ""
        since_ms = endpoint.failing_since_ms if endpoint.failing_since_ms is not None else now_ms
        hours = (now_ms - since_ms) / 3_600_000
        if verdict.disable:
            return since_ms, verdict.disable
        if hours >= self._settings.disable_after_h:
            return since_ms, f"nothing but failures for {hours:.0f} hours; the last: {verdict.error}"
        return since_ms, ""

    def _count(self, outcome: Outcome) -> None:
        match outcome.fault:
            case Fault.TIMEOUT:
                self._counters.timeouts += 1
            case Fault.CONNECT:
                self._counters.unreachable += 1
            case Fault.FORBIDDEN:
                self._counters.forbidden += 1

    # -- lanes ------------------------------------------------------------------------------------------------------------

    def _lane(self, endpoint: str) -> Lane:
        lane = self._lanes.get(endpoint)
        if lane is None:
            known = self._book.get(endpoint)
            limit = (known.concurrency if known is not None else 0) or self._settings.concurrency
            lane = self._lanes[endpoint] = Lane(limit, self._settings.trip_after)
        return lane

    def _begin(self, lane: Lane, key: str) -> None:
        lane.begin(key)
        self._under_way += 1

    def _end(self, lane: Lane, key: str) -> None:
        lane.end(key)
        self._under_way -= 1
        now = self._clock.monotonic()
        if lane.blocked:
            lane.look_at(now)  # what waited for this key may go now
        if (lane.due is not None and lane.due <= now) or self._under_way + 1 >= self._settings.in_flight:
            self._wake.set()  # a place is free

    def _timeout_s(self, endpoint: Endpoint) -> float:
        return endpoint.policy.timeout_ms / 1000 or self._settings.timeout_s
