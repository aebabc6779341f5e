"""The stat server of this process: the :class:`StatServer` around one engine for each tenant.

One lock a tenant keeps the few things apart that take more than one slice of the loop: a tick, a snapshot, a large request. Events come in
between their slices; subscriptions may end between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import structlog

from channels.events import Event
from channels.statistics.engine.definition import parse_object_type
from channels.statistics.engine.pieces import sort_in_pieces
from channels.statistics.engine.values import Value
from channels.statistics.service.encoding import Encoder
from channels.statistics.service.housekeeping import Housekeeper, catch_up
from channels.statistics.service.interface import (
    SERVICE,
    VALUES,
    LimitError,
    Login,
    Reading,
    Readings,
    Report,
    ServiceState,
    UnavailableError,
    UnknownSubscriptionError,
)
from channels.statistics.service.notification import OpenStatistic
from channels.statistics.service.notify import notify_due
from channels.statistics.service.pace import Pace
from channels.statistics.service.payloads import encoding_value, service_state_change, statistic_update
from channels.statistics.service.requests import Refusal, Wanted, new_id, parse_item
from channels.statistics.service.store import StateStore
from channels.statistics.service.tenant import Counters, LoginRecord, Subscription, Tenant
from channels.statistics.service.tenant_entry import TenantEntry
from channels.statistics.service.value_channels import parse_values_channel
from channels.statistics.settings import StatisticsSettings
from hub.core.channels import matches
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.ports import Clock
from hub.eventlog.interface import EventLog

_OBJECTS_AT_ONCE = 256

HOUSEKEEPING_S = 1.0
"""Seconds between two looks at idle logins and due snapshots."""

_log = structlog.get_logger(__name__)


class LocalStatServer:
    """:class:`channels.statistics.service.interface.StatServer` and :class:`channels.events.EventConsumer` of a single process."""

    def __init__(self, *, hub: Hub, eventlog: EventLog, clock: Clock, settings: StatisticsSettings) -> None:
        self._hub = hub
        self._clock = clock
        self._settings = settings
        self.counters = Counters()
        self._store = StateStore(eventlog, settings, settings.time_zone(), self.counters, clock)
        self._entries: dict[str, TenantEntry] = {}
        self._housekeeper = Housekeeper(
            hub=hub, store=self._store, settings=settings, counters=self.counters, clock=clock, entries=self._entries
        )
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        hub.on_login_gone.append(self._login_gone)

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Restore every tenant that has a log, then begin to notify.

        Raises:
            EventLogError: the log cannot be read.
        """
        await self.restore()
        self._stopping.clear()
        self._tasks = [asyncio.create_task(self._notify_forever()), asyncio.create_task(self._run_housekeeping_forever())]

    async def stop(self) -> None:
        """Cease to notify and save what is not saved yet, also when something of it failed."""
        self._stopping.set()
        self._wake.set()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if outcome is not None:
                _log.error("a task of the stat server had ended before its time", exc_info=outcome)
        self._tasks = []
        for name, entry in self._entries.items():
            if entry.tenant is not None and entry.tenant.changes:
                await self._housekeeper.save(name, entry)

    async def restore(self) -> None:
        """Make every tenant available that has a log.

        Raises:
            EventLogError: the log cannot be read.
        """
        for name in await self._store.tenants():
            self._entries.setdefault(name, TenantEntry(None, self._now_ms()))
            await self.start_service(name)

    async def failing(self) -> str | None:
        """For ``/readyz``: what is wrong, or None."""
        if not self._tasks:
            return "the stat server has not been started"
        if any(task.done() for task in self._tasks):
            return "the stat server no longer notifies; the log says why"
        return None

    async def _notify_forever(self) -> None:
        pause = self._settings.tick_ms / 1000
        while not self._stopping.is_set():
            # the first change after a quiet time is told at once, those that follow it within a tick together
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.tick()
            except Exception:
                self.counters.tick_failures += 1
                _log.exception("a round of notifications failed")
            await self._until_told(pause)
            await asyncio.sleep(pause)

    async def _until_told(self, at_most_s: float) -> None:
        """Let what was told leave: while clients are still being served, further changes are better told together than one by one."""
        for _ in range(8):
            if not self._hub.fan_outs.jobs:
                return
            await asyncio.sleep(at_most_s / 8)

    async def _run_housekeeping_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), HOUSEKEEPING_S)
            except TimeoutError:
                try:
                    await self.run_housekeeping()
                except Exception:
                    self.counters.housekeeping_failures += 1
                    _log.exception("a round of housekeeping failed")

    def _now_ms(self) -> int:
        return round(self._clock.monotonic() * 1000)

    def _entry(self, name: str) -> TenantEntry:
        entry = self._entries.get(name)
        if entry is None:  # first use; a tenant that has a log was restored at the start
            entry = self._entries[name] = TenantEntry(self._store.empty(), self._now_ms())
        return entry

    @asynccontextmanager
    async def _using(self, name: str) -> AsyncIterator[Tenant]:
        """The tenant at the present moment, for this caller alone."""
        entry = self._entry(name)
        async with entry.lock:
            if entry.tenant is None:
                raise UnavailableError("the statistics service is UNAVAILABLE; its state is told on /statistics/v3/service")
            await catch_up(entry.tenant, self._clock)
            yield entry.tenant

    # -- events (EventConsumer) -------------------------------------------------------------------------------------

    def check(self, tenant: str, event: Event, *, past: bool = False) -> None:
        """See :meth:`channels.events.EventConsumer.check`. While unavailable every event is let pass: the log keeps it for the restart."""
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
        pace = Pace(self._clock)
        while present is not None and present.step() and not pace.over:
            pass  # what is not done in this slice is done by the next tick, or by whoever asks
        now = self._now_ms()
        if events and (not entry.arrivals or entry.arrivals[-1][0] <= now - 1000):
            entry.arrivals.append((now, entry.seen))
        self._wake.set()

    # -- notification -----------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """Tell what is due, of every tenant."""
        for name, entry in list(self._entries.items()):
            try:
                async with entry.lock:
                    if entry.tenant is not None:
                        await catch_up(entry.tenant, self._clock)
                        await notify_due(name, entry.tenant, self._now_ms(), hub=self._hub, clock=self._clock, counters=self.counters)
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
            tenant.touch((login.key, login.token_key), now)
            subscription = Subscription(login.key, new_id() if subscription_id is None else subscription_id, login.subject)
            self._check_limits(tenant, subscription, len(items))
            readings: list[Reading] = []
            refusals: list[Refusal] = []
            taken: set[str] = set()
            pace = Pace(self._clock)
            try:
                for item in items:
                    wanted = parse_item(item, taken)
                    if isinstance(wanted, Refusal):
                        refusals.append(wanted)
                    elif not tenant.engine.has_room(wanted.opened.definition, self._settings.max_profiles):
                        refusals.append(self._profile_too_many(wanted))
                    else:
                        opened = await pace.follow(tenant.opening_for_subscription(subscription, wanted, now, verbose=verbose))
                        readings.append(await _reading(opened, opened.last, tenant, pace))
                    await pace.breathe()
            except BaseException:
                tenant.discard(subscription)
                raise
            if readings:
                tenant.register(subscription, now)
            return Readings(readings, refusals, subscription.id)

    async def peek_subscription(self, login: Login, subscription_id: str, statistic_ids: Sequence[str]) -> Readings:
        """See :meth:`StatServer.peek_subscription`."""
        async with self._using(login.tenant) as tenant:
            tenant.touch((login.key, login.token_key), self._now_ms())
            subscription = tenant.find((login.key, login.token_key), subscription_id)
            if subscription is None:
                raise UnknownSubscriptionError(subscription_id)
            asked = _split(statistic_ids, subscription)
            pace = Pace(self._clock)
            encoder = Encoder(tenant.engine, pace)
            readings: list[Reading] = []
            refusals: list[Refusal] = []
            for statistic_id in asked or list(subscription.statistics):
                opened = subscription.statistics.get(statistic_id)
                if opened is None:
                    refusals.append(
                        Refusal(
                            statistic_id,
                            "statisticIds",
                            f"statisticIds: expected ids of subscription {subscription_id}, got {statistic_id}",
                            code=404,
                        )
                    )
                else:
                    readings.append(await _reading(opened, await encoder.value(opened.statistic), tenant, pace))
                await pace.breathe()
            return Readings(readings, refusals, subscription.id)

    async def close_subscription(self, login: Login, subscription_id: str) -> None:
        """See :meth:`StatServer.close_subscription`."""
        tenant = self._entry(login.tenant).tenant
        if tenant is None:
            return
        keys = (login.key, login.token_key)
        tenant.touch(keys, self._now_ms())
        if (subscription := tenant.find(keys, subscription_id)) is not None:
            tenant.close_subscription(subscription.login, subscription.id)

    async def read(self, login: Login, items: Sequence[object]) -> Readings:
        """See :meth:`StatServer.read`."""
        self._check_count(items)
        async with self._using(login.tenant) as tenant:
            tenant.touch((login.key, login.token_key), self._now_ms())
            readings: list[Reading] = []
            refusals: list[Refusal] = []
            pace = Pace(self._clock)
            engine = tenant.engine
            for item in items:
                wanted = parse_item(item, set(), by_name_only=True)
                if isinstance(wanted, Refusal):
                    refusals.append(wanted)
                else:
                    statistic = await pace.follow(engine.opening(wanted.opened.definition, wanted.object_type, wanted.object_id))
                    try:
                        value = await pace.follow(engine.valuing(statistic))
                    finally:
                        engine.close(statistic)
                    readings.append(await _as_read("", wanted.name, wanted.object_type.value, wanted.object_id, value, engine.now_ms, pace))
                await pace.breathe()
            return Readings(readings, refusals)

    async def present_updates(self, tenant: str, login: str) -> bytes | None:
        """See :meth:`StatServer.present_updates`."""
        try:
            async with self._using(tenant) as present:
                record = present.logins.get(login)
                if record is None:
                    return None
                pace = Pace(self._clock)
                encoder = Encoder(present.engine, pace)
                items = []
                for subscription in list(record.subscriptions.values()):
                    for opened in list(subscription.statistics.values()):
                        items.append(await encoder.item(opened))
                        await pace.breathe()
                return statistic_update(items)
        except UnavailableError:
            return None

    async def objects(self, tenant: str, object_type: str) -> list[str]:
        """See :meth:`StatServer.objects`."""
        asked = parse_object_type(object_type)
        async with self._using(tenant) as present:
            pace = Pace(self._clock)
            found = []
            for identifier in present.engine.heard(asked):
                found.append(identifier)
                if len(found) % _OBJECTS_AT_ONCE == 0:
                    await pace.breathe()
            return await pace.follow(sort_in_pieces(found))

    async def clear_interaction(self, tenant: str, interaction_id: str) -> bool:
        """See :meth:`StatServer.clear_interaction`."""
        async with self._using(tenant) as present:
            if not present.engine.clear(interaction_id):
                return False
            present.changes += 1
        self.counters.interactions_cleared += 1
        self._wake.set()
        await self._housekeeper.save(tenant, self._entry(tenant))  # no event says so: without a snapshot a restart would bring it back
        return True

    def _profile_too_many(self, wanted: Wanted) -> Refusal:
        return Refusal(
            wanted.statistic_id,
            "dynamicTimeProfile",
            f"dynamicTimeProfile: expected at most {self._settings.max_profiles} different ones open in a tenant, got one more",
            name=wanted.name,
            object_id=wanted.object_id,
            object_type=wanted.object_type.value,
        )

    def _check_count(self, items: Sequence[object]) -> None:
        most = self._settings.max_subscription_statistics
        if len(items) > most:
            raise LimitError("data.statistics", f"expected at most {most} statistics, got {len(items)}")

    def _check_limits(self, tenant: Tenant, subscription: Subscription, adding: int) -> None:
        settings = self._settings
        record = tenant.logins.get(subscription.login) or LoginRecord(0)
        replaced = record.subscriptions.get(subscription.id)
        most = settings.max_login_subscriptions
        if replaced is None and len(record.subscriptions) >= most:
            raise LimitError("operationId", f"expected at most {most} subscriptions of one login, got one more")
        less = len(replaced.statistics) if replaced else 0
        for whose, most, present in (
            ("one login", settings.max_login_statistics, record.statistics - less),
            ("one subject", settings.max_subject_statistics, tenant.subjects.get(subscription.subject, 0) - less),
            ("a tenant", settings.max_tenant_statistics, tenant.statistics - less),
        ):
            if present + adding > most:
                raise LimitError(
                    "data.statistics", f"expected at most {most} statistics of {whose}, got {adding} more than the {present} open"
                )

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
                await catch_up(entry.tenant, self._clock)
                await Pace(self._clock).follow(entry.tenant.opening_value(channel, wanted, self._now_ms()))
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
            async with self._using(tenant) as present:  # no tick tells anything meanwhile
                pace = Pace(self._clock)
                encoder = Encoder(present.engine, pace)
                if (exact := present.values.get(pattern)) is not None:
                    yield [(pattern, await encoder.item(exact))]
                    return
                found: list[tuple[str, bytes]] = []
                for channel, opened in list(present.values.items()):
                    if present.values.get(channel) is opened and matches(pattern, channel):
                        found.append((channel, await encoder.item(opened)))
                    if pace.over:
                        yield found
                        found = []
                        await pace.breathe()
                yield found

    # -- service state ----------------------------------------------------------------------------------------------

    def service_state(self, tenant: str) -> ServiceState:
        """See :meth:`StatServer.service_state`."""
        return ServiceState.UNAVAILABLE if self._entry(tenant).tenant is None else ServiceState.AVAILABLE

    def report(self, tenant: str) -> Report:
        """See :meth:`StatServer.report`."""
        entry = self._entry(tenant)
        present = entry.tenant
        logins = list(present.logins.values()) if present else []
        counters = self.counters
        return Report(
            state=self.service_state(tenant),
            statistics=present.statistics if present else 0,
            subscriptions=sum(len(record.subscriptions) for record in logins),
            logins=len(logins),
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
            pace = Pace(self._clock)
            restored, entry.snapshot_position = await self._store.restore(tenant, pace.breathe)
            while restored.position < entry.seen:  # logged while the log was being read
                await self._store.replay(tenant, restored, pace.breathe)
            restored.engine.take_changed()
            now = self._now_ms()
            entry.arrivals.append((now, restored.position))
            async with entry.lock:
                for channel, wanted in list(entry.watched.items()):
                    await pace.follow(restored.opening_value(channel, wanted, now))
                    await pace.breathe()
                for channel in restored.values.keys() - entry.watched.keys():  # nobody watches them any more
                    restored.close_value(channel)
                while restored.position < entry.seen:  # logged meanwhile
                    await self._store.replay(tenant, restored, pace.breathe)
                entry.tenant = restored
            _log.info(
                "statistics are available", tenant=tenant, position=restored.position, seconds=round(self._clock.monotonic() - began, 3)
            )
            await self._tell_state(tenant)
            async with aclosing(self.present_values(tenant, f"{VALUES}/**")) as pieces:
                async for piece in pieces:
                    for channel, data in piece:
                        await self._hub.emit(tenant, channel, data)
                        await pace.breathe()

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
                self.counters.subscriptions_closed += sum(len(record.subscriptions) for record in present.logins.values())
            _log.info("statistics are unavailable", tenant=tenant)
            await self._tell_state(tenant)

    async def _tell_state(self, tenant: str) -> None:
        await self._hub.emit(tenant, SERVICE, service_state_change(self.service_state(tenant)))

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

    def open_count(self) -> int:
        """How many statistics subscriptions have open, of all tenants."""
        return sum(entry.tenant.statistics for entry in self._entries.values() if entry.tenant is not None)

    def waiting_count(self) -> int:
        """How many events wait to be applied, of all tenants."""
        return sum(entry.tenant.waiting + entry.tenant.held_count for entry in self._entries.values() if entry.tenant is not None)


async def _reading(opened: OpenStatistic, value: Value, tenant: Tenant, pace: Pace) -> Reading:
    """A value of an open statistic."""
    return await _as_read(opened.statistic_id, opened.name, opened.object_type.value, opened.object_id, value, tenant.engine.now_ms, pace)


async def _as_read(statistic_id: str, name: str | None, object_type: str, object_id: str, value: Value, now_ms: int, pace: Pace) -> Reading:
    encoded = b"" if value.state_value is None else b"".join(await pace.follow(encoding_value(value, now_ms)))
    return Reading(statistic_id, name, object_type, object_id, value.to_json(now_ms), now_ms, value.empty, encoded)


def _split(asked: Sequence[str], subscription: Subscription) -> list[str]:
    """The statistic ids of repeated and comma-joined parameters (docs/protocol/statistics.md#statistic-ids-in-queries), each once; an id
    that holds a comma is taken whole.
    """
    found: dict[str, None] = {}
    for text in asked:
        for part in (text,) if text in subscription.statistics else text.split(","):
            if part := part.strip():
                found[part] = None
    return list(found)
