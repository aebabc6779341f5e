"""A tenant's state on disk: a snapshot, and the events of the log behind it (docs/architecture.md#statistics)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import structlog

from channels.events import EVENT_STREAM, Event, decode_event, encode_event
from channels.statistics.engine.engine import Engine
from channels.statistics.service.counters import Counters
from channels.statistics.service.tenant import Tenant
from channels.statistics.settings import StatisticsSettings
from hub.core.ports import Clock
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLog
from hub.storage.lease import Fence

OWNER = "statistics"
"""The name under which the event log keeps the snapshots."""

STATE_VERSION = 1

T = TypeVar("T")

CAPTURE_SWITCH_S = 0.0005
"""Seconds after which a thread that captures or restores a state lets the event loop have the interpreter. Python's default of 5 ms would
double the time of a flush.
"""

_log = structlog.get_logger(__name__)


class _State(msgspec.Struct, array_like=True):
    """What a snapshot holds: the engine as of a position, and the events up to there that still waited for their time."""

    version: int
    engine: bytes
    held: list[bytes]


_decoder: Final = msgspec.msgpack.Decoder(_State)  # made at the import: tenants are restored in several threads


class StateStore:
    """Reads and writes the states of all tenants."""

    __slots__ = ("_clock", "_counters", "_log", "_settings", "_switch_s", "_threads", "_zone")

    def __init__(self, eventlog: EventLog, settings: StatisticsSettings, zone: ZoneInfo, counters: Counters, clock: Clock) -> None:
        self._log = eventlog
        self._settings = settings
        self._zone = zone
        self._counters = counters
        self._clock = clock
        self._threads = 0
        self._switch_s = 0.0

    async def tenants(self) -> list[str]:
        """The tenants that have a log."""
        return await self._log.tenants(EVENT_STREAM)

    def empty(self) -> Tenant:
        """A new tenant, without events."""
        # time that only events move begins before every event
        now_ms = self._clock.wall_ms() if self._settings.clock == "wall" else 0
        return Tenant(self._engine(now_ms), self._settings, self._counters, self._clock)

    def _engine(self, now_ms: int) -> Engine:
        return Engine(zone=self._zone, now_ms=now_ms, lifetimes=self._settings.lifetimes(), bounds=self._settings.bounds())

    async def restore(self, name: str, time_slice: TimeSlice) -> tuple[Tenant, int]:
        """A tenant as its snapshot and log have it, and the position of the snapshot (0 without one).

        Events are taken in the order of their times, as they were when they came: the log holds them in the order of their arrival, and
        some waited for their time. Between them others get the loop by ``time_slice``.

        Raises:
            EventLogError: the log cannot be read.
        """
        tenant, snapshot_position = await self._load(name)
        await self.replay(name, tenant, time_slice)
        return tenant, snapshot_position

    async def replay(self, name: str, tenant: Tenant, time_slice: TimeSlice) -> None:
        """Take the events of the log behind the tenant's position.

        Raises:
            EventLogError: the log cannot be read.
        """
        reach_ms = int(self._settings.watermark_s * 1000)
        if self._settings.clock == "wall":
            reach_ms += self._settings.max_ahead_s * 1000
        async for chunk in self._log.read(name, EVENT_STREAM, tenant.position):
            for position, record in chunk:
                try:
                    event = decode_event(record)
                except (msgspec.DecodeError, ValueError) as error:
                    # perhaps it is of another version: the hub starts without it rather than not at all
                    _log.error("an event of the log cannot be read", tenant=name, position=position, error=str(error))
                    self._counters.events_skipped += 1
                    tenant.position = position
                    continue
                for _ in tenant.replay(position, event, reach_ms):
                    await time_slice.checkpoint()
                await time_slice.checkpoint()
        while tenant.step():
            await time_slice.checkpoint()
        tenant.catch_up()

    async def _load(self, name: str) -> tuple[Tenant, int]:
        saved = await self._log.load_snapshot(name, EVENT_STREAM, OWNER)
        if saved is None:
            return self.empty(), 0
        position, raw = saved
        try:
            # nothing else uses the engine yet, so a thread may build it
            engine, held, errors = await self._in_thread(lambda: _decode_state(raw, self._zone, self._settings))
        except (msgspec.DecodeError, ValueError) as error:
            _log.error("a snapshot cannot be read: totals are rebuilt from what the log still holds", tenant=name, error=str(error))
            return self.empty(), 0
        tenant = Tenant(engine, self._settings, self._counters, self._clock)
        tenant.position = position
        for event in held:
            tenant.hold(event)
        for unreadable in errors:
            _log.error("an event that waited for its time cannot be read", tenant=name, error=str(unreadable))
            self._counters.events_skipped += 1
        return tenant, position

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do long work in a thread. The event loop goes on meanwhile."""
        self._threads += 1
        if self._threads == 1:
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(CAPTURE_SWITCH_S)
        try:
            return await asyncio.to_thread(work)
        finally:
            self._threads -= 1
            if self._threads == 0:
                sys.setswitchinterval(self._switch_s)

    async def capture(self, tenant: Tenant) -> tuple[int, bytes]:
        """The position of the tenant and its state as bytes. A thread reads the engine; the tenant is frozen until it is done.

        The caller holds the tenant's lock, so that nobody reads or opens statistics meanwhile, and no event is applied in part.
        """
        tenant.freeze()
        try:
            position = tenant.position
            tenant.changes = 0
            state = await self._in_thread(lambda: _encode_state(tenant))
        finally:
            tenant.thaw()
        return position, state

    async def save(self, name: str, position: int, state: bytes, fence: Fence | None) -> None:
        """Save a captured state.

        Raises:
            FencedError: another process owns the tenant.
            EventLogError: it could not be written.
        """
        await self._log.save_snapshot(name, EVENT_STREAM, OWNER, position, state, fence)

    async def trim(self, name: str, up_to: int, fence: Fence | None) -> None:
        """Forget events up to and with a position.

        Raises:
            FencedError: another process owns the tenant.
            EventLogError: the log failed.
        """
        await self._log.trim(name, EVENT_STREAM, up_to, fence)


def _encode_state(tenant: Tenant) -> bytes:
    """The state of a tenant that is frozen."""
    held = [encode_event(event) for event in tenant.held()]
    return msgspec.msgpack.encode(_State(STATE_VERSION, tenant.engine.save(), held))


def _decode_state(raw: bytes, zone: ZoneInfo, settings: StatisticsSettings) -> tuple[Engine, list[Event], list[ValueError]]:
    """The engine of a snapshot, the events that waited for their time, and the errors of those that cannot be read.

    Raises:
        msgspec.DecodeError, ValueError: not a state of this version.
    """
    state = _decoder.decode(raw)
    if state.version != STATE_VERSION:
        raise ValueError(f"expected a state of version {STATE_VERSION}, got {state.version}")
    engine = Engine.restore(state.engine, zone=zone, lifetimes=settings.lifetimes(), bounds=settings.bounds())
    held: list[Event] = []
    errors: list[ValueError] = []
    for record in state.held:
        try:
            held.append(decode_event(record))
        except ValueError as error:
            errors.append(error)
    return engine, held, errors
