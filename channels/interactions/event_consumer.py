"""Applies ingested events to interactions: events that start, move or finish one.

Ingest writes an event into its log before it acknowledges it. The consumer reads that log. The database holds the position up to which it
did. The position is moved in the transaction that changes the interactions, so that after a crash no event is lost or applied twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from channels.events import (
    EVENT_STREAM,
    Event,
    EventData,
    InteractionAbandoned,
    InteractionDialing,
    InteractionDistributed,
    InteractionEstablished,
    InteractionFinished,
    InteractionQueued,
    InteractionRinging,
    InteractionStarted,
    InteractionTransferred,
    decode_event,
)
from channels.interactions import store
from channels.interactions.service import INBOUND_NEW, InteractionService
from channels.interactions.state_machine import Action
from hub.background import unordered
from hub.eventlog.interface import EventLog, EventLogError
from hub.storage.lease import Fence
from hub.storage.transactions import StorageError, Transaction, Transactions

_log = structlog.get_logger(__name__)

SOURCE: Final = "hub:interactions"
"""``source`` of the events that this family hands to the stat server itself, which are not applied again."""

_MOVES: Final[dict[type[EventData], Action]] = {
    InteractionQueued: Action.QUEUE,
    InteractionDistributed: Action.PROCESS,
    InteractionRinging: Action.PROCESS,
    InteractionDialing: Action.PROCESS,
    InteractionEstablished: Action.PROCESS,
    InteractionTransferred: Action.PROCESS,
    InteractionAbandoned: Action.PROCESS,
}
"""Events that move an interaction that is not over. An abandoned interaction is over only after ``cx.interaction.finished``."""

Positioned = tuple[int, Event]


class EventLogConsumer:
    """An :class:`channels.events.EventConsumer`, and a service. It applies events in the order of the log, in transactions of many."""

    __slots__ = (
        "_batch_size",
        "_behind",
        "_eventlog",
        "_interactions",
        "_leased",
        "_max_waiting",
        "_retry_s",
        "_stopping",
        "_task",
        "_transactions",
        "_waiting",
        "_wake",
    )

    def __init__(
        self,
        interactions: InteractionService,
        transactions: Transactions,
        eventlog: EventLog,
        *,
        max_waiting: int = 20_000,
        batch_size: int = 500,
        retry_s: float = 1.0,
        leased: bool = False,
    ) -> None:
        """Of each tenant, up to ``max_waiting`` events wait in memory for the database; further ones are read from the log later.
        ``batch_size`` is the number of events in one transaction, ``retry_s`` the pause after the database or the log failed. If this
        process owns ``leased`` tenants alone, it applies the events of those.
        """
        self._leased = leased
        self._interactions = interactions
        self._transactions = transactions
        self._eventlog = eventlog
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._retry_s = retry_s
        self._waiting: dict[str, list[Positioned]] = {}
        self._behind: set[str] = set()
        """Tenants with events that are not in memory: their log has to be read."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    # -- EventConsumer --------------------------------------------------------------------------------------------------

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """Refuse no event."""

    def consume(self, tenant: str, events: Sequence[Positioned]) -> None:
        """See :class:`channels.events.EventConsumer`."""
        if tenant in self._behind:
            return
        mine = [positioned for positioned in events if self._concerns(tenant, positioned[1])]
        if not mine:
            return
        waiting = self._waiting.setdefault(tenant, [])
        waiting += mine
        if len(waiting) > self._max_waiting:
            del self._waiting[tenant]
            self._behind.add(tenant)
        self._wake.set()

    def _concerns(self, tenant: str, event: Event) -> bool:
        """Whether an event concerns an interaction of this family. Most are about agents, or about calls that had no start event."""
        data = event.data
        if isinstance(data, InteractionStarted | InteractionFinished):
            # later events of this interaction concern the family too, also before the database has it
            self._interactions.live.setdefault(tenant, set()).add(data.interaction_id)
            return event.source != SOURCE
        return type(data) in _MOVES and data.interaction_id in self._interactions.live.get(tenant, ())  # type: ignore[attr-defined]

    # -- service --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Apply the events that the log has beyond the position in the database, and start.

        Raises:
            StorageError: the database cannot be used.
            EventLogError: the log cannot be read.
        """
        for tenant, identifier in await self._transactions.read(store.live):
            self._interactions.live.setdefault(tenant, set()).add(identifier)
        if not self._leased:
            for tenant in await self._eventlog.tenants(EVENT_STREAM):
                await self._catch_up(tenant)
        self._task = unordered.watch(asyncio.get_running_loop().create_task(self._run(), name="interactions.event_consumer"))

    async def stop(self) -> None:
        """Apply the events that wait, and stop."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None

    # -- TenantWorker ---------------------------------------------------------------------------------------------------

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.open_tenant`. What the last owner did not apply is applied soon.

        Raises:
            StorageError: the database cannot be read.
        """
        live = await self._transactions.read(lambda tx: store.live(tx, tenant))
        self._interactions.live[tenant] = {identifier for _, identifier in live}
        self._behind.add(tenant)
        self._wake.set()

    async def close_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.close_tenant`. What waits is in the log: the next owner applies it."""

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. The next owner goes on from its position."""
        return True

    def drop_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.drop_tenant`."""
        self._waiting.pop(tenant, None)
        self._behind.discard(tenant)

    async def _run(self) -> None:
        while not (self._stopping and not self._waiting and not self._behind):
            if not self._waiting and not self._behind:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                for tenant in list(self._behind):
                    self._behind.discard(tenant)  # events from now on wait in memory: they follow those that are read here
                    try:
                        await self._catch_up(tenant)
                    except Exception:
                        self._behind.add(tenant)
                        raise
                for tenant in list(self._waiting):
                    if tenant in self._waiting:
                        await self._take_waiting(tenant)
            except (StorageError, EventLogError):
                _log.exception("events_not_followed")
                if self._stopping:
                    return  # the events are in the log: the next start applies them
                await asyncio.sleep(self._retry_s)

    async def _take_waiting(self, tenant: str) -> None:
        some = self._waiting[tenant][: self._batch_size]
        await self._take(tenant, some)
        waiting = self._waiting.get(tenant)
        if waiting is None:
            return  # too many came meanwhile: all are read from the log
        del waiting[: len(some)]  # others may have been appended meanwhile
        if not waiting:
            del self._waiting[tenant]

    async def _catch_up(self, tenant: str) -> None:
        """Read the log from the position in the database on."""
        after = await self._transactions.read(lambda tx: store.position(tx, tenant))
        async for chunk in self._eventlog.read(tenant, EVENT_STREAM, after):
            if after and (missed := chunk[0][0] - after - 1) > 0:  # positions rise by one: these were trimmed
                self._interactions.counters.events_missed += missed
                _log.error("events_missed", tenant=tenant, events=missed, hint="the log keeps events for statistics.retain_s")
            after = chunk[-1][0]
            events = [(position, decode_event(record)) for position, record in chunk]
            for at in range(0, len(events), self._batch_size):
                await self._take(tenant, events[at : at + self._batch_size])

    async def _take(self, tenant: str, events: Sequence[Positioned]) -> None:
        def write(tx: Transaction) -> None:
            if not store.is_tenant(tx, tenant):
                return  # the tenant was removed
            done = store.lock_position(tx, tenant)
            for position, event in events:
                if position > done:
                    self._apply(tx, tenant, event)
            store.advance(tx, tenant, max(done, events[-1][0]))

        await self._transactions.write(write)

    def _apply(self, transaction: Transaction, tenant: str, event: Event) -> None:
        data = event.data
        if isinstance(data, InteractionStarted | InteractionFinished):
            if event.source == SOURCE:
                return
            subtype = data.subtype or INBOUND_NEW
            if isinstance(data, InteractionStarted):
                self._interactions.started(
                    transaction,
                    tenant,
                    data.interaction_id,
                    data.media,
                    subtype,
                    event.time_ms,
                    external_id=data.external_id,
                    user_data=data.user_data or {},
                )
            else:
                self._interactions.finished(transaction, tenant, data.interaction_id, data.media, subtype, data.reason or "", event.time_ms)
        elif (action := _MOVES.get(type(data))) is not None:
            store.move(transaction, tenant, data.interaction_id, action)  # type: ignore[attr-defined]
