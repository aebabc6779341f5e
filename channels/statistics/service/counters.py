"""What the stat servers of all tenants count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """What the stat servers of all tenants count; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "events",
            "Events that came to the stat servers, by outcome: `skipped` were in the log but late when their turn came.",
            "outcome",
            {
                "events_applied": "applied",
                "events_late": "late",
                "events_ahead": "ahead",
                "events_behind": "behind",
                "events_over_limit": "limit",
                "events_skipped": "skipped",
            },
        ),
        CounterFamily(
            "subscriptions",
            "Subscriptions, by whether they were opened or closed.",
            "action",
            {"subscriptions_opened": "opened", "subscriptions_closed": "closed"},
        ),
        CounterFamily(
            "failures",
            "Failures of the stat servers, by what they were doing.",
            "task",
            {"snapshot_failures": "snapshot", "tick_failures": "tick", "housekeeping_failures": "housekeeping"},
        ),
    )

    events_applied: int = 0
    """Events that changed what is counted."""
    events_late: int = 0
    """Refused: older than what was taken for the same object."""
    events_ahead: int = 0
    """Refused: too far in the future."""
    events_behind: int = 0
    """Refused: older than ``max_behind_s``."""
    events_over_limit: int = 0
    """Refused: one object, group, member, interaction or medium too many, or too many that wait for their time."""
    events_skipped: int = 0
    """In the log, but late when their turn came: held back or replayed behind a newer one."""
    events_redated: int = 0
    """Events of the log that lay in the future, since a clock was ahead, and counted at another time."""
    times_set_back: int = 0
    """Times that the time of a tenant's statistics was set back, since the clock was ahead."""
    objects_forgotten: int = 0
    """Agents, queues, groups and staging areas that were forgotten, since no event spoke of them for ``forget_after_s``."""
    logins_ended: int = 0
    """Agents that were taken for logged out, since no event spoke of them for ``agent_idle_s``."""
    interactions_cleared: int = 0
    """Interactions that somebody ended by hand."""
    updates: int = 0
    """``StatisticUpdate`` notifications that were sent."""
    update_items: int = 0
    """Values in ``StatisticUpdate`` notifications."""
    values: int = 0
    """Notifications that were sent on values channels."""
    subscriptions_opened: int = 0
    """Subscriptions that were opened."""
    subscriptions_closed: int = 0
    """Subscriptions that were closed."""
    snapshots: int = 0
    """Snapshots that were written."""
    snapshot_failures: int = 0
    """Snapshots that could not be taken or written."""
    tick_failures: int = 0
    """Notifications that could not be sent, and whole ticks that failed."""
    deposed: int = 0
    """Notifications that were not sent, since this node owns the tenant no more."""
    housekeeping_failures: int = 0
    """Rounds of housekeeping that failed."""


@dataclass(slots=True)
class RemoteCounters:
    """What a node counts of its requests to the stat servers of other nodes."""

    requests: int = 0
    """Requests to the stat servers of other nodes."""
    failed: int = 0
    """Those that failed, since the node could not be reached or the link broke."""
    unanswered: int = 0
    """Those that were not answered in time."""
    not_owner: int = 0
    """Those that reached a node which did not own the tenant; they are sent to the owner."""
    no_owner: int = 0
    """Requests that found no owner of their tenant."""
    overtaken: int = 0
    """Present values of other nodes that were left out, since newer ones had come over the bus."""
    withheld: int = 0
    """Values of an owner that came while this node's clients were told UNAVAILABLE; they are sent the present values with AVAILABLE."""
    unsettled: int = 0
    """Times that present values of another node were sent although older ones could still come by Redis, which did not answer, or newer
    ones had come, more than are kept.
    """
    watches_broken: int = 0
    """Times that a node lost its call to a tenant's owner, by which it tells who is here and hears the service state."""
