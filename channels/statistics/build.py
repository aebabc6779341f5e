"""What the statistics family puts into a hub."""

from __future__ import annotations

from collections.abc import Callable

from channels.events import EVENT_CONSUMER
from channels.statistics.channels import declarations
from channels.statistics.routes import create_routers
from channels.statistics.service.local import LocalStatServer
from hub.family import Context, Parts

STAT_SERVER = "stat-server"
"""The role of the :class:`channels.statistics.service.interface.StatServer` among a family's services."""

GAUGES = "gauges"
"""The role of values that rise and fall: name to HELP text and a function that reads it."""

COUNTERS = "counters"
"""The role of what a family counts: part of ``/metrics`` to a entries dataclass of integers."""


def _gauges(server: LocalStatServer) -> dict[str, tuple[str, Callable[[], float]]]:
    return {
        "statistics_objects": (
            "Agents, queues, groups and staging areas that events named and that were not forgotten, of all tenants.",
            server.object_count,
        ),
        "statistics_interactions": (
            "Interactions in which something goes on, of all tenants; `statistics.max_interactions` bounds those of each.",
            server.interaction_count,
        ),
        "statistics_open": ("Statistics that subscriptions have open, of all tenants.", server.open_count),
        "statistics_events_waiting": ("Events that were taken and wait to be applied, of all tenants.", server.waiting_count),
    }


def build(context: Context) -> Parts:
    """The stat server of this process, its REST API and its channels."""
    server = LocalStatServer(hub=context.hub, eventlog=context.eventlog, clock=context.clock, settings=context.section("statistics"))
    return Parts(
        routers=create_routers(server, max_body_bytes=context.hub.limits.max_request_bytes),
        channels=declarations(server),
        services=[server],
        roles={EVENT_CONSUMER: server, STAT_SERVER: server, COUNTERS: {"statistics": server.counters}, GAUGES: _gauges(server)},
        readiness={"statistics": server.failing},
    )
