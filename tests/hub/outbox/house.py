"""An outbox that runs on a real database, with receivers that behave as a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast

from hub.outbox.models import DeliveryState, Endpoint, OutboxEvent, Settled
from hub.outbox.outcome import Failure, Outcome
from hub.outbox.service import Outbox
from hub.outbox.settings import OutboxSettings
from hub.outbox.timing import Timing
from hub.storage.transactions import Transaction, Transactions
from hub.transports.runtime import AsyncioLoop, SystemClock
from tests.hub.outbox.support import outcome

QUICK = OutboxSettings(
    retry_s=(0.05, 0.05, 0.05), jitter=0, timeout_s=5, shutdown_grace_s=0.2, throttle_s=0.05, trip_after=3, concurrency=4
)

SOON = Timing(look_s=0.05, blocked_s=0.05, poll_s=0.05, follow_s=0.05)

Answer = Callable[[OutboxEvent, int], Awaitable[Outcome]]


async def well(event: OutboxEvent, attempt: int) -> Outcome:
    return outcome(200)


def always(status: int, failure: Failure = Failure.NONE) -> Answer:
    async def answer(event: OutboxEvent, attempt: int) -> Outcome:
        return outcome(status, failure)

    return answer


class Receivers:
    """Stands for the sender: what each endpoint answers, and what it got."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.got: list[tuple[str, OutboxEvent, int]] = []
        self.under_way: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        self.got.append((endpoint.id, event, attempt))
        now = self.under_way[endpoint.id] = self.under_way.get(endpoint.id, 0) + 1
        self.most[endpoint.id] = max(now, self.most.get(endpoint.id, 0))
        try:
            return await self.answers.get(endpoint.id, well)(event, attempt)
        finally:
            self.under_way[endpoint.id] -= 1

    def of(self, endpoint: str) -> list[tuple[str, int]]:
        """What one endpoint got: (type of the event, attempt)."""
        return [(event.type, attempt) for identifier, event, attempt in self.got if identifier == endpoint]


class Family:
    """A family's consumer that notes how deliveries ended."""

    types = ("thing.started", "thing.finished")

    def __init__(self) -> None:
        self.ends: list[tuple[str, DeliveryState, int]] = []

    async def consume(self, event: OutboxEvent) -> None:
        """Nothing follows inside the hub."""

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        self.ends.append((delivery.event.type, delivery.state, delivery.status))
        transaction.run("UPDATE outbox_events SET media = 'settled' WHERE id = ?", (delivery.event.id,))


class Heard:
    """Stands for the hub: what administrators hear."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Any]] = []

    @property
    def publisher(self) -> Self:
        """It is a publisher too."""
        return self

    async def emit(self, tenant: str, channel: str, data: bytes, **more: Any) -> None:
        self.events.append((tenant, channel, json.loads(data)))


class House:
    """An outbox that runs."""

    def __init__(
        self,
        transactions: Transactions,
        settings: OutboxSettings = QUICK,
        receivers: Receivers | None = None,
        timing: Timing = SOON,
    ) -> None:
        self.transactions = transactions
        self.receivers = receivers or Receivers()
        self.family = Family()
        self.heard = Heard()
        self.outbox = Outbox(
            transactions=transactions,
            hub=cast("Any", self.heard),
            clock=SystemClock(),
            loop=AsyncioLoop(),
            settings=settings,
            sender=self.receivers,
            consumers=lambda: [self.family],
            alone=True,
            timing=timing,
        )
        self.counters = self.outbox.counters

    async def save(self, *endpoints: Endpoint) -> None:
        for each in endpoints:
            await self.transactions.write(lambda tx, each=each: self.outbox.save_endpoint(tx, each))  # type: ignore[misc]

    async def record(self, key: str = "k", type: str = "thing.started", **more: Any) -> OutboxEvent:
        given = {"tenant": "acme", "body": b"{}", **more}
        return await self.transactions.write(lambda tx: self.outbox.add(tx, type=type, key=key, **given))

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not done():
                await asyncio.sleep(0.005)

    async def states(self) -> dict[str, int]:
        rows = await self.transactions.read(lambda tx: tx.rows("SELECT state, count(*) FROM deliveries GROUP BY state"))
        return dict(rows)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[House]:
        await self.outbox.start()
        try:
            yield self
        finally:
            await self.outbox.stop()
