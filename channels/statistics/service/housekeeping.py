"""What a stat server does now and then: silent logins end, states are saved and the log behind them trimmed, objects forgotten."""

from __future__ import annotations

import asyncio

import structlog

from channels.statistics.service.pace import Pace
from channels.statistics.service.slot import Slot
from channels.statistics.service.storage import Storage
from channels.statistics.service.tenant import Counters, Tenant
from channels.statistics.settings import StatisticsSettings
from hub.core.hub import Hub
from hub.core.ports import Clock

_FORGET_EVERY_S = 3600
"""Seconds between two looks for objects that are to be forgotten; the settings' lifetimes are days."""

_log = structlog.get_logger(__name__)


async def catch_up(tenant: Tenant, clock: Clock) -> None:
    """Do all that waits in a tenant, in slices, and bring its engine to the present. Only with the tenant's lock: then it is not frozen."""
    pace = Pace(clock)
    while tenant.step():
        await pace.breathe()
    tenant.catch_up()


class Housekeeper:
    """Looks after all tenants of one stat server."""

    __slots__ = ("_clock", "_counters", "_hub", "_settings", "_slots", "_storage")

    def __init__(
        self, *, hub: Hub, storage: Storage, settings: StatisticsSettings, counters: Counters, clock: Clock, slots: dict[str, Slot]
    ) -> None:
        self._hub = hub
        self._storage = storage
        self._settings = settings
        self._counters = counters
        self._clock = clock
        self._slots = slots

    async def keep(self) -> None:
        """End the subscriptions of logins that are gone silent, save snapshots that are due, trim the log behind them."""
        for name, slot in list(self._slots.items()):
            try:
                await self.keep_tenant(name, slot)
            except Exception:
                self._counters.housekeeping_failures += 1
                _log.exception("housekeeping failed", tenant=name)

    async def keep_tenant(self, name: str, slot: Slot) -> None:
        now = round(self._clock.monotonic() * 1000)
        tenant = slot.tenant
        if tenant is None:
            return
        pace = Pace(self._clock)
        for login in list(tenant.logins):
            if tenant.is_idle(login, now) and not self._hub.has_login(name, login):
                tenant.close_login(login)
            await pace.breathe()
        await self._forget(name, slot)
        many = tenant.changes >= self._settings.snapshot_events and not slot.failing
        if many or (tenant.changes and now - slot.saved_ms >= self._settings.snapshot_s * 1000):
            await self.save(name, slot)

    async def _forget(self, name: str, slot: Slot) -> None:
        """End logins that were lost, and forget the objects that nothing was heard of for long, a few times within their lifetime."""
        every_s = min(_FORGET_EVERY_S, self._settings.forget_after_s / 4, self._settings.agent_idle_s / 4)
        if round(self._clock.monotonic() * 1000) < slot.forgot_ms + every_s * 1000:
            return
        slot.forgot_ms = round(self._clock.monotonic() * 1000)
        ended = forgotten = 0
        async with slot.lock:
            if slot.tenant is None:
                return
            await catch_up(slot.tenant, self._clock)
            pace = Pace(self._clock)
            for some in slot.tenant.engine.end_lost_logins():
                ended += some
                await pace.breathe()
            for some in slot.tenant.engine.forget_unheard():
                forgotten += some
                await pace.breathe()
            slot.tenant.changes += ended + forgotten > 0
        self._counters.logins_ended += ended
        self._counters.objects_forgotten += forgotten
        if ended:
            _log.warning("agents were taken for logged out", tenant=name, agents=ended, unheard_for_s=self._settings.agent_idle_s)
        if forgotten:
            _log.info("objects were forgotten", tenant=name, objects=forgotten, unheard_for_s=self._settings.forget_after_s)

    async def save(self, name: str, slot: Slot) -> None:
        """Save one tenant's state; a failure of any kind is logged and counted, and tried again after ``snapshot_s``."""
        slot.saved_ms = round(self._clock.monotonic() * 1000)
        changes = 0
        try:
            async with slot.lock:
                if slot.tenant is None:
                    return
                while slot.tenant.halfway:
                    slot.tenant.step()
                    await asyncio.sleep(0)
                changes = slot.tenant.changes
                position, state = await self._storage.capture(slot.tenant)
                await catch_up(slot.tenant, self._clock)
            await self._storage.save(name, position, state)
            slot.snapshot_position = position
            slot.snapshot_ms = self._clock.wall_ms()
            self._counters.snapshots += 1
            await self._trim(name, slot)
            slot.failing = False
        except Exception:
            # the disk, or a state that has no form: the totals live on, and so must the saving of the other tenants
            self._counters.snapshot_failures += 1
            slot.failing = True
            if slot.tenant is not None:
                slot.tenant.changes += changes
            _log.exception("a snapshot could not be saved", tenant=name)

    async def _trim(self, name: str, slot: Slot) -> None:
        """Forget events behind the snapshot that are in the log for longer than repeats are looked for."""
        old = round(self._clock.monotonic() * 1000) - self._settings.retain_s * 1000
        while slot.arrivals and slot.arrivals[0][0] <= old:
            slot.cut = slot.arrivals.popleft()[1]
        if up_to := min(slot.cut, slot.snapshot_position):
            await self._storage.trim(name, up_to)
