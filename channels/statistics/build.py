"""What the statistics family puts into a hub."""

from __future__ import annotations

from channels.events import EVENT_CONSUMERS
from channels.statistics.channels import declarations
from channels.statistics.routes import create_administration_router, create_router, register_errors
from channels.statistics.service.local import LocalStatServer
from channels.statistics.settings import StatisticsSettings
from hub.core.metric import Gauge
from hub.family import Context, Parts


def _gauges(server: LocalStatServer) -> list[Gauge]:
    return [
        Gauge(
            "statistics_objects",
            "Agents, queues, groups and staging areas that events named and that were not forgotten, of all tenants.",
            server.object_count,
        ),
        Gauge(
            "statistics_interactions",
            "Interactions in which something goes on, of all tenants; `statistics.max_interactions` bounds those of each.",
            server.interaction_count,
        ),
        Gauge("statistics_open", "Statistics that subscriptions have open, of all tenants.", server.open_count),
        Gauge("statistics_events_waiting", "Events that were taken and wait to be applied, of all tenants.", server.waiting_count),
    ]


def build(context: Context) -> Parts:
    """The stat server of this process, its REST API and its channels."""
    register_errors(context.errors)
    server = LocalStatServer(
        hub=context.hub, eventlog=context.eventlog, clock=context.clock, settings=context.section("statistics", StatisticsSettings)
    )
    return Parts(
        routers=[create_router(server, max_body_bytes=context.hub.limits.max_request_bytes), create_administration_router(server)],
        channels=declarations(server),
        services=[server],
        offers=[EVENT_CONSUMERS.offer(server)],
        counters={"statistics": server.counters},
        gauges=_gauges(server),
        readiness={"statistics": server.failing},
    )
