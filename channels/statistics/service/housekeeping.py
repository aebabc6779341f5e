"""Periodical work of a stat server: idle logins are ended, states are saved, the log is trimmed, objects are forgotten."""

from __future__ import annotations

import structlog

from channels.statistics.service.counters import Counters
from channels.statistics.service.store import StateStore
from channels.statistics.service.tenant import Tenant
from channels.statistics.service.tenant_entry import TenantEntry
from channels.statistics.settings import StatisticsSettings
from hub.cluster.ownership import Ownership
from hub.core.hub import Hub
from hub.core.ports import Clock, Logins
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import FencedError

_FORGET_EVERY_S = 3600
"""Seconds between two looks for objects that are to be forgotten; the settings' lifetimes are days."""

_log = structlog.get_logger(__name__)


async def catch_up(tenant: Tenant, time_slice: TimeSlice) -> None:
    """Do all that waits in a tenant, in slices, and bring its engine to the present. The caller holds the tenant's lock, so that the engine
    is not frozen.
    """
    while tenant.step():
        await time_slice.checkpoint()
    tenant.catch_up()


class Housekeeper:
    """The periodical work for all tenants of one stat server."""

    __slots__ = ("_clock", "_counters", "_entries", "_hub", "_logins", "_ownership", "_settings", "_store")

    def __init__(
        self,
        *,
        hub: Hub,
        store: StateStore,
        settings: StatisticsSettings,
        counters: Counters,
        clock: Clock,
        entries: dict[str, TenantEntry],
        logins: Logins,
        ownership: Ownership | None,
    ) -> None:
        """``logins`` are those that have a session, on any node. ``ownership`` is told when a snapshot is refused."""
        self._logins = logins
        self._ownership = ownership
        self._hub = hub
        self._store = store
        self._settings = settings
        self._counters = counters
        self._clock = clock
        self._entries = entries

    async def run(self) -> None:
        """End the subscriptions of idle logins, save the snapshots that are due, and trim the log behind them. A failure for one tenant is
        logged and counted, and keeps nothing from the others.
        """
        for name, entry in list(self._entries.items()):
            try:
                await self._run_for(name, entry)
            except Exception:
                self._counters.housekeeping_failures += 1
                _log.exception("housekeeping failed", tenant=name)

    async def _run_for(self, name: str, entry: TenantEntry) -> None:
        now = round(self._clock.monotonic() * 1000)
        tenant = entry.tenant
        if tenant is None:
            return
        time_slice = TimeSlice(self._clock, self._hub.loop)
        for login in list(tenant.subscriptions.logins):
            if tenant.subscriptions.is_idle(login, now) and not self._logins.has(name, login):
                tenant.close_login(login)
            await time_slice.checkpoint()
        await self._forget(name, entry)
        many = tenant.changes >= self._settings.snapshot_events and not entry.failing
        if many or (tenant.changes and now - entry.saved_ms >= self._settings.snapshot_s * 1000):
            await self.save(name, entry)

    async def _forget(self, name: str, entry: TenantEntry) -> None:
        """Log out agents whose logout was lost, and forget objects that no event named for long. It is done a few times within these
        lifetimes.
        """
        every_s = min(_FORGET_EVERY_S, self._settings.forget_after_s / 4, self._settings.agent_idle_s / 4)
        if round(self._clock.monotonic() * 1000) < entry.forgot_ms + every_s * 1000:
            return
        entry.forgot_ms = round(self._clock.monotonic() * 1000)
        ended = forgotten = 0
        async with entry.lock:
            if entry.tenant is None:
                return
            time_slice = TimeSlice(self._clock, self._hub.loop)
            await catch_up(entry.tenant, time_slice)
            for some in entry.tenant.engine.end_lost_logins():
                ended += some
                await time_slice.checkpoint()
            for some in entry.tenant.engine.forget_unheard():
                forgotten += some
                await time_slice.checkpoint()
            entry.tenant.changes += ended + forgotten > 0
        self._counters.logins_ended += ended
        self._counters.objects_forgotten += forgotten
        if ended:
            _log.warning("agents were taken for logged out", tenant=name, agents=ended, unheard_for_s=self._settings.agent_idle_s)
        if forgotten:
            _log.info("objects were forgotten", tenant=name, objects=forgotten, unheard_for_s=self._settings.forget_after_s)

    async def save(self, name: str, entry: TenantEntry) -> None:
        """Save the state of one tenant. A failure of any kind is logged and counted; the next try is after ``snapshot_s``."""
        entry.saved_ms = round(self._clock.monotonic() * 1000)
        changes = 0
        try:
            async with entry.lock:
                if entry.tenant is None:
                    return
                while entry.tenant.halfway:
                    entry.tenant.step()
                    await self._hub.loop.breathe()
                changes = entry.tenant.changes
                position, state = await self._store.capture(entry.tenant)
                await catch_up(entry.tenant, TimeSlice(self._clock, self._hub.loop))
            await self._store.save(name, position, state, entry.fence)
            entry.snapshot_position = position
            entry.snapshot_ms = self._clock.wall_ms()
            self._counters.snapshots += 1
            await self._trim(name, entry)
            entry.failing = False
        except FencedError as error:
            self._counters.snapshot_failures += 1
            _log.warning("snapshot_refused", tenant=name, error=str(error))
            if self._ownership is not None:
                self._ownership.deposed(name, entry.fence)
        except Exception:
            # the disk failed, or the state cannot be encoded: this tenant goes on, and the others must be saved
            self._counters.snapshot_failures += 1
            entry.failing = True
            if entry.tenant is not None:
                entry.tenant.changes += changes
            _log.exception("a snapshot could not be saved", tenant=name)

    async def _trim(self, name: str, entry: TenantEntry) -> None:
        """Trim the events that the snapshot holds and that are older than ``retain_s``, for which repeats are looked for in the log."""
        old = round(self._clock.monotonic() * 1000) - self._settings.retain_s * 1000
        while entry.arrivals and entry.arrivals[0][0] <= old:
            entry.cut = entry.arrivals.popleft()[1]
        if up_to := min(entry.cut, entry.snapshot_position):
            await self._store.trim(name, up_to, entry.fence)
