"""The outbox as a service of a running hub: starts and stops its parts, reads changed endpoints, and deletes old rows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Unpack

import structlog

from hub.background import BackgroundTask
from hub.core.hub import Hub
from hub.core.ports import Clock, Loop
from hub.core.session_ids import new_incarnation
from hub.core.time_slice import TimeSlice
from hub.outbox import delivery_store, endpoint_store
from hub.outbox.counters import Counters
from hub.outbox.delivery_worker import DeliveryWorker, Sends
from hub.outbox.dispatcher import Dispatcher
from hub.outbox.endpoint_cache import EndpointCache
from hub.outbox.models import Consumer, Endpoint, NewEvent, OutboxEvent
from hub.outbox.operations import Operations
from hub.outbox.recorder import EventRecorder
from hub.outbox.settings import OutboxSettings
from hub.outbox.sign import ROTATE, unfit_secrets
from hub.outbox.timing import DEFAULT, Timing
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

TRIM_PIECE: Final = 500
"""Rows that one transaction deletes at most. Other transactions run between two of them."""

LISTED: Final = 10
"""Endpoints that one line of the log names."""


class Outbox:
    """The :class:`hub.outbox.models.Recorder`, and the service that dispatches and delivers events, reads changed endpoints, and deletes
    old rows.
    """

    def __init__(
        self,
        *,
        transactions: Transactions,
        hub: Hub,
        clock: Clock,
        loop: Loop,
        settings: OutboxSettings,
        sender: Sends,
        consumers: Callable[[], Sequence[Consumer]],
        alone: bool,
        steady: Clock | None = None,
        owner: str | None = None,
        timing: Timing = DEFAULT,
    ) -> None:
        """``consumers`` returns those of the families and is called at the start. ``alone``: no other process uses the database.
        ``steady`` tells what is old; by default ``clock`` does. ``owner`` is the name of this process in the leases of deliveries, its
        incarnation; by default a new one.
        """
        self.counters = Counters()
        self.settings = settings
        self.cache = EndpointCache(transactions)
        self.transactions = transactions
        self.waiting = (0, 0)
        """The numbers of pending deliveries and of events that are not dispatched, at the last count."""
        self._clock = clock
        self._steady = clock if steady is None else steady
        self._loop = loop
        self._timing = timing
        self._alone = alone
        self._families = consumers
        self._by_type: dict[str, Consumer] = {}
        self._operations = Operations(hub)
        owner = owner or new_incarnation()
        lease_ms = round(settings.lease_s * 1000)
        self.worker = DeliveryWorker(
            owner=owner,
            transactions=transactions,
            cache=self.cache,
            sender=sender,
            clock=clock,
            loop=loop,
            counters=self.counters,
            settings=settings,
            operations=self._operations,
            consumers=self._consumers,
            timing=timing,
        )
        self.dispatcher = Dispatcher(
            owner=owner,
            transactions=transactions,
            cache=self.cache,
            worker=self.worker,
            clock=clock,
            counters=self.counters,
            consumers=self._consumers,
            lease_ms=lease_ms,
            max_waiting=settings.waiting,
            tenant_share=settings.tenant_share,
            timing=timing,
        )
        self._recorder = EventRecorder(owner, clock, hand_over=self.dispatcher.take, has_room=self.dispatcher.has_room, lease_ms=lease_ms)
        self._operations.bind(self)
        self._following = BackgroundTask("hub.outbox.follow")
        self._sweeping = BackgroundTask("hub.outbox.sweep")

    # -- Recorder ---------------------------------------------------------------------------------------------------------

    def add(self, transaction: Transaction, **event: Unpack[NewEvent]) -> OutboxEvent:
        """See :meth:`hub.outbox.models.Recorder.add`."""
        return self._recorder.add(transaction, **event)

    def rewrite(self, transaction: Transaction, tenant: str, event_type: str, key: str, change: Callable[[bytes], bytes | None]) -> int:
        """See :meth:`hub.outbox.models.Recorder.rewrite`."""
        return self._recorder.rewrite(transaction, tenant, event_type, key, change)

    def save_endpoint(self, transaction: Transaction, endpoint: Endpoint) -> None:
        """See :meth:`hub.outbox.models.Recorder.save_endpoint`."""
        copy = dataclasses.replace(endpoint)
        endpoint_store.save(transaction, copy)
        transaction.after_commit(lambda: self._changed(copy.id, copy))

    def remove_endpoint(self, transaction: Transaction, endpoint: str) -> None:
        """See :meth:`hub.outbox.models.Recorder.remove_endpoint`."""
        endpoint_store.remove(transaction, endpoint, self._clock.wall_ms())
        transaction.after_commit(lambda: self._changed(endpoint, None))

    def replayed(self, endpoint: str, deliveries: int) -> None:
        """Deliveries of an endpoint were set to pending again."""
        self.counters.replayed += deliveries
        self.worker.look(endpoint)

    def _changed(self, identifier: str, endpoint: Endpoint | None) -> None:
        self.cache.put(identifier, endpoint)
        self.worker.follow_one(identifier)

    # -- service ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over the events and deliveries that are in the database, and start.

        Raises:
            StorageError: the database cannot be read or written.
        """
        for consumer in (self._operations, *self._families()):
            for event_type in consumer.types:
                if event_type in self._by_type:
                    raise ValueError(f"two consumers for events of type {event_type}")
                self._by_type[event_type] = consumer
        if self._alone:
            await self.transactions.write(delivery_store.free_own)
        await self.cache.refresh(self._slice())
        if odd := [each for each in self.cache if unfit_secrets(each.secrets, self._clock.wall_ms())]:
            # they sign as before, so that a receiver that verifies them can continue
            _log.warning("secrets_not_standard", endpoints=[each.id for each in odd[:LISTED]], count=len(odd), advice=ROTATE)
        self.waiting = await self.transactions.read(delivery_store.waiting)
        await self.worker.start(self._slice())
        await self.dispatcher.start()
        self._following.start(self._follow())
        self._sweeping.start(self._sweep())

    async def stop(self) -> None:
        """Dispatch the events in memory, wait for requests under way, and stop."""
        await self._following.stop()
        await self._sweeping.stop()
        await self.dispatcher.stop()
        await self.worker.stop(self.settings.shutdown_grace_s)

    def _slice(self) -> TimeSlice:
        return TimeSlice(self._clock, self._loop)

    def _consumers(self) -> Mapping[str, Consumer]:
        return self._by_type

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._timing.follow_s)
            try:
                if await self.cache.refresh(self._slice()):
                    await self.worker.follow(self._slice())
            except StorageError:
                _log.exception("endpoints_not_read")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._timing.sweep_s)
            try:
                await self.worker.follow(self._slice())
                self.worker.forget_unused()
                self.waiting = await self.transactions.read(delivery_store.waiting)
                await self.trim()
            except StorageError:
                _log.exception("outbox_not_swept")

    async def trim(self) -> int:
        """Delete events and deliveries that ended before the times of the settings. Returns the number of deleted rows.

        Raises:
            StorageError: the database cannot be written.
        """
        now_ms = self._steady.wall_ms()
        delivered_before_ms = now_ms - round(self.settings.keep_delivered_h * 3_600_000)
        dead_before_ms = now_ms - round(self.settings.keep_dead_h * 3_600_000)
        total = 0
        while gone := await self.transactions.write(
            lambda tx: delivery_store.trim(tx, delivered_before_ms=delivered_before_ms, dead_before_ms=dead_before_ms, limit=TRIM_PIECE)
        ):
            total += gone
        self.counters.trimmed += total
        return total
