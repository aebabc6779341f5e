"""A node: one process of the hub, built from settings and families. Only this module knows all the parts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp

from hub import __version__
from hub.backends import open_backends
from hub.background import unordered
from hub.bayeux.server import BayeuxServer
from hub.cluster.addresses import listen_address
from hub.cluster.leased_ownership import LeasedOwnership
from hub.cluster.owners import parts_of as of_ownership
from hub.cluster.ownership import Ownership
from hub.cluster.relay.build import Relay
from hub.cluster.relay.tuning import RelayTuning
from hub.collector import ArrivalCollector
from hub.core.delivery import ChannelRegistry
from hub.core.hub import Hub
from hub.core.recipient import Recipient
from hub.core.session_ids import new_incarnation
from hub.eventlog.tenant_logs import TenantLogs
from hub.eventlog.trimmer import Trimmer
from hub.families import access_of, migrations_of, webhook_types, whole
from hub.family import Context, Family, ProcessRole, Service, of_process, process_roles
from hub.http.application import create_app
from hub.http.body import BodyBudget
from hub.http.error_table import ErrorTable
from hub.http.fast_router import FastRouter
from hub.http.routing import operations_asked
from hub.http.tracing import Tracing
from hub.node_metrics import of_endpoints, of_hub, of_import, of_redis, of_relay, of_storage, of_workers, readiness_of, show
from hub.ops.health import Health
from hub.ops.metrics import Metrics
from hub.ops.plugins import load_extensions
from hub.ops.repeats import RepeatedErrors, Repeats
from hub.ops.settings import Settings, SettingsError
from hub.ops.start_errors import explain
from hub.ops.usable import check_supported
from hub.security.connections import Connections
from hub.security.hosts import DemoGuard, Hosts
from hub.security.secret import signing_secret
from hub.security.service import Security
from hub.security.trusted_proxies import trusted_proxies
from hub.signals import SignalHearing
from hub.steady_clock import SteadyClock
from hub.storage.disk import Disk
from hub.storage.private_folder import make_private
from hub.storage.service import DatabaseService
from hub.storage.watch import StorageWatch, Watched
from hub.transports.bayeux import BayeuxEndpoint
from hub.transports.dashboard_websocket import DashboardEndpoint
from hub.transports.dispatcher import Dispatcher, Endpoint
from hub.transports.http_config import HttpCounters
from hub.transports.loop_watch import LoopWatch
from hub.transports.orders import Orders
from hub.transports.runtime import AsyncioLoop, SystemClock, TimerDriver
from hub.transports.server import serve
from hub.transports.sse import EventStreamEndpoint
from hub.workers.metrics import WorkerMetrics
from hub.workers.seat import Seat

if TYPE_CHECKING:
    from hub.cluster.build import ClusterParts
    from hub.eventlog.event_import import EventImport

_log = structlog.get_logger(__name__)


class Node:
    """One process of the hub. Make it once, in a running event loop; :meth:`run` serves until the process gets a signal."""

    def __init__(self, settings: Settings, families: Sequence[Family], repeats: Repeats | None = None, seat: Seat | None = None) -> None:
        """Put the parts together; nothing is started and no port is open yet.

        Args:
            settings: of the hub and of all ``families``.
            families: the families in addition to the hub's own (:data:`hub.families.OWN`).
            repeats: counts the repeated errors of the process.
            seat: the place of this process among several workers; None: it serves alone on this machine.

        Raises:
            AccessError: the operations, grants or scopes of the families contradict each other.
            SettingsError: see :func:`hub.ops.usable.check_supported`; or ``replay.channels`` names channels of a family that cannot be
                kept.
            InUseError, LogInUseError: another hub runs on the same data folder.
        """
        check_supported(settings)
        make_private(settings.data_dir)
        self.settings = settings
        self._seat = seat
        self._start_fault: Exception | None = None
        self.clock = SystemClock()
        self.steady_clock = SteadyClock(self.clock, settings.clock)
        self.loop = AsyncioLoop()
        self.incarnation = new_incarnation()
        self.access = access_of(families)
        # open the logs before the database: their lock refuses a second hub before it can open the database's file
        keeps_files = seat is None or seat.keeps_files
        linked = listen_address(settings, seat) is not None
        self._backends = open_backends(
            settings, self.clock, self.incarnation, linked=linked, keeps_files=keeps_files, steady=self.steady_clock
        )
        self.channel_log = self._backends.channel_log.log
        self.storage = DatabaseService(
            settings.database, migrations=migrations_of(families), exclusive=keeps_files, patience=settings.patience
        )
        self.transactions = self.storage.transactions
        redis = self._backends.redis
        self.security = Security(settings, self.clock, self.transactions, self.access, None if redis is None else redis.shared)
        self.hub = Hub(
            bus=self._backends.bus,
            log=self.channel_log,
            registry=ChannelRegistry(),
            authorizer=self.security.gate.decisions,
            loop=self.loop,
            clock=self.clock,
            on_fault=_log_fault,
            limits=settings.limits,
            incarnation=self.incarnation,
        )
        self.cluster = self._find_nodes()
        self._event_import: EventImport | None = None
        self.ownership = self._find_owners()
        self._leased = self.ownership if isinstance(self.ownership, LeasedOwnership) else None
        self.hosts = Hosts.of(settings)
        self.errors = ErrorTable(settings.limits.max_errors_told)
        self.context = Context(
            settings,
            self.hub,
            self._backends.event_log.log,
            self.security.gate,
            self.clock,
            self.transactions,
            hosts=self.hosts,
            errors=self.errors,
            access=self.access,
            roles=process_roles(settings.role),
            alone=self.storage.database.is_sqlite and seat is None,
            redis=None if redis is None else redis.shared,
            cluster=None if self.cluster is None else self.cluster.cluster,
            ownership=self.ownership,
            leased=self._leased is not None,
            webhook_types=webhook_types(families),
        )
        self.context.steady_clock = self.steady_clock
        self.parts = self.context.parts
        for family in of_process(whole(families), settings.role):
            self._plug(family)
        self._share_folders()
        self._keep_channels()
        self._open_endpoints()
        self._services = self._put_in_order(repeats)
        self._observe()
        self._mount()

    def _find_nodes(self) -> ClusterParts | None:
        """The registry of nodes, and the links to them; None where the hub is this process alone."""
        redis = self._backends.redis
        if redis is None:
            return None
        from hub.cluster.build import build_cluster  # imported here, because most hubs do not need it

        secret = signing_secret(self.settings)
        parts = build_cluster(self.settings, redis, self.incarnation, secret, self.clock, self.transactions, seat=self._seat)
        redis.follow(parts.registry)
        redis.before_writing = parts.registry.look_at_list
        return parts

    def _find_owners(self) -> Ownership | None:
        """Who owns which tenant; None where the hub is this process alone, or its nodes have no links."""
        redis = self._backends.redis
        if self.cluster is None or self.cluster.cluster is None or redis is None:
            return None
        from hub.cluster.owners import build_ownership  # likewise

        ownership = build_ownership(
            self.settings,
            self.cluster.cluster,
            self.transactions,
            self.clock,
            claim=redis.claim if self._backends.event_log.shared else None,
            worker=None if self._seat is None else self._seat.index,
            clock_is_right=self.cluster.registry.clock_is_right,
        )

        def fenced(tenant: str, epoch: int) -> None:
            fence = ownership.fence(tenant)
            if fence is not None and fence.number == epoch:
                ownership.deposed(tenant, fence)

        redis.on_fenced.append(fenced)
        if isinstance(ownership, LeasedOwnership) and ProcessRole.STAT_SERVER in process_roles(self.settings.role):
            self._event_import = self._import_into(ownership)
        return ownership

    def _import_into(self, ownership: LeasedOwnership) -> EventImport:
        """Brings along what this hub counted when it was alone."""
        from hub.eventlog.event_import import EventImport
        from hub.eventlog.postgresql import PostgresEventLog

        log = self._backends.event_log.log
        assert isinstance(log, PostgresEventLog)
        event_import = EventImport(self.settings.data_dir, log, ownership.want_first, ownership.ask_for)
        ownership.workers.append(event_import)
        return event_import

    def _plug(self, family: Family) -> None:
        """Build a family, check the operations that it names, and declare its channels."""
        part = family.build(self.context)
        where = f"family {family.name}"
        self.access.check((each.operation for each in part.channels if each.operation), f"{where}: channels")
        self.access.check((each.operation for each in part.fast_routes), f"{where}: fast routes")
        self.access.check(operations_asked(part.routers), f"{where}: routes")
        for declaration in part.channels:
            self.hub.registry.declare(declaration)
        self.parts.append(part)

    def _share_folders(self) -> None:
        """Have the folders compared that the nodes of one hub must have in common. Hubs with a SQLite each are not one."""
        if self.cluster is None or self.storage.database.is_sqlite:
            return
        for part in self.parts:
            for setting, folder in part.shared_folders.items():
                self.cluster.registry.share(setting, folder)

    def _keep_channels(self) -> None:
        problems = []
        for pattern in self.settings.replay.channels:
            try:
                self.hub.registry.keep(pattern, "kept by the setting replay.channels")
            except ValueError as fault:
                problems.append(f"replay.channels: expected channels that may be kept, got {pattern}: {fault}")
        if problems:
            raise SettingsError(problems)

    def _open_endpoints(self) -> None:
        """Make the endpoint of each protocol, and the limits that they share."""
        settings, gate = self.settings, self.security.gate
        self.connections = Connections(settings.limits, trusted_proxies(settings))
        self.http_counters = HttpCounters()
        self.bodies = BodyBudget(settings.limits)
        cluster = self.context.cluster
        self.relay = None if cluster is None else Relay(cluster, settings.limits, RelayTuning.of(settings.cluster))
        self.bayeux = BayeuxServer(
            self.hub,
            gate,
            extensions=load_extensions(settings.extensions),
            on_fault=_log_extension_fault,
            clustered=cluster is not None,
        )
        self.bayeux_endpoint = BayeuxEndpoint(self.bayeux, gate, self.bodies, None if self.relay is None else self.relay.sessions)
        self.dashboards = DashboardEndpoint(self.hub, gate)
        self.streams = EventStreamEndpoint(self.hub, gate)

    def _put_in_order(self, repeats: Repeats | None) -> list[Service]:
        """The services in the order in which they start."""
        self.trimmer = Trimmer(self.channel_log)
        self.tenant_logs = TenantLogs(self.channel_log, self.transactions, self.clock)
        self.security.gate.on_revoked.append(self.tenant_logs.changed)
        self.loop_watch = LoopWatch(self.settings.log_slow_ms)
        logs = (self._backends.event_log.file, self._backends.channel_log.file)
        self._watched: list[Watched] = [self.transactions, *(file for file in logs if file is not None)]
        return [
            *([] if repeats is None else [RepeatedErrors(repeats)]),
            *self._redis_services(),
            self.storage,
            *(() if self.cluster is None else self.cluster.services),
            self.security,
            SignalHearing(self.hub.signals),
            TimerDriver(self.hub.timers, self.hub.budget.step),
            ArrivalCollector(self.hub.sessions.on_attached),
            self.loop_watch,
            self.trimmer,
            self.tenant_logs,
            *(service for part in self.parts for service in part.services),
            *(service for part in self.parts for service in part.late_services),
            StorageWatch(self._watched, self.settings.readiness.look_s),
            *([] if self.cluster is None else [self.cluster.membership]),
            *([] if self._event_import is None else [self._event_import]),
            *([] if self._leased is None else [self._leased]),
        ]

    def _redis_services(self) -> list[Service]:
        """The bus over Redis, and what keeps positions of a hub that was alone from being taken for those of the log in Redis."""
        redis = self._backends.redis
        if redis is None:
            return []
        from hub.eventlog.old_positions import OldPositions  # imported here, because most hubs do not need it

        return [redis, OldPositions(self.settings.data_dir, redis.log)]

    def _observe(self) -> None:
        """Add the metrics of every part to ``/metrics``, and the checks of every part to ``/readyz``."""
        self.metrics = Metrics()
        redis = self._backends.redis
        for part in (
            of_hub(self.hub, self.trimmer, self.tenant_logs, self.loop_watch, self.steady_clock),
            of_endpoints(self.connections, self.http_counters, self.bodies, self.bayeux, self.dashboards, self.streams),
            of_storage(self.transactions, self._watched),
            *([] if self.relay is None else [of_relay(self.relay)]),
            *([] if redis is None else [of_redis(redis)]),
            *([] if self.cluster is None else [self.cluster.parts()]),
            *([] if self._leased is None else [of_ownership(self._leased)]),
            *([] if self._event_import is None else [of_import(self._event_import)]),
            *self.parts,
        ):
            show(self.metrics, part)
        if self._seat is not None:
            workers = WorkerMetrics(self._seat, self.metrics.render, self.settings.supervision.metrics_s)
            show(self.metrics, of_workers(workers))
            self.metrics.gather = workers.render
            self._services.append(workers)
        self.health = Health(strict=self.settings.readiness.strict)
        self.health.register("database", self._database_readiness, shared=not self.storage.database.is_sqlite)
        for name, file in (("events", self._backends.event_log.file), ("channels", self._backends.channel_log.file)):
            if file is not None:
                self.health.register(name, readiness_of(file), shared=name == "events" and self._backends.event_log.shared)
        if redis is not None:
            self.health.register("redis", redis.trouble, shared=True)
            self.health.register("bus", redis.deaf)
        if self.cluster is not None:
            self.health.register("cluster", self.cluster.registry.trouble, shared=True)
        if self._event_import is not None:
            self.health.register("import", self._event_import.failing, shared=True)
        # degraded: what ended one of its tasks may have ended that of every node
        self.health.register("background", unordered.trouble, shared=True)
        self.health.register("disk", Disk(self.settings.data_dir, self.settings.readiness.min_free_bytes).readiness)
        for part in self.parts:
            for name, check in part.readiness.items():
                self.health.register(name, check)

    def _mount(self) -> None:
        """Combine REST, pages and the endpoints into one ASGI application."""
        gate, limits = self.security.gate, self.settings.limits
        self.rest = create_app(
            routers=[router for part in self.parts for router in part.routers],
            routes=[route for part in self.parts for route in part.routes],
            gate=gate,
            metrics=self.metrics,
            health=self.health,
            limits=limits,
            errors=self.errors,
            any_origin=[path for part in self.parts for path in part.any_origin],
            no_origin=[path for part in self.parts for path in part.no_origin],
            page_headers={path: headers for part in self.parts for path, headers in part.page_headers.items()},
            lifespan=self._lifespan,
        )
        open_routes = [*self.rest.state.open_routes, *(path for part in self.parts for path in part.open_routes)]
        fast_routes = [path for part in self.parts for path in part.fast_routes]
        serves_clients = ProcessRole.EDGE in self.context.roles
        endpoints: list[Endpoint] = [self.bayeux_endpoint, self.dashboards, self.streams] if serves_clients else []
        endpoints += [endpoint for part in self.parts for endpoint in part.endpoints]
        own_routes = [path for part in self.parts for path in part.own_routes]
        rest = FastRouter(Tracing(self.rest, self.errors), fast_routes, gate, self.metrics, open_routes, self.errors, own_routes, limits)
        guards = [DemoGuard(self.hosts, gate).refusal] if self.settings.demo else []
        self.app: ASGIApp = Dispatcher(endpoints, rest, limits, self.bodies, guards, self.errors)
        if self.relay is not None:  # the node that relays a request has called the guards
            self.relay.serve(Dispatcher(endpoints, rest, limits, self.bodies, errors=self.errors), self.bayeux)

    async def _database_readiness(self) -> str | None:
        return await self.transactions.trouble() or await self.security.gate.readiness()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
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
                    # the other services are stopped too: they hold files open
                    _log.exception("service_stop_failed", service=type(service).__name__)
            await self.loop.close()
            await self._backends.close()

    def _listens_on(self, port: int) -> None:
        self.hosts.port = port

    def _why_not_started(self) -> str | None:
        return None if self._start_fault is None else explain(self._start_fault, self.settings)

    async def _drain(self) -> None:
        """Disconnect the clients before the sockets are closed, so that they reconnect to another node, and not all at once."""
        self.health.drain()
        if self.cluster is not None:
            await self.cluster.registry.drain()
        if self._leased is not None:
            await self._leased.hand_over()
        seconds = self.settings.drain_seconds / 2
        drains = [
            self.bayeux_endpoint.drain,
            self.dashboards.drain,
            self.streams.drain,
            *(each for part in self.parts for each in part.drains),
        ]
        await asyncio.gather(*(drain(seconds) for drain in drains))

    async def run(self, on_ready: Callable[[int], object], orders: Orders | None = None) -> None:
        """Serve until SIGTERM or SIGINT, or until one of ``orders`` comes; ``on_ready`` gets the port.

        Raises:
            StartError: a port cannot be bound, or a service did not start.
        """
        listener, metrics_listener = (None, None) if self._seat is None else self._seat.sockets()
        log = _log.info if self._seat is None else _log.debug  # the parent of several workers says it once
        log("starting", version=__version__, data_dir=str(self.settings.data_dir))
        await serve(
            self.app,
            host=self.settings.host,
            port=self.settings.port,
            metrics_app=Dispatcher([], self.metrics.app(), self.settings.limits),
            metrics_port=self.settings.metrics_port if self._seat is None else None,
            listener=listener,
            metrics_listener=metrics_listener,
            on_bound=self._listens_on,
            on_ready=on_ready,
            drain=self._drain,
            drain_seconds=self.settings.drain_seconds,
            limits=self.settings.limits,
            explain=self._why_not_started,
            counters=self.http_counters,
            connections=self.connections,
            errors=self.errors,
            arrivals=self.hub.arrivals,
            orders=orders,
            settle_s=self.settings.supervision.settle_s,
            tls=self.settings.tls,
        )


def _log_fault(subscriber: Recipient, fault: Exception) -> None:
    _log.error("flush_failed", subscriber=type(subscriber).__name__, exc_info=fault)


def _log_extension_fault(source: object, fault: Exception) -> None:
    name = getattr(source, "__qualname__", type(source).__qualname__)
    _log.error("extension_failed" if not isinstance(source, BayeuxServer) else "message_failed", source=name, exc_info=fault)
