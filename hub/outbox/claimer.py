"""Claims deliveries that wait in the database, for endpoints whose queues have room. Tenants take turns, and so do the endpoints of one."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from heapq import nsmallest
from operator import itemgetter
from typing import Final

from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice
from hub.outbox import delivery_store
from hub.outbox.delivery_store import Claim
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.endpoint_queue import EndpointQueue
from hub.outbox.shares import Pool
from hub.outbox.timing import Timing
from hub.storage.transactions import Transaction, Transactions

QUEUES_AT_ONCE: Final = 64
"""Endpoints whose deliveries one transaction claims."""

ROUND: Final = 1024
"""Endpoints that one walk over all of them finds for the next transactions. One that needs deliveries later waits for the next walk."""

WALK: Final = 64
"""Endpoints that are checked between two checkpoints of the time slice."""


def in_turn(ready: Mapping[str, list[tuple[int, str, EndpointQueue]]], limit: int) -> list[tuple[str, str, EndpointQueue]]:
    """At most ``limit`` queues, tenants in turn: one queue of each tenant, then another of each. Of a tenant's queues, the one that waited
    longest comes first.
    """
    ranked = [
        (rank, turn, tenant, identifier, queue)
        for tenant, queues in ready.items()
        for rank, (turn, identifier, queue) in enumerate(nsmallest(limit, queues, key=itemgetter(0)))
    ]
    return [(tenant, identifier, queue) for _, _, tenant, identifier, queue in nsmallest(limit, ranked, key=itemgetter(0, 1))]


class Claimer:
    """Claims deliveries for one process, and adds them to the queues."""

    __slots__ = (
        "_cache",
        "_clock",
        "_held",
        "_lease_until_ms",
        "_loop",
        "_order_ms",
        "_owner",
        "_ready_of",
        "_round",
        "_timing",
        "_transactions",
        "_turns",
    )

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        cache: EndpointCache,
        clock: Clock,
        loop: Loop,
        held: Pool,
        order_s: float,
        timing: Timing,
        lease_until_ms: Callable[[str], int],
    ) -> None:
        """``held`` counts the deliveries in memory. A delivery waits at most ``order_s`` seconds for an older one of the same key.
        ``lease_until_ms`` returns the end of a lease that begins now, in ms, for a delivery of an endpoint.
        """
        self._owner = owner
        self._transactions = transactions
        self._cache = cache
        self._clock = clock
        self._loop = loop
        self._held = held
        self._order_ms = round(order_s * 1000)
        self._timing = timing
        self._lease_until_ms = lease_until_ms
        self._turns = itertools.count(1)
        self._round: deque[tuple[str, str, EndpointQueue]] = deque()
        """Tenant, id and queue of the endpoints that the last walk found, and whose turn has not come yet."""
        self._ready_of: dict[str, int] = {}
        """How many endpoints of each tenant the last walk found."""

    async def claim(self, queues: Mapping[str, EndpointQueue], begin: Callable[[str, EndpointQueue], object]) -> float:
        """Claim deliveries that may begin soon. Then call ``begin`` with the id and the queue of each endpoint for which it searched the
        database. Returns the seconds until the next call: 0 if it searched for any endpoint.

        Raises:
            StorageError: the database cannot be written; the next call searches for these endpoints again.
        """
        wanted = self._reserve(queues)
        if not wanted:
            next_at = await self._walk(queues)
            wanted = self._reserve(queues)
            if not wanted:
                return max(0.0, next_at - self._clock.monotonic())
        claims = await self._ask(wanted)
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
                queue.look_at(now + (self._timing.blocked_s if queue.blocked else max(due_in, 0.0)))
            for work in claim.work:
                queue.add(work)
            begin(identifier, queue)
        return 0.0

    async def _walk(self, queues: Mapping[str, EndpointQueue]) -> float:
        """Find the queues that need deliveries from the database, and put up to :data:`ROUND` of them in the order of their turns. Returns
        the time when the next queue is due.
        """
        time_slice = TimeSlice(self._clock, self._loop)
        now = self._clock.monotonic()
        next_at = now + self._timing.look_s
        ready: dict[str, list[tuple[int, str, EndpointQueue]]] = {}
        for number, (identifier, queue) in enumerate(list(queues.items()), 1):
            if not number % WALK:
                await time_slice.checkpoint()
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
        with_room = {tenant: queues for tenant, queues in ready.items() if self._held.of(tenant).room > 0}
        self._ready_of = {tenant: len(found) for tenant, found in with_room.items()}
        self._round = deque(in_turn(with_room, ROUND))
        return next_at

    def _reserve(self, queues: Mapping[str, EndpointQueue]) -> list[tuple[str, EndpointQueue, int]]:
        """The next :data:`QUEUES_AT_ONCE` of what the last walk found, as far as they still need deliveries. Reserves places for these in
        memory, and returns their number with each queue.
        """
        now = self._clock.monotonic()
        wanted: list[tuple[str, EndpointQueue, int]] = []
        while self._round and len(wanted) < QUEUES_AT_ONCE:
            tenant, identifier, queue = self._round.popleft()
            # since the walk it may have been removed or disabled, or have got what it needs
            endpoint = self._cache.get(identifier)
            if endpoint is None or not endpoint.enabled or queues.get(identifier) is not queue:
                continue
            if queue.due is None or queue.due > now or not queue.wants_more(now):
                continue
            room = self._held.of(tenant).room
            # divide the tenant's room among its endpoints, instead of giving it all to the first
            limit = min(queue.space(now), room, max(queue.limit, room // self._ready_of[tenant]))
            if limit <= 0:
                continue
            queue.held += limit
            queue.turn = next(self._turns)
            queue.due = None
            queue.looking = True
            wanted.append((identifier, queue, limit))
        return wanted

    async def _ask(self, wanted: list[tuple[str, EndpointQueue, int]]) -> list[Claim]:
        now_ms = self._clock.wall_ms()
        asked = [(identifier, self._lease_until_ms(identifier), limit) for identifier, _, limit in wanted]

        def write(tx: Transaction) -> list[Claim]:
            return [
                delivery_store.claim(
                    tx, identifier, owner=self._owner, now_ms=now_ms, lease_until_ms=until_ms, order_ms=self._order_ms, limit=limit
                )
                for identifier, until_ms, limit in asked
            ]

        try:
            return await self._transactions.write(write)
        except BaseException:
            for _, queue, limit in wanted:
                queue.looking = False
                queue.held -= limit
                queue.look_at(self._clock.monotonic() + self._timing.look_s)
            raise
