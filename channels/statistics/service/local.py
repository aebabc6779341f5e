"""The stat server of this process, with one engine for each tenant.

A tick, a snapshot and a large request take more than one slice of the event loop. They hold the lock of their tenant, so that only one of
them runs at a time. Between their slices events are taken, and subscriptions may end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import structlog

from channels.events import Event
from channels.statistics.engine.definition import parse_object_type
from channels.statistics.engine.pieces import sort_in_pieces
from channels.statistics.service.answers import open_statistics, peek_statistics, present_update, read_predefined
from channels.statistics.service.counters import Counters
from channels.statistics.service.encoding import Encoder
from channels.statistics.service.housekeeping import Housekeeper, catch_up
from channels.statistics.service.interface import (
    SERVICE,
    VALUES,
    LimitError,
    Login,
    Readings,
    Report,
    ServiceState,
    UnavailableError,
    UnknownSubscriptionError,
)
from channels.statistics.service.notify import SENT_TOGETHER, notify_due
from channels.statistics.service.outlet import Outlet
from channels.statistics.service.payloads import service_state_change
from channels.statistics.service.requests import new_id
from channels.statistics.service.store import StateStore
from channels.statistics.service.subscriptions import Subscription
from channels.statistics.service.tenant import Tenant
from channels.statistics.service.tenant_entry import TenantEntry
from channels.statistics.service.value_channels import parse_values_channel
from channels.statistics.settings import StatisticsSettings
from hub.background import unordered
from hub.cluster.ownership import Ownership
from hub.core.channels import matches
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.ports import Clock, Logins
from hub.core.time_slice import TimeSlice
from hub.eventlog.interface import EventLog
from hub.storage.lease import Fence

_OBJECTS_AT_ONCE = 256

_log = structlog.get_logger(__name__)


class LocalStatServer:
    """:class:`channels.statistics.service.interface.StatServer` and :class:`channels.events.EventConsumer` of a single process."""

    def __init__(
        self,
        *,
        hub: Hub,
        eventlog: EventLog,
        clock: Clock,
        settings: StatisticsSettings,
        housekeeping_s: float = 1.0,
        sent_together: int = SENT_TOGETHER,
        logins: Logins | None = None,
        ownership: Ownership | None = None,
        leased: bool = False,
    ) -> None:
        """``housekeeping_s`` are the seconds between two looks at idle logins and due snapshots; ``sent_together`` is how many logins are
        sent a notification in one piece. ``logins`` are those that have a session; by default those of this process. If this process owns
        ``leased`` tenants alone, a tenant is there from :meth:`open_tenant` to :meth:`drop_tenant`; else every tenant is, at its first use.
        """
        self._hub = hub
        self._clock = clock
        self._settings = settings
        self._housekeeping_s = housekeeping_s
        self._sent_together = sent_together
        self.counters = Counters()
        self._logins: Logins = hub.logins if logins is None else logins  # one without logins is false
        self._ownership = ownership
        self._leased = leased
        self._outlet = Outlet(hub.publisher, ownership, self.counters)
        self.on_state: list[Callable[[str, ServiceState], object]] = []
        """Called with a tenant when its service state changes, instead of publishing it, if there are any."""
        self._store = StateStore(eventlog, settings, settings.time_zone(), self.counters, clock)
        self._entries: dict[str, TenantEntry] = {}
        self._housekeeper = Housekeeper(
            hub=hub,
            store=self._store,
            settings=settings,
            counters=self.counters,
            clock=clock,
            entries=self._entries,
            logins=self._logins,
            ownership=ownership,
        )
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._logins.on_gone.append(self._login_gone)

    # -- start and stop -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Restore every tenant that has a log, unless tenants are leased; then start to send notifications.

        Raises:
            EventLogError: the log cannot be read.
        """
        if not self._leased:
            await self.restore()
        elif self._ownership is not None:
            for tenant in await self._store.tenants():  # they have an owner also if nobody asks for them
                self._ownership.want(tenant)
        self._stopping.clear()
        works = {"statistics.notify": self._notify_forever(), "statistics.housekeeping": self._run_housekeeping_forever()}
        self._tasks = [unordered.watch(asyncio.create_task(work, name=name)) for name, work in works.items()]

    async def stop(self) -> None:
        """Stop sending notifications, and save every tenant that changed since its last snapshot, also if a task failed."""
        self._stopping.set()
        self._wake.set()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if outcome is not None:
                _log.error("a task of the stat server had ended before its time", exc_info=outcome)
        self._tasks = []
        for name, entry in list(self._entries.items()):
            if entry.tenant is not None and entry.tenant.changes:
                await self._housekeeper.save(name, entry)

    # -- owning (TenantWorker) --------------------------------------------------------------------------------------

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.open_tenant`.

        Raises:
            EventLogError: the log cannot be read.
        """
        self._entries[tenant] = TenantEntry(None, self._now_ms(), fence)
        await self.start_service(tenant)

    async def close_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.close_tenant`."""
        entry = self._entries.get(tenant)
        if entry is not None and entry.tenant is not None and entry.tenant.changes:
            await self._housekeeper.save(tenant, entry)

    def is_idle(self, tenant: str) -> bool:
        """See :meth:`hub.cluster.ownership.TenantWorker.is_idle`. Subscriptions end with a change of the owner."""
        return (
            (entry := self._entries.get(tenant)) is None or entry.tenant is None or not (entry.watched or len(entry.tenant.subscriptions))
        )

    def drop_tenant(self, tenant: str) -> None:
        """See :meth:`hub.cluster.ownership.TenantWorker.drop_tenant`."""
        entry = self._entries.pop(tenant, None)
        if entry is None or entry.tenant is None:
            return
        self.counters.subscriptions_closed += len(entry.tenant.subscriptions)
        entry.tenant = None
        for call in self.on_state:
            call(tenant, ServiceState.UNAVAILABLE)

    async def restore(self) -> None:
        """Make every tenant available that has a log.

        Raises:
            EventLogError: the log cannot be read.
        """
        for name in await self._store.tenants():
            self._entries.setdefault(name, TenantEntry(None, self._now_ms()))
            await self.start_service(name)

    async def failing(self) -> str | None:
        """For ``/readyz``: what is wrong, or None if all is well."""
        if not self._tasks:
            return "the stat server has not been started"
        if any(task.done() for task in self._tasks):
            return "the stat server no longer notifies; the log says why"
        return None

    async def _notify_forever(self) -> None:
        pause = self._settings.tick_ms / 1000
        while not self._stopping.is_set():
            # the first change after a quiet time is sent at once; those that follow it within a tick are sent together
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # not wait_for: in Python 3.11 it may lose a cancellation
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.tick()
            except Exception:
                self.counters.tick_failures += 1
                _log.exception("a round of notifications failed")
            await self._until_sent(pause)
            await asyncio.sleep(pause)

    async def _until_sent(self, at_most_s: float) -> None:
        """Wait until the fan-outs of this round are done, for ``at_most_s``: meanwhile further changes are better sent together."""
        for _ in range(8):
            if not self._hub.fan_outs.jobs:
                return
            await asyncio.sleep(at_most_s / 8)

    async def _run_housekeeping_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(self._housekeeping_s):
                    await self._stopping.wait()
            except TimeoutError:
                try:
                    await self.run_housekeeping()
                except Exception:
                    self.counters.housekeeping_failures += 1
                    _log.exception("a round of housekeeping failed")

    def _now_ms(self) -> int:
        return round(self._clock.monotonic() * 1000)

    def _time_slice(self) -> TimeSlice:
        return TimeSlice(self._clock, self._hub.loop)

    def _entry(self, name: str) -> TenantEntry:
        entry = self._entries.get(name)
        if entry is None and self._leased:
            return TenantEntry(None, self._now_ms())  # it is another node's
        if entry is None:  # first use; a tenant that has a log was restored at the start
            entry = self._entries[name] = TenantEntry(self._store.empty(), self._now_ms())
        return entry

    @asynccontextmanager
    async def _using(self, name: str) -> AsyncIterator[Tenant]:
        """The tenant, brought to the present, while its lock is held.

        Raises:
            UnavailableError: the service is UNAVAILABLE.
        """
        entry = self._entry(name)
        async with entry.lock:
            if entry.tenant is None:
                raise UnavailableError("the statistics service is UNAVAILABLE; its state is told on /statistics/v3/service")
            await catch_up(entry.tenant, self._time_slice())
            yield entry.tenant

    # -- events (EventConsumer) -------------------------------------------------------------------------------------

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """See :meth:`channels.events.EventConsumer.check`. While the service is unavailable every event passes: the log keeps it for the
        restart.
        """
        if (present := self._entry(tenant).tenant) is not None:
            present.check(event, past=past)

    def consume(self, tenant: str, events: Sequence[tuple[int, Event]]) -> None:
        """See :meth:`channels.events.EventConsumer.consume`."""
        entry = self._entry(tenant)
        present = entry.tenant
        for position, event in events:
            entry.seen = max(entry.seen, position)
            if present is not None:
                present.put(position, event)
        time_slice = self._time_slice()
        while present is not None and present.step() and not time_slice.used_up:
            pass  # the rest is done by the next tick, or by the next request
        now = self._now_ms()
        if events and (not entry.arrivals or entry.arrivals[-1][0] <= now - 1000):
            entry.arrivals.append((now, entry.seen))
        self._wake.set()

    # -- notification -----------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Send the notifications that are due, of every tenant."""
        for name, entry in list(self._entries.items()):
            try:
                async with entry.lock:
                    if entry.tenant is not None:
                        await catch_up(entry.tenant, self._time_slice())
                        await notify_due(
                            name,
                            entry.tenant,
                            self._now_ms(),
                            outlet=self._outlet,
                            loop=self._hub.loop,
                            clock=self._clock,
                            counters=self.counters,
                            sent_together=self._sent_together,
                        )
            except Exception:
                self.counters.tick_failures += 1
                _log.exception("a tick failed", tenant=name)

    # -- subscriptions (StatServer) ---------------------------------------------------------------------------------

    async def open_subscription(
        self, login: Login, subscription_id: str | None, items: Sequence[object], *, verbose: bool = True
    ) -> Readings:
        """See :meth:`StatServer.open_subscription`."""
        self._check_count(items)
        async with self._using(login.tenant) as tenant:
            now = self._now_ms()
            tenant.subscriptions.touch((login.key, login.token_key), now)
            subscription = Subscription(login.key, new_id() if subscription_id is None else subscription_id, login.subject)
            tenant.subscriptions.check_limits(subscription, len(items))
            return await open_statistics(
                tenant,
                subscription,
                items,
                verbose=verbose,
                now_ms=now,
                max_profiles=self._settings.max_profiles,
                time_slice=self._time_slice(),
            )

    async def peek_subscription(self, login: Login, subscription_id: str, statistic_ids: Sequence[str]) -> Readings:
        """See :meth:`StatServer.peek_subscription`."""
        async with self._using(login.tenant) as tenant:
            tenant.subscriptions.touch((login.key, login.token_key), self._now_ms())
            subscription = tenant.subscriptions.find((login.key, login.token_key), subscription_id)
            if subscription is None:
                raise UnknownSubscriptionError(subscription_id)
            return await peek_statistics(tenant, subscription, statistic_ids, self._time_slice())

    async def close_subscription(self, login: Login, subscription_id: str) -> None:
        """See :meth:`StatServer.close_subscription`."""
        tenant = self._entry(login.tenant).tenant
        if tenant is None:
            return
        keys = (login.key, login.token_key)
        tenant.subscriptions.touch(keys, self._now_ms())
        if (subscription := tenant.subscriptions.find(keys, subscription_id)) is not None:
            tenant.close_subscription(subscription.login, subscription.id)

    async def read(self, login: Login, items: Sequence[object]) -> Readings:
        """See :meth:`StatServer.read`."""
        self._check_count(items)
        async with self._using(login.tenant) as tenant:
            tenant.subscriptions.touch((login.key, login.token_key), self._now_ms())
            return await read_predefined(tenant.engine, items, self._time_slice())

    async def present_updates(self, tenant: str, login: str) -> bytes | None:
        """See :meth:`StatServer.present_updates`."""
        try:
            async with self._using(tenant) as present:
                return await present_update(present, login, self._time_slice())
        except UnavailableError:
            return None

    async def objects(self, tenant: str, object_type: str) -> list[str]:
        """See :meth:`StatServer.objects`."""
        asked = parse_object_type(object_type)
        async with self._using(tenant) as present:
            time_slice = self._time_slice()
            found = []
            for identifier in present.engine.heard(asked):
                found.append(identifier)
                if len(found) % _OBJECTS_AT_ONCE == 0:
                    await time_slice.checkpoint()
            return await time_slice.run(sort_in_pieces(found))

    async def clear_interaction(self, tenant: str, interaction_id: str) -> bool:
        """See :meth:`StatServer.clear_interaction`."""
        async with self._using(tenant) as present:
            if not present.engine.clear(interaction_id):
                return False
            present.changes += 1
        self.counters.interactions_cleared += 1
        self._wake.set()
        await self._housekeeper.save(
            tenant, self._entry(tenant)
        )  # the log has no event of it: without a snapshot a restart would bring it back
        return True

    def _check_count(self, items: Sequence[object]) -> None:
        most = self._settings.max_subscription_statistics
        if len(items) > most:
            raise LimitError("data.statistics", f"expected at most {most} statistics, got {len(items)}")

    def _login_gone(self, tenant: str, login: str) -> None:
        entry = self._entries.get(tenant)
        if entry is not None and entry.tenant is not None:
            entry.tenant.close_login(login)

    # -- values channels --------------------------------------------------------------------------------------------

    async def watch(self, tenant: str, channel: str) -> None:
        """See :meth:`StatServer.watch`."""
        wanted = parse_values_channel(channel)
        entry = self._entry(tenant)
        async with entry.lock:
            if channel in entry.watched:
                return
            if len(entry.watched) >= self._settings.max_values:
                raise RefusedError(
                    WireError.RATE_LIMITED, f"at most {self._settings.max_values} values channels are open at once", channel=channel
                )
            entry.watched[channel] = wanted
            if entry.tenant is not None:
                await catch_up(entry.tenant, self._time_slice())
                await self._time_slice().run(entry.tenant.opening_value(channel, wanted, self._now_ms()))
                if channel not in entry.watched:  # its last subscriber left meanwhile
                    entry.tenant.close_value(channel)

    def unwatch(self, tenant: str, channel: str) -> None:
        """See :meth:`StatServer.unwatch`."""
        entry = self._entry(tenant)
        entry.watched.pop(channel, None)
        if entry.tenant is not None:
            entry.tenant.close_value(channel)

    async def present_values(self, tenant: str, pattern: str) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """See :meth:`StatServer.present_values`."""
        with suppress(UnavailableError):
            async with self._using(tenant) as present:  # the lock keeps a tick from sending newer values meanwhile
                time_slice = self._time_slice()
                encoder = Encoder(present.engine, time_slice)
                if (exact := present.values.get(pattern)) is not None:
                    yield [(pattern, await encoder.item(exact))]
                    return
                found: list[tuple[str, bytes]] = []
                for channel, opened in list(present.values.items()):
                    if present.values.get(channel) is opened and matches(pattern, channel):
                        found.append((channel, await encoder.item(opened)))
                    if time_slice.used_up:
                        yield found
                        found = []
                        await time_slice.checkpoint()
                yield found

    async def send_values(self, tenant: str, channels: Sequence[str]) -> None:
        """Publish the present values of some values channels, as far as they are open."""
        for channel in channels:
            async with aclosing(self.present_values(tenant, channel)) as pieces:
                async for piece in pieces:
                    for name, data in piece:
                        await self._outlet.emit(tenant, name, data)

    # -- service state ----------------------------------------------------------------------------------------------

    def service_state(self, tenant: str) -> ServiceState:
        """See :meth:`StatServer.service_state`."""
        return ServiceState.UNAVAILABLE if self._entry(tenant).tenant is None else ServiceState.AVAILABLE

    async def present_state(self, tenant: str) -> ServiceState:
        """See :meth:`StatServer.present_state`."""
        return self.service_state(tenant)

    async def report(self, tenant: str) -> Report:
        """See :meth:`StatServer.report`."""
        entry = self._entry(tenant)
        present = entry.tenant
        counters = self.counters
        return Report(
            state=self.service_state(tenant),
            statistics=present.subscriptions.statistics if present else 0,
            subscriptions=len(present.subscriptions) if present else 0,
            logins=len(present.subscriptions.logins) if present else 0,
            values=len(entry.watched),
            objects=present.engine.object_count if present else 0,
            interactions=present.engine.interaction_count if present else 0,
            position=present.position if present else entry.seen,
            now_ms=present.engine.now_ms if present else None,
            held=present.held_count if present else 0,
            events_applied=counters.events_applied,
            events_refused=counters.events_late + counters.events_ahead + counters.events_behind + counters.events_over_limit,
            snapshot_position=entry.snapshot_position,
            snapshot_ms=entry.snapshot_ms,
        )

    async def start_service(self, tenant: str) -> None:
        """See :meth:`StatServer.start_service`.

        Raises:
            EventLogError: the log cannot be read; the service stays unavailable.
        """
        entry = self._entry(tenant)
        async with entry.changing:
            if entry.tenant is not None:
                return
            began = self._clock.monotonic()
            time_slice = self._time_slice()
            restored, entry.snapshot_position = await self._store.restore(tenant, time_slice)
            while restored.position < entry.seen:  # logged while the log was being read
                await self._store.replay(tenant, restored, time_slice)
            restored.engine.take_changed()
            now = self._now_ms()
            entry.arrivals.append((now, restored.position))
            async with entry.lock:
                for channel, wanted in list(entry.watched.items()):
                    await time_slice.run(restored.opening_value(channel, wanted, now))
                    await time_slice.checkpoint()
                for channel in restored.values.keys() - entry.watched.keys():  # nobody watches them any more
                    restored.close_value(channel)
                while restored.position < entry.seen:  # logged meanwhile
                    await self._store.replay(tenant, restored, time_slice)
                entry.tenant = restored
            _log.info(
                "statistics are available", tenant=tenant, position=restored.position, seconds=round(self._clock.monotonic() - began, 3)
            )
            await self._tell_state(tenant)
            async with aclosing(self.present_values(tenant, f"{VALUES}/**")) as pieces:
                async for piece in pieces:
                    for channel, data in piece:
                        await self._outlet.emit(tenant, channel, data)
                        await time_slice.checkpoint()

    async def stop_service(self, tenant: str) -> None:
        """See :meth:`StatServer.stop_service`."""
        entry = self._entry(tenant)
        async with entry.changing:
            present = entry.tenant
            if present is None:
                return
            if present.changes:
                await self._housekeeper.save(tenant, entry)
            async with entry.lock:
                entry.tenant = None
                entry.seen = max(entry.seen, present.position)
                self.counters.subscriptions_closed += len(present.subscriptions)
            _log.info("statistics are unavailable", tenant=tenant)
            await self._tell_state(tenant)

    async def _tell_state(self, tenant: str) -> None:
        if not self.on_state:
            await self._outlet.emit(tenant, SERVICE, service_state_change(self.service_state(tenant)))
        for call in self.on_state:
            call(tenant, self.service_state(tenant))

    # -- housekeeping -----------------------------------------------------------------------------------------------

    async def run_housekeeping(self) -> None:
        """See :meth:`channels.statistics.service.housekeeping.Housekeeper.run`."""
        await self._housekeeper.run()

    def object_count(self) -> int:
        """How many objects events named, of all tenants that are available."""
        return sum(entry.tenant.engine.object_count for entry in self._entries.values() if entry.tenant is not None)

    def interaction_count(self) -> int:
        """In how many interactions something goes on, of all tenants that are available."""
        return sum(entry.tenant.engine.interaction_count for entry in self._entries.values() if entry.tenant is not None)

    def user_data_bytes(self) -> int:
        """Bytes of the user data that is kept of all interactions, of all tenants that are available."""
        return sum(entry.tenant.engine.user_data_bytes for entry in self._entries.values() if entry.tenant is not None)

    def states_cut(self) -> int:
        """How many values of CurrentState lacked user data, of all tenants that are available."""
        return sum(entry.tenant.engine.states_cut for entry in self._entries.values() if entry.tenant is not None)

    def held_bytes(self) -> int:
        """Bytes of the events that wait for their time, of all tenants."""
        return sum(entry.tenant.held_bytes for entry in self._entries.values() if entry.tenant is not None)

    def open_count(self) -> int:
        """How many statistics subscriptions have open, of all tenants."""
        return sum(entry.tenant.subscriptions.statistics for entry in self._entries.values() if entry.tenant is not None)

    def waiting_count(self) -> int:
        """How many events wait to be applied, of all tenants."""
        return sum(entry.tenant.waiting + entry.tenant.held_count for entry in self._entries.values() if entry.tenant is not None)
