"""A node: one process of the hub, put together from settings and families. The only place that knows all the parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_network

import structlog
from fastapi import APIRouter
from starlette.types import ASGIApp

from hub import __version__
from hub.bayeux.server import BayeuxServer
from hub.bus.memory import MemoryBus
from hub.core.delivery import ChannelDeclaration, ChannelRegistry, DeliveryClass
from hub.core.ending import end_revoked
from hub.core.hub import Hub
from hub.core.recipient import Recipient
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.channel_log_sqlite import SqliteChannelLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.eventlog.trimmer import Trimmer
from hub.family import Context, Family, Parts, Service, migrations_of
from hub.ops.body import BodyBudget
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.plugins import load_extensions
from hub.ops.repeats import RepeatedErrors, Repeats
from hub.ops.rest import compile_routes, create_app
from hub.ops.settings import Settings, SettingsError
from hub.ops.start_errors import explain
from hub.ops.usable import check_supported
from hub.outbox import models as outbox_models
from hub.outbox.administration import Administration
from hub.outbox.example import ROLE as EXAMPLE_ROLE
from hub.outbox.example import Example, Examples, GenericExample
from hub.outbox.guard import Guard
from hub.outbox.operations import CHANNEL as OPERATIONS_CHANNEL
from hub.outbox.routes import create_router as outbox_router
from hub.outbox.sender import Sender
from hub.outbox.service import Outbox
from hub.presence.announcer import Announcer
from hub.presence.api import create_router as presence_router
from hub.presence.roster import Roster
from hub.publishing.api import create_router as publishing_router
from hub.publishing.service import PublishService
from hub.security.api import router as security_router
from hub.security.connections import Connections, Network
from hub.security.directory import Gone
from hub.security.hosts import DemoGuard, Hosts
from hub.security.service import Security
from hub.storage.disk import Disk
from hub.storage.service import DatabaseService
from hub.storage.watch import StorageWatch, Watched
from hub.transports.bayeux import BayeuxDoor
from hub.transports.dashboard_websocket import DashboardDoor
from hub.transports.front import Front
from hub.transports.hot_paths import HotPaths
from hub.transports.http_protocol import HttpCounters
from hub.transports.loop_watch import LoopWatch
from hub.transports.runtime import AsyncioLoop, SystemClock, TimerDriver
from hub.transports.server import serve
from hub.transports.sse import EventStreamDoor
from hub.transports.tracing import Tracing

_log = structlog.get_logger(__name__)

GAUGES = "gauges"
"""The role of the values that rise and fall of a family: name to HELP and a function that reads it."""

COUNTERS = "counters"
"""The role under which a family offers what it counts: a dictionary of part to dataclass of numbers."""


def trusted_proxies(settings: Settings) -> tuple[Network, ...]:
    """The proxies that are believed: ``trusted_proxies``, or where that is not set, what ``FORWARDED_ALLOW_IPS`` says, as before."""
    older = os.environ.get("FORWARDED_ALLOW_IPS")
    if older is None:
        return settings.trusted_proxies
    if "trusted_proxies" in settings.model_fields_set:
        _log.warning("forwarded_allow_ips_ignored", setting="trusted_proxies")
        return settings.trusted_proxies
    _log.warning("forwarded_allow_ips_is_old", setting="trusted_proxies", value=older)
    try:
        return tuple(ip_network(each.strip()) for each in older.replace("*", "0.0.0.0/0,::/0").split(",") if each.strip())
    except ValueError as fault:
        raise SettingsError([f"FORWARDED_ALLOW_IPS: expected addresses and networks, got {older!r}: {fault}"]) from None


class Node:
    """Built once, in a running loop; :meth:`run` serves until a signal comes."""

    def __init__(self, settings: Settings, families: Sequence[Family], repeats: Repeats | None = None) -> None:
        """Put the parts together; nothing is started and no port is open yet. ``repeats`` counts the errors of the process that repeat.

        Raises:
            SettingsError: see :func:`hub.ops.usable.check_supported`; or ``replay.channels`` names channels of a family that cannot be
                kept.
            InUseError, LogInUseError: another hub runs on the same data folder.
        """
        check_supported(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self._start_fault: Exception | None = None
        self._watched: list[Watched] = []
        # the world
        self.clock = SystemClock()
        self.loop = AsyncioLoop()
        # what everything stands on
        # the event log before the database: by its lock a second hub is refused before it opens the database's file
        self.eventlog = SqliteEventLog(settings.data_dir)
        self.storage = DatabaseService(settings.database, migrations=migrations_of(families))
        self.transactions = self.storage.transactions
        self.security = Security(settings, self.clock, self.transactions)
        self.metrics = Metrics()
        self.http_counters = HttpCounters()
        self.health = Health(strict=settings.readiness.strict)
        self.connections = Connections(settings.limits, trusted_proxies(settings))
        retention = settings.replay.retention
        in_memory = settings.replay.store == "memory"
        self.channel_log: ChannelLog = (
            MemoryChannelLog(self.clock, retention) if in_memory else SqliteChannelLog(settings.data_dir, self.clock, retention)
        )
        self.bus = MemoryBus(self.channel_log)
        self.hub = Hub(
            bus=self.bus,
            log=self.channel_log,
            registry=ChannelRegistry(),
            authorizer=self.security.gate,
            loop=self.loop,
            clock=self.clock,
            on_fault=_log_fault,
            limits=settings.limits,
        )
        self.hub.registry.declare(
            ChannelDeclaration(OPERATIONS_CHANNEL, DeliveryClass.LOG, "operational events, for administrators", operation="/admin/read")
        )
        self.trimmer = Trimmer(self.channel_log)
        # who is here
        self.roster = Roster(self.hub)
        watched = settings.presence
        self.announcer = (
            Announcer(self.hub, self.roster, watched.channels, events_per_second=watched.events_per_second) if watched.channels else None
        )
        self.publisher = PublishService(self.hub)
        # the families
        guard = Guard(settings.outbox.allowed_networks, settings.outbox.https_only)
        self.sender = Sender(guard, self.clock, settings.outbox)
        self.outbox = Outbox(
            transactions=self.transactions,
            hub=self.hub,
            clock=self.clock,
            loop=self.hub.loop,
            settings=settings.outbox,
            sender=self.sender,
            consumers=lambda: self.context.of_role(outbox_models.ROLE),
            alone=self.storage.database.is_sqlite,
        )
        self.hosts = Hosts.of(settings)
        self.context = Context(
            settings, self.hub, self.eventlog, self.security.gate, self.clock, self.transactions, self.outbox, hosts=self.hosts
        )
        self.parts = [self._build(family) for family in families]
        self._keep_channels()
        self.loop_watch = LoopWatch(settings.log_slow_ms)
        self._services: list[Service] = [
            *([] if repeats is None else [RepeatedErrors(repeats)]),
            self.storage,
            self.security,
            TimerDriver(self.hub.timers, self.hub.budget.step),
            self.loop_watch,
            self.trimmer,
            *(service for part in self.parts for service in part.services),
            # after the families: what they are told of events needs them
            self.sender,
            self.outbox,
        ]
        # the doors
        self.bayeux = BayeuxServer(
            self.hub, self.security.gate, extensions=load_extensions(settings.extensions), on_fault=_log_extension_fault
        )
        self.bodies = BodyBudget(settings.limits)
        self.bayeux_door = BayeuxDoor(self.bayeux, self.security.gate, self.bodies)
        self.dashboards = DashboardDoor(self.hub, self.security.gate)
        self.streams = EventStreamDoor(self.hub, self.security.gate)
        self.security.gate.on_revoked.append(self._end_revoked)
        self._observe()
        self.rest = create_app(
            routers=[
                security_router,
                presence_router(self.roster),
                publishing_router(self.publisher),
                self._outbox_router(guard),
                *(router for part in self.parts for router in part.routers),
            ],
            routes=[route for part in self.parts for route in part.routes],
            gate=self.security.gate,
            metrics=self.metrics,
            health=self.health,
            limits=settings.limits,
            lifespan=self._lifespan,
        )
        open_paths = [*self.rest.state.open_paths, *(path for part in self.parts for path in part.open_paths)]
        hot_paths = [path for part in self.parts for path in part.hot_paths]
        self.app: ASGIApp = Front(
            [self.bayeux_door, self.dashboards, self.streams],
            HotPaths(Tracing(self.rest), hot_paths, self.security.gate, self.metrics, open_paths),
            settings.limits,
            self.bodies,
            guards=[DemoGuard(self.hosts, self.security.gate).refusal] if settings.demo else [],
        )

    def _outbox_router(self, guard: Guard) -> APIRouter:
        administration = Administration(
            guard, self.clock, self.settings.outbox, save=self.outbox.save_endpoint, remove=self.outbox.remove_endpoint
        )
        examples = Examples(self.sender, self.clock, self.settings.outbox.timeout_s, self._examples, self.settings.outbox.examples)
        return outbox_router(self.outbox, administration, examples, self.clock)

    def _examples(self) -> dict[str, Example]:
        """What families can show of their events, by type."""
        offered: list[Example] = self.context.of_role(EXAMPLE_ROLE) or [GenericExample()]
        return {event_type: example for example in offered for event_type in example.example_types}

    def _build(self, family: Family) -> Parts:
        parts = family.build(self.context)
        for declaration in parts.channels:
            self.hub.registry.declare(declaration)
        for role, service in parts.roles.items():
            self.context.roles.setdefault(role, []).append(service)
        return parts

    def _keep_channels(self) -> None:
        problems = []
        for pattern in self.settings.replay.channels:
            try:
                self.hub.registry.keep(pattern, "kept by the setting replay.channels")
            except ValueError as fault:
                problems.append(f"replay.channels: expected channels that may be kept, got {pattern}: {fault}")
        if problems:
            raise SettingsError(problems)

    def _observe(self) -> None:
        self.metrics.counters("http", self.http_counters)
        self.metrics.counters("connections", self.connections.counters)
        self.metrics.counters("", self.hub.counters)
        self.metrics.counters("bayeux", self.bayeux.counters)
        self.metrics.counters("dashboard", self.dashboards.counters)
        self.metrics.counters("sse", self.streams.counters)
        if self.announcer is not None:
            self.metrics.counters("presence", self.announcer.counters)
        self.metrics.counters("database", self.transactions.counters)
        self.metrics.counters("outbox", self.outbox.counters)
        self.metrics.counters("publish", self.publisher.counters)
        self.metrics.counters("bodies", self.bodies.counters)
        self.metrics.counters("security", self.security.gate.directory.counters)
        for offered in self.context.of_role(COUNTERS):
            for part, source in offered.items():
                self.metrics.counters(part, source)
        for offered in self.context.of_role(GAUGES):
            for name, (help, read) in offered.items():
                self.metrics.gauge(name, help, read)
        self._observe_gauges()
        self._observe_latencies()
        watched = self._watched = [self.transactions, self.eventlog.file]
        self.health.register("database", self._database_readiness, shared=not self.storage.database.is_sqlite)
        self.health.register("events", self._readiness_of(self.eventlog.file))
        if isinstance(self.channel_log, SqliteChannelLog):
            watched.append(self.channel_log.file)
            self.health.register("channels", self._readiness_of(self.channel_log.file))
        self.health.register("disk", Disk(self.settings.data_dir, self.settings.readiness.min_free_bytes).readiness)
        self._services.append(StorageWatch(watched, self.settings.readiness.look_s))
        for part in self.parts:
            for name, check in part.readiness.items():
                self.health.register(name, check)

    def _observe_gauges(self) -> None:
        metrics, worker, extensions = self.metrics, self.outbox.worker, self.bayeux.extensions
        metrics.gauge("connections", "Connections of HTTP and WebSocket that are open now.", lambda: self.connections.count)
        metrics.gauge("connections_unidentified", "Those of them that have shown no credential.", lambda: self.connections.unidentified)
        metrics.gauge("sessions", "Sessions of every door that are open now.", lambda: len(self.hub.sessions))
        metrics.gauge("waiting_bytes", "Bytes that wait for clients, when last counted.", lambda: self.hub.budget.waiting_bytes)
        metrics.gauge("topics", "Topics that somebody is subscribed to.", lambda: len(self.hub.router))
        metrics.gauge("timers", "Timers that are set.", lambda: len(self.hub.timers))
        metrics.gauge("sse_streams", "Event streams that are open now.", lambda: len(self.streams))
        metrics.gauge("bayeux_connects_held", "Connects that are held now.", lambda: self.bayeux.registry.connects_held)
        metrics.gauge("publish_ids", "Ids of published messages that are remembered.", lambda: self.publisher.ids)
        metrics.gauge("bodies_buffered_bytes", "Bytes of bodies of requests that are not answered yet.", lambda: self.bodies.buffered_bytes)
        metrics.gauge("database_waiting", "Operations that wait for the database's writer.", lambda: self.transactions.waiting)
        metrics.gauge("databases_in_trouble", "Those of the database and the two logs that fail now.", self._in_trouble)
        metrics.gauge("outbox_under_way", "Webhook requests that are under way.", lambda: worker.under_way)
        metrics.gauge("outbox_in_line", "Endpoints that wait for a place among all webhook requests.", lambda: worker.in_line)
        metrics.gauge("outbox_held", "Deliveries that are held in memory until their request begins.", lambda: worker.held)
        metrics.gauge("outbox_tripped", "Endpoints that do not answer and get one probe at a time.", lambda: worker.circuits_open)
        metrics.gauge("outbox_pending", "Webhook deliveries that wait, when last counted.", lambda: self.outbox.waiting[0])
        metrics.gauge("outbox_undispatched", "Events that no delivery was made of yet, when last counted.", lambda: self.outbox.waiting[1])
        metrics.count("log_messages_trimmed", "Messages of log channels that were forgotten for their age.", lambda: self.trimmer.trimmed)
        metrics.count("extensions_refused", "Messages that an extension refused or dropped.", lambda: extensions.refused)
        metrics.count("extensions_faults", "Exceptions that extensions raised.", lambda: extensions.faults)
        tickets = self.security.gate.tickets
        metrics.gauge("tickets_waiting", "Tickets that wait to be used.", lambda: len(tickets))
        metrics.gauge("tickets_resumable", "Streams that ended and that their ticket may open again.", lambda: tickets.resumable)
        metrics.count("tickets_refused", "Tickets that were not given out because as many waited as may.", lambda: tickets.refused)
        metrics.count(
            "tickets_forgotten", "Streams that may not be opened again because too many ended after them.", lambda: tickets.forgotten
        )
        metrics.count("tickets_resumed", "Times that a ticket opened its stream again.", lambda: tickets.resumed)
        metrics.count("calls_failed", "Remote calls whose handler raised an exception.", lambda: self.bayeux.services.calls_failed)

    def _observe_latencies(self) -> None:
        self.metrics.histogram(
            "loop_lag_seconds",
            "How late a heartbeat on the event loop came, ten times a second: how long others waited for what held the loop.",
            self.loop_watch.lag,
        )
        self.metrics.histogram(
            "delivery_latency_seconds",
            "Time from publishing a message (on a log channel: from when it is on disk) until the connections of all its subscribers have "
            "it. `few` subscribers are served within one tick, `many` in slices. Of messages that leave together, the time of the first.",
            {"few": self.hub.flusher.direct_latency, "many": self.hub.fan_outs.latency},
            "fan_out",
        )
        self.metrics.histogram(
            "outbox_delivery_latency_seconds",
            "Time from recording an event to the answer by which a webhook endpoint took it, retries included.",
            self.outbox.worker.latency,
        )

    def _in_trouble(self) -> int:
        return sum(each.condition.trouble is not None for each in self._watched)

    async def _database_readiness(self) -> str | None:
        return await self.transactions.trouble() or await self.security.gate.readiness()

    @staticmethod
    def _readiness_of(watched: Watched) -> Callable[[], Awaitable[str | None]]:
        async def readiness() -> str | None:
            return await watched.trouble()

        return readiness

    def _end_revoked(self, gone: Gone) -> None:
        """A credential was removed or ran out: so do the sessions that it opened."""
        self.loop.spawn(end_revoked(self.hub, gone))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        compile_routes(self.rest)
        started: list[Service] = []
        try:
            for service in self._services:
                try:
                    await service.start()
                except Exception as fault:
                    self._start_fault = fault
                    raise
                started.append(service)
            yield
        finally:
            for service in reversed(started):
                try:
                    await service.stop()
                except Exception:
                    # the others are stopped all the same: they hold files
                    _log.exception("service_stop_failed", service=type(service).__name__)
            await self.loop.close()
            await self.bus.close()
            await self.channel_log.close()
            await self.eventlog.close()

    def _listens_on(self, port: int) -> None:
        self.hosts.port = port

    def _why_not_started(self) -> str | None:
        return None if self._start_fault is None else explain(self._start_fault, self.settings)

    async def _drain(self) -> None:
        """Send the clients away before the sockets are closed, so that they come back to another node, and not all at once."""
        self.health.drain()
        seconds = self.settings.drain_seconds / 2
        await asyncio.gather(self.bayeux_door.drain(seconds), self.dashboards.drain(seconds), self.streams.drain(seconds))

    async def run(self, on_ready: Callable[[int], object]) -> None:
        """Serve until SIGTERM or SIGINT; ``on_ready`` gets the port.

        Raises:
            StartError: a port cannot be bound, or a service did not start.
        """
        _log.info("starting", version=__version__, data_dir=str(self.settings.data_dir))
        await serve(
            self.app,
            host=self.settings.host,
            port=self.settings.port,
            metrics_app=Front([], self.metrics.app(), self.settings.limits),
            metrics_port=self.settings.metrics_port,
            on_bound=self._listens_on,
            on_ready=on_ready,
            drain=self._drain,
            drain_seconds=self.settings.drain_seconds,
            limits=self.settings.limits,
            explain=self._why_not_started,
            counters=self.http_counters,
            connections=self.connections,
        )


def _log_fault(subscriber: Recipient, fault: Exception) -> None:
    _log.error("flush_failed", subscriber=type(subscriber).__name__, exc_info=fault)


def _log_extension_fault(source: object, fault: Exception) -> None:
    name = getattr(source, "__qualname__", type(source).__qualname__)
    _log.error("extension_failed" if not isinstance(source, BayeuxServer) else "message_failed", source=name, exc_info=fault)
