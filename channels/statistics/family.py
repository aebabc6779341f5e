"""What the statistics family puts into a hub."""

from __future__ import annotations

from channels.events import EVENT_CONSUMER
from channels.statistics.api import create_routers
from channels.statistics.channels import declarations
from channels.statistics.cli import register
from channels.statistics.service.owner_local import LocalStatServer
from channels.statistics.settings import StatisticsSettings
from hub.family import Context, Family, Parts

NAME = "statistics"

STAT_SERVER = "stat-server"
"""The role of the :class:`channels.statistics.service.owner.StatServer` among a family's services."""

COUNTERS = "counters"
"""The role of what a family counts: part of ``/metrics`` to a slots dataclass of integers."""


def build(context: Context) -> Parts:
    """The stat server of this process, its REST API and its channels."""
    server = LocalStatServer(hub=context.hub, eventlog=context.eventlog, clock=context.clock, settings=context.section(NAME))
    return Parts(
        routers=create_routers(server, max_body_bytes=context.hub.limits.max_request_bytes),
        channels=declarations(server),
        services=[server],
        roles={EVENT_CONSUMER: server, STAT_SERVER: server, COUNTERS: {NAME: server.counters}},
        readiness={NAME: server.failing},
    )


family = Family(NAME, build=build, settings=StatisticsSettings, commands=register)
