"""The node's own metrics and readiness checks, as :class:`hub.family.Parts`, which families use for theirs too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from hub.background import unordered
from hub.bayeux.server import BayeuxServer
from hub.cluster.relay.build import Relay
from hub.core.hub import Hub
from hub.core.metric import Count, Gauge, Latency
from hub.eventlog.tenant_logs import TenantLogs
from hub.eventlog.trimmer import Trimmer
from hub.family import Parts
from hub.http.body import BodyBudget
from hub.ops.metrics import Metrics
from hub.security.connections import Connections
from hub.steady_clock import SteadyClock
from hub.storage.transactions import Transactions
from hub.storage.watch import Watched
from hub.transports.dashboard_websocket import DashboardEndpoint
from hub.transports.http_config import HttpCounters
from hub.transports.loop_watch import LoopWatch
from hub.transports.sse import EventStreamEndpoint
from hub.workers.metrics import WorkerMetrics

if TYPE_CHECKING:
    from hub.bus.redis.bus import RedisBus
    from hub.eventlog.event_import import EventImport


def show(metrics: Metrics, part: Parts) -> None:
    """Add the metrics of a part to ``/metrics``.

    Raises:
        ValueError: another part has a metric of the same name.
    """
    for name, source in part.counters.items():
        metrics.counters(name, source)
    for gauge in part.gauges:
        metrics.gauge(*gauge)
    for count in part.counts:
        metrics.count(*count)
    for latency in part.latencies:
        metrics.histogram(*latency)


def of_import(event_import: EventImport) -> Parts:
    """Metrics of the events that a hub that was alone brings along."""
    return Parts(
        gauges=[
            Gauge(
                "event_import_waiting",
                "Tenants of a hub that was alone whose events in `events.db` are not imported yet.",
                lambda: event_import.waiting,
            ),
            Gauge(
                "event_import_refused",
                "Tenants of a hub that was alone whose events in `events.db` cannot be imported, since PostgreSQL has others of them.",
                lambda: event_import.refused,
            ),
        ]
    )


def of_hub(hub: Hub, trimmer: Trimmer, tenant_logs: TenantLogs, loop_watch: LoopWatch, steady_clock: SteadyClock) -> Parts:
    """Metrics of sessions, topics and deliveries, and of the event loop."""
    return Parts(
        counters={"": hub.counters, "background": unordered.counters, "clock": steady_clock.counters},
        gauges=[
            Gauge("sessions", "Sessions of every endpoint that are open now.", lambda: len(hub.sessions)),
            Gauge(
                "arrivals_waiting",
                "Opening WebSockets, handshakes and subscribes that wait for a turn of the event loop.",
                lambda: len(hub.arrivals),
            ),
            Gauge("waiting_bytes", "Bytes that wait for clients, when last counted.", lambda: hub.budget.waiting_bytes),
            Gauge("topics", "Topics that somebody is subscribed to.", lambda: len(hub.router)),
            Gauge("timers", "Timers that are set.", lambda: len(hub.timers)),
            Gauge(
                "clock_ahead_seconds",
                "Seconds by which the time of day has leapt ahead and is not believed yet (`clock.hold_s`), when last looked at.",
                lambda: steady_clock.held_s,
            ),
        ],
        counts=[
            Count("log_messages_trimmed", "Messages of log channels that were forgotten for their age.", lambda: trimmer.trimmed),
            Count(
                "log_messages_of_removed_tenants",
                "Messages of log channels that were forgotten since their tenant was removed.",
                lambda: tenant_logs.forgotten,
            ),
        ],
        latencies=[
            Latency(
                "loop_lag_seconds",
                "How late a heartbeat on the event loop came, ten times a second: how long others waited for what held the loop.",
                loop_watch.lag,
            ),
            Latency(
                "delivery_latency_seconds",
                "Time from publishing a message (on a log channel: from when it is on disk) until the connections of all its subscribers "
                "have it. `few` subscribers are served within one tick, `many` in slices. Of messages that leave together, the time of "
                "the first.",
                {"few": hub.flusher.direct_latency, "many": hub.fan_outs.latency},
                "fan_out",
            ),
        ],
    )


def of_redis(bus: RedisBus) -> Parts:
    """Metrics of the messages to and from other nodes through Redis."""
    return Parts(
        counters={"redis": bus.counters},
        gauges=[
            Gauge("redis_pending", "Messages that wait to be published through Redis.", lambda: bus.pending),
            Gauge("redis_pending_bytes", "Bytes of messages that wait to be published through Redis.", lambda: bus.pending_bytes),
            Gauge("redis_lag_seconds", "Time that a message of this node to itself took by Redis, when last measured.", lambda: bus.lag_s),
            Gauge("redis_channels", "Channels of Redis that this node is subscribed to.", lambda: bus.channels),
        ],
    )


def of_relay(relay: Relay) -> Parts:
    """Metrics of the requests between nodes."""
    return Parts(
        counters={"relay": relay.counters},
        gauges=[Gauge("relay_waiting", "Requests that another node has not answered yet, held connects above all.", relay.http.__len__)],
    )


def of_workers(workers: WorkerMetrics) -> Parts:
    """Metrics of a process that is one of several workers."""
    return Parts(
        gauges=[
            Gauge("worker_life", "Processes that this worker's place has had: each above 1 replaced one before.", lambda: workers.life)
        ],
        counts=[Count("worker_silent", "Times that another worker did not give its metrics in time.", lambda: workers.silent)],
    )


def of_endpoints(
    connections: Connections,
    http: HttpCounters,
    bodies: BodyBudget,
    bayeux: BayeuxServer,
    dashboards: DashboardEndpoint,
    streams: EventStreamEndpoint,
) -> Parts:
    """Metrics of connections, requests and each protocol."""
    extensions = bayeux.extensions
    return Parts(
        counters={
            "http": http,
            "connections": connections.counters,
            "bodies": bodies.counters,
            "bayeux": bayeux.counters,
            "dashboard": dashboards.counters,
            "sse": streams.counters,
        },
        gauges=[
            Gauge("connections", "Connections of HTTP and WebSocket that are open now.", lambda: connections.count),
            Gauge("connections_unidentified", "Those of them that have shown no credential.", lambda: connections.unidentified),
            Gauge("bodies_buffered_bytes", "Bytes of bodies of requests that are not answered yet.", lambda: bodies.buffered_bytes),
            Gauge("bayeux_connects_held", "Connects that are held now.", lambda: bayeux.registry.connects_held),
            Gauge("sse_streams", "Event streams that are open now.", lambda: len(streams)),
        ],
        counts=[
            Count("extensions_refused", "Messages that an extension refused or dropped.", lambda: extensions.refused),
            Count("extensions_faults", "Exceptions that extensions raised.", lambda: extensions.faults),
            Count("calls_failed", "Remote calls whose handler raised an exception.", lambda: bayeux.services.calls_failed),
        ],
    )


def of_storage(transactions: Transactions, watched: Sequence[Watched]) -> Parts:
    """Metrics of the database. ``watched`` holds the database, and each of the two logs that has a file."""
    return Parts(
        counters={"database": transactions.counters},
        gauges=[
            Gauge("database_waiting", "Operations that wait for the database's writer.", lambda: transactions.waiting),
            Gauge(
                "databases_in_trouble",
                "Those of the database and the two logs that fail now.",
                lambda: sum(each.condition.trouble is not None for each in watched),
            ),
        ],
    )


def readiness_of(watched: Watched) -> Callable[[], Awaitable[str | None]]:
    """The check of ``/readyz`` for the file of a log."""

    async def readiness() -> str | None:
        return await watched.trouble()

    return readiness
