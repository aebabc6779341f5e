"""Processes events after validation: orders them for each tenant, drops repeats, and passes events to consumers when they are on disk.

One batch of a tenant is processed at a time. It is sorted by time, repeats are dropped, and each consumer checks the events. The accepted
events are appended to the event log and passed to the consumers in the order of the log. So the consumers get exactly the sequence of the
log, and reading the log again restores their state. Calls that come meanwhile form the next batch together, with one write.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from channels.events import (
    ACCEPTED,
    DUPLICATE,
    EVENT_STREAM,
    Event,
    EventConsumer,
    EventSinkError,
    LateEventError,
    RefusedEventError,
    decode_identity,
    encode_event,
)
from channels.ingest.counters import Counters
from channels.ingest.deduplication import Deduplicator, key_of
from hub.cluster.ownership import Ownership
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLog, FencedError
from hub.storage.lease import Fence

_log = structlog.get_logger(__name__)

_TAIL_FIRST_STEP = 1_000
_TAIL_GROWTH = 4
_CONSUME_AT_ONCE = 64
_BATCH = 2_000
"""Events of the calls that share a batch, at most; a call with more events is a batch alone."""


class NotOwnerError(EventSinkError):
    """Another process owns the tenant. Nothing was taken."""


class _Call(NamedTuple):
    """Events that wait for their batch, whether they may be of any age, and the future of their outcomes."""

    events: Sequence[Event]
    past: bool
    answer: asyncio.Future[list[str]]


class _Tenant:
    __slots__ = ("calls", "deduplicator", "fence", "last_ms", "offset_ms", "recovered", "worked_on")

    def __init__(self, deduplicator: Deduplicator, fence: Fence | None = None) -> None:
        self.fence = fence
        """The fence under which this process owns the tenant; None if writes need none."""
        self.calls: deque[_Call] = deque()
        """The calls that wait for a batch."""
        self.worked_on = False
        self.deduplicator = deduplicator
        self.recovered = False
        self.last_ms = 0
        """The last time of arrival: the wall clock plus the offset."""
        self.offset_ms = 0
        """Milliseconds by which the wall clock was set back since the start, in large steps. They are added to it, since times of arrival
        must not go back.
        """


class Sequencer:
    """The :class:`channels.events.EventSink`."""

    __slots__ = (
        "_clock",
        "_consumers",
        "_eventlog",
        "_find_consumers",
        "_leased",
        "_loop",
        "_ownership",
        "_tenants",
        "_under_way",
        "_window_ms",
        "counters",
        "repeats_max",
    )

    def __init__(
        self,
        *,
        eventlog: EventLog,
        clock: Clock,
        loop: Loop,
        find_consumers: Callable[[], Sequence[EventConsumer]],
        repeats_s: int,
        repeats_max: int,
        ownership: Ownership | None = None,
        leased: bool = False,
    ) -> None:
        """``ownership`` is told when the log refuses events. If this process owns ``leased`` tenants alone, it takes events from
        :meth:`open_tenant` to :meth:`close_tenant`; else of every tenant.
        """
        self._ownership = ownership
        self._leased = leased
        self.counters = Counters()
        self.repeats_max = repeats_max
        self._eventlog = eventlog
        self._clock = clock
        self._loop = loop
        self._find_consumers = find_consumers
        self._consumers: Sequence[EventConsumer] = ()
        self._window_ms = repeats_s * 1000
        self._tenants: dict[str, _Tenant] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the consumers. All families exist at this time."""
        self._consumers = tuple(self._find_consumers())

    async def stop(self) -> None:
        """Wait until the events of all calls are on disk and the consumers have them."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    # -- TenantWorker -----------------------------------------------------------------------------------------------

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.open_tenant`. What the last owner took is found in the log."""
        self._tenants[tenant] = _Tenant(Deduplicator(window_ms=self._window_ms, at_most=self.repeats_max), fence)

    async def close_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.close_tenant`. Calls that are under way are finished, others refused."""
        state = self._tenants.pop(tenant, None)
        while state is not None and state.worked_on:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. Calls wait for the next owner."""
        return True

    def drop_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.drop_tenant`. What is under way is refused by the fence."""
        self._tenants.pop(tenant, None)

    # -- EventSink --------------------------------------------------------------------------------------------------

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        """Take events: see :class:`channels.events.EventSink`.

        If the caller is cancelled, its events are processed nevertheless: the consumers must get every event that is in the log.

        Raises:
            EventSinkError: the log could not be read or written; no event was accepted, and none counts as a repeat later.
        """
        state = self._tenants.get(tenant)
        if state is None and self._leased:
            raise NotOwnerError(f"this node does not own the tenant {tenant}")
        if state is None:
            state = self._tenants[tenant] = _Tenant(Deduplicator(window_ms=self._window_ms, at_most=self.repeats_max))
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        state.calls.append(_Call(events, past, answer))
        if not state.worked_on:
            state.worked_on = True
            task = asyncio.create_task(self._work(tenant, state))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return await answer

    async def _work(self, name: str, tenant: _Tenant) -> None:
        """Process batch after batch, until no call waits."""
        try:
            while tenant.calls:
                calls = [tenant.calls.popleft()]
                size = len(calls[0].events)
                past = calls[0].past
                while tenant.calls and tenant.calls[0].past == past and size + len(tenant.calls[0].events) <= _BATCH:
                    calls.append(tenant.calls.popleft())
                    size += len(calls[-1].events)
                try:
                    outcomes = await self._accept(name, tenant, [event for call in calls for event in call.events], past)
                except Exception as error:
                    for call in calls:
                        if not call.answer.done():  # else its caller was cancelled
                            call.answer.set_exception(error)
                    continue
                at = 0
                for call in calls:
                    if not call.answer.done():
                        call.answer.set_result(outcomes[at : at + len(call.events)])
                    at += len(call.events)
        finally:
            tenant.worked_on = False

    async def _accept(self, name: str, tenant: _Tenant, events: Sequence[Event], past: bool) -> list[str]:
        if not tenant.recovered:
            await self._recover(name, tenant)
        # the wall clock may be set back; times of arrival must not go back
        wall_ms = self._clock.wall_ms()
        if tenant.last_ms - wall_ms - tenant.offset_ms > self._window_ms:
            # the clock was set back by more than the window: without an offset no key would be forgotten until the clock is there again
            tenant.offset_ms = tenant.last_ms - wall_ms
        now_ms = tenant.last_ms = max(tenant.last_ms, wall_ms + tenant.offset_ms)
        self.counters.forgotten_early += tenant.deduplicator.forget(now_ms)
        time_slice = TimeSlice(self._clock, self._loop)
        outcomes, taken, records = await self._select(name, tenant, events, now_ms, time_slice, past=past)
        if taken:
            last = await self._append(name, tenant, records)
            for key, _ in taken:
                tenant.deduplicator.remember(key, now_ms)
            self.counters.accepted += len(taken)
            first = last - len(taken) + 1
            await self._hand_out(name, [(first + n, event) for n, (_, event) in enumerate(taken)], time_slice)
        return outcomes

    async def _select(
        self, name: str, tenant: _Tenant, events: Sequence[Event], now_ms: int, time_slice: TimeSlice, *, past: bool
    ) -> tuple[list[str], list[tuple[bytes, Event]], list[bytes]]:
        """Returns an outcome for each event; the accepted events with their keys, in the order of their time; and their log records."""
        outcomes = [ACCEPTED] * len(events)
        taken: list[tuple[bytes, Event]] = []
        records: list[bytes] = []
        new: set[bytes] = set()
        # the sort is stable: events of the same millisecond stay in their producer's order
        for index in sorted(range(len(events)), key=lambda i: events[i].time_ms):
            event = events[index]
            key = key_of(event.source, event.id)
            if key in new or tenant.deduplicator.seen(key, now_ms):
                self.counters.duplicates += 1
                outcomes[index] = DUPLICATE
                continue
            try:
                for consumer in self._consumers:
                    consumer.check(name, event, past=past)
            except RefusedEventError as error:
                if isinstance(error, LateEventError):
                    self.counters.refused_late += 1
                else:
                    self.counters.refused_limit += 1
                outcomes[index] = str(error)
                continue
            new.add(key)
            taken.append((key, event))
            records.append(encode_event(event, now_ms - tenant.offset_ms))
            if time_slice.used_up:
                await time_slice.checkpoint()
        return outcomes, taken, records

    async def _append(self, name: str, tenant: _Tenant, records: Sequence[bytes]) -> int:
        try:
            return await self._eventlog.append(name, EVENT_STREAM, records, tenant.fence)
        except FencedError as error:
            _log.warning("events_refused", tenant=name, events=len(records), error=str(error))
            if self._ownership is not None:
                self._ownership.deposed(name, tenant.fence)
            raise NotOwnerError(str(error)) from error
        except Exception as error:
            # after any fault (a full disk, a lost connection) the caller gets the same answer: not accepted, try again
            self.counters.log_failures += 1
            _log.exception("event log not written", tenant=name, events=len(records))
            raise EventSinkError(f"the event log could not be written: {error}") from error

    async def _hand_out(self, name: str, positioned: Sequence[tuple[int, Event]], time_slice: TimeSlice) -> None:
        for at in range(0, len(positioned), _CONSUME_AT_ONCE):
            some = positioned[at : at + _CONSUME_AT_ONCE]
            for consumer in self._consumers:
                try:
                    consumer.consume(name, some)
                except Exception:
                    # the events are in the log: they count as accepted, and the consumer reads them again after a restart
                    self.counters.consumer_faults += 1
                    _log.exception("event consumer failed", tenant=name, consumer=type(consumer).__name__, first=some[0][0])
            if time_slice.used_up:
                await time_slice.checkpoint()

    async def _recover(self, name: str, tenant: _Tenant) -> None:
        """After a restart, read the keys of the events that arrived within the window from the end of the log.

        Raises:
            EventSinkError: the log could not be read.
        """
        now_ms = self._clock.wall_ms()
        since_ms = now_ms - self._window_ms
        try:
            start = await self._tail_start(name, since_ms)
            deduplicator = Deduplicator(window_ms=self._window_ms, at_most=self.repeats_max)
            time_slice = TimeSlice(self._clock, self._loop)
            last_ms = 0
            async for chunk in self._eventlog.read(name, EVENT_STREAM, start):
                for _, record in chunk:
                    source, identifier, arrived_ms = decode_identity(record)
                    last_ms = max(last_ms, min(arrived_ms, now_ms))
                    if last_ms >= since_ms:
                        deduplicator.remember(key_of(source, identifier), last_ms)
                    if time_slice.used_up:
                        await time_slice.checkpoint()
        except Exception as error:
            self.counters.log_failures += 1
            _log.exception("event log not read", tenant=name)
            raise EventSinkError(f"the event log could not be read: {error}") from error
        tenant.deduplicator = deduplicator
        tenant.last_ms = last_ms
        tenant.recovered = True

    async def _tail_start(self, name: str, since_ms: int) -> int:
        """A position before the records that arrived since ``since_ms``. Searches backwards from the end, in growing steps."""
        last = await self._eventlog.last(name, EVENT_STREAM)
        step = _TAIL_FIRST_STEP
        while True:
            start = max(0, last - step)
            async for chunk in self._eventlog.read(name, EVENT_STREAM, start):
                position, record = chunk[0]
                # a gap after `start` means that older records were deleted: there are none before it
                if position > start + 1 or decode_identity(record)[2] < since_ms:
                    return start
                break
            if start == 0 or start == last:
                return start
            step *= _TAIL_GROWTH
