"""What the statistics family puts into a hub."""

from __future__ import annotations

from dataclasses import replace

from channels.events import EVENT_CONSUMERS
from channels.statistics.channels import declarations
from channels.statistics.routes import create_administration_router, create_router, register_errors
from channels.statistics.service.cluster import ClusterStatServer
from channels.statistics.service.guests import Guests
from channels.statistics.service.interface import StatServer
from channels.statistics.service.local import LocalStatServer
from channels.statistics.settings import StatisticsSettings
from hub.cluster.cluster import Cluster
from hub.cluster.ownership import Ownership
from hub.core.metric import Count, Gauge, Latency
from hub.core.time_slice import TimeSlice
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
        Gauge(
            "statistics_user_data_bytes",
            "Bytes of the user data of interactions that are not over, of all tenants; `statistics.max_all_user_data_bytes` bounds each.",
            server.user_data_bytes,
        ),
        Gauge(
            "statistics_held_bytes",
            "Bytes of events that wait for their time, of all tenants; `statistics.max_held_bytes` bounds those of each.",
            server.held_bytes,
        ),
        Gauge("statistics_open", "Statistics that subscriptions have open, of all tenants.", server.open_count),
        Gauge("statistics_events_waiting", "Events that were taken and wait to be applied, of all tenants.", server.waiting_count),
    ]


def build(context: Context) -> Parts:
    """The stat server of this process, its REST API and its channels."""
    register_errors(context.errors)
    settings = context.section("statistics", StatisticsSettings)
    if context.cluster is not None and context.ownership is not None:
        return _build_in_cluster(context, settings, context.cluster, context.ownership)
    server = LocalStatServer(hub=context.hub, eventlog=context.eventlog, clock=context.clock, settings=settings)
    return _parts(context, server, server)


def _build_in_cluster(context: Context, settings: StatisticsSettings, cluster: Cluster, ownership: Ownership) -> Parts:
    """The stat server of one of several nodes: its own for the tenants that it owns, those of other nodes for all others."""
    guests = Guests(context.hub.logins, settings.node_grace_s)
    local = LocalStatServer(
        hub=context.hub,
        eventlog=context.eventlog,
        clock=context.clock,
        settings=settings,
        logins=guests,
        ownership=ownership,
        leased=context.leased,
    )
    guests.serve(local)
    ownership.workers.append(local)
    server = ClusterStatServer(
        local,
        guests,
        hub=context.hub,
        cluster=cluster,
        ownership=ownership,
        clock=context.clock,
        answer_s=settings.answer_s,
    )
    parts = _parts(context, server, local)
    return replace(
        parts,
        services=[local, server],
        counters={**parts.counters, "stat_requests": server.counters},
        latencies=[
            Latency(
                "stat_requests_seconds",
                "Time from a request to the stat server of another node to the end of its answer.",
                server.remote.latency,
            )
        ],
        gauges=[
            *parts.gauges,
            Gauge(
                "statistics_tenants_followed", "Tenants whose owner this node calls, since it has clients of them.", lambda: server.followed
            ),
        ],
    )


def _parts(context: Context, server: StatServer, local: LocalStatServer) -> Parts:
    """What both forms have: ``server`` is asked by clients, ``local`` does the work of this process."""
    return Parts(
        routers=[
            create_router(server, lambda: TimeSlice(context.clock, context.hub.loop), max_body_bytes=context.hub.limits.max_request_bytes),
            create_administration_router(server),
        ],
        channels=declarations(server),
        services=[local],
        offers=[EVENT_CONSUMERS.offer(local)],
        counters={"statistics": local.counters},
        gauges=_gauges(local),
        counts=[
            Count(
                "statistics_states_cut",
                "Values of CurrentState without the user data of some agents: it was more than `statistics.max_state_user_data_bytes`.",
                local.states_cut,
            )
        ],
        readiness={"statistics": local.failing},
    )
