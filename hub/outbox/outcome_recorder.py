"""Records the outcome of each request, in one transaction with all changes that follow from it."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hub.core.metric import Histogram
from hub.core.ports import Clock
from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import DELIVERY_BOUNDS, Counters
from hub.outbox.delivery_store import Work
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.endpoint_queue import EndpointQueue
from hub.outbox.models import Consumer, DeliveryState, Endpoint, Settled
from hub.outbox.operations import Operations
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.schedule import Decision, decide
from hub.outbox.settings import OutboxSettings
from hub.storage.transactions import Transaction, Transactions


class OutcomeRecorder:
    """Records the outcomes of one process. Set :attr:`consumers` before the first outcome is recorded."""

    __slots__ = ("_cache", "_clock", "_counters", "_operations", "_owner", "_random", "_settings", "_transactions", "consumers", "latency")

    def __init__(
        self,
        *,
        owner: str,
        transactions: Transactions,
        cache: EndpointCache,
        clock: Clock,
        counters: Counters,
        settings: OutboxSettings,
        operations: Operations,
    ) -> None:
        self._owner = owner
        self._transactions = transactions
        self._cache = cache
        self._clock = clock
        self._counters = counters
        self._settings = settings
        self._operations = operations
        self._random = random.Random()  # noqa: S311  spreads retries, keeps no secret
        self.consumers: Mapping[str, Consumer] = {}
        """The consumers by event type."""
        self.latency = Histogram(DELIVERY_BOUNDS)
        """Seconds from the recording of an event to the answer with which an endpoint took its delivery."""

    async def record(self, endpoint: Endpoint, outcome: Outcome, queue: EndpointQueue, work: Work) -> bool:
        """Record the outcome of a request to an endpoint; returns whether the delivery is over: delivered or dead.

        Raises:
            StorageError: the database cannot be written.
            Exception: an exception of the event's consumer.
        """
        decision = decide(endpoint.policy, outcome, work.step, self._settings, self._random)
        self._count(outcome)
        # the endpoints may have been read again since the request began
        endpoint = self._cache.get(endpoint.id) or endpoint
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
        health_changed = failing_since_ms != endpoint.failing_since_ms or (failing_since_ms is None and queue.failed)
        consumer = self.consumers.get(work.event.type)

        def write(tx: Transaction) -> bool:
            kept = delivery_store.record(tx, work, outcome, owner=self._owner, state=decision.state, next_ms=next_ms, error=decision.error)
            if health_changed:
                endpoint_store.failing_since(tx, endpoint.id, failing_since_ms)
            if circuit_changed:
                endpoint_store.store_circuit(tx, endpoint.id, silent, closed_until_ms)
            if disable and endpoint_store.disable(tx, endpoint.id, disable):
                self._operations.endpoint_disabled(tx, endpoint, disable)
            if kept and decision.state is not DeliveryState.PENDING:
                if decision.state is DeliveryState.DEAD:
                    self._operations.delivery_dead(tx, work, decision.error, outcome.status)
                if consumer is not None:
                    settled = Settled(work.event, work.delivery, endpoint.id, decision.state, outcome.status, outcome.body, decision.error)
                    consumer.settled(tx, settled)
            return kept

        kept = await self._transactions.write(write)
        known = self._cache.get(endpoint.id)
        if known is not None:
            known.failing_since_ms = failing_since_ms
        queue.failed = failing_since_ms is not None
        if disable:
            self._cache.disable(endpoint.id, disable)
            self._counters.disabled += 1
        if not kept:
            self._counters.lost += 1
        elif decision.state is DeliveryState.DELIVERED:
            self._counters.delivered += 1
            self.latency.observe((now_ms - work.event.at_ms) / 1000)
        elif decision.state is DeliveryState.DEAD:
            self._counters.dead += 1
        else:
            self._counters.retried += 1
            queue.look_at(self._clock.monotonic() + decision.wait_s)
        return kept and decision.state is not DeliveryState.PENDING

    def _health(self, endpoint: Endpoint, decision: Decision, now_ms: int) -> tuple[int | None, str]:
        """Returns the time since which all attempts of the endpoint have failed, and the reason to disable it, empty if there is none."""
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
