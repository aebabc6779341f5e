"""The counters of core."""

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """What the hub counts; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "messages_published",
            "Messages that were published, once each, whether somebody was subscribed or not.",
            "",
            {"published": ""},
        ),
        CounterFamily(
            "messages_delivered",
            "Messages that were queued for sessions: one for each subscriber.",
            "",
            {"delivered": ""},
        ),
        CounterFamily(
            "messages_dropped",
            "Messages that a session did not get because its queue was full: `dropped` for good, or `conflated` into a snapshot.",
            "outcome",
            {"dropped": "dropped", "conflated": "conflated"},
        ),
        CounterFamily(
            "messages_replayed",
            "Messages that were read from the log for sessions that asked for what they missed.",
            "",
            {"replayed": ""},
        ),
        CounterFamily(
            "slow_sessions",
            "Sessions that did not keep up, by the reason why the server intervened.",
            "reason",
            {"too_slow": "log_overflow", "over_budget": "over_budget", "replays_broken": "replay_broken"},
        ),
        CounterFamily(
            "recoveries",
            "Subscriptions from a position, by whether all that came after it is there still.",
            "outcome",
            {"recovered": "complete", "not_recovered": "incomplete"},
        ),
        CounterFamily(
            "operations_denied",
            "Publishes and subscriptions that the caller may not do.",
            "",
            {"denied": ""},
        ),
        CounterFamily(
            "arrivals_held",
            "Opening WebSockets, handshakes and subscribes that waited for a later turn of the event loop, so that others are served"
            " between them.",
            "",
            {"arrivals_held": ""},
        ),
        CounterFamily(
            "subscriptions_narrowed",
            "Subscriptions to a wildcard of which the caller hears a part, for want of an operation.",
            "",
            {"narrowed": ""},
        ),
        CounterFamily(
            "sessions_renewed",
            "Newer credentials that live sessions showed, by whether they took the place of the old one.",
            "outcome",
            {"renewed": "taken", "renewals_refused": "refused"},
        ),
        CounterFamily(
            "sessions_told_of_their_end",
            "Notices to live sessions that their credential ends soon.",
            "",
            {"expiry_notices": ""},
        ),
        CounterFamily(
            "sessions_refused",
            "Sessions that were not opened for a limit, by whose it was.",
            "limit",
            {
                "refused_by_process": "process",
                "refused_by_tenant": "tenant",
                "refused_by_tenant_rate": "tenant_rate",
                "refused_by_address_rate": "address_rate",
                "refused_unconnected": "unconnected",
            },
        ),
        CounterFamily(
            "bus_losses",
            "Times that messages between nodes were lost: in a gap that the log does not fill, or with the end of a log.",
            "kind",
            {"gaps": "gap", "resets": "reset"},
        ),
        CounterFamily(
            "flush_faults",
            "Exceptions that were raised while one session was sent what waited for it.",
            "",
            {"faults": ""},
        ),
    )

    published: int = 0
    """Messages that were published."""
    delivered: int = 0
    """Messages that were queued for sessions: one for each subscriber."""
    dropped: int = 0
    """``event`` messages that a full queue refused."""
    conflated: int = 0
    """``state`` messages that were removed from a full queue, in favour of a snapshot."""
    too_slow: int = 0
    """Sessions that were ended because a ``log`` channel overflowed."""
    over_budget: int = 0
    """Sessions whose queue was shed because too much waited for all sessions together."""
    replayed: int = 0
    """Messages that were read from the log for sessions that asked for what they missed."""
    recovered: int = 0
    """Subscriptions from a position after which nothing is missing."""
    not_recovered: int = 0
    """Subscriptions from a position after which something may be missing."""
    replays_broken: int = 0
    """Sessions that were ended because what they had still to replay was gone, or the log could not be read."""
    denied: int = 0
    """Publishes and subscriptions that the caller may not do."""
    arrivals_held: int = 0
    """Pieces of the arrival of sessions that waited for a later turn of the event loop."""
    narrowed: int = 0
    """Subscriptions to a wildcard of which the caller may hear a part."""
    renewed: int = 0
    """Newer credentials that took the place of a session's old one."""
    renewals_refused: int = 0
    """Credentials that a live session showed and that were wrong, or another caller's."""
    expiry_notices: int = 0
    """Notices to live sessions that their credential ends soon."""
    refused_by_process: int = 0
    """Sessions that were not opened because the process holds ``max_sessions``."""
    refused_by_tenant: int = 0
    """Sessions that were not opened because their tenant has its share of them."""
    refused_by_tenant_rate: int = 0
    """Sessions that were not opened because their tenant opened too many in a second."""
    refused_by_address_rate: int = 0
    """Sessions that were not opened because their address asked for too many in a second."""
    refused_unconnected: int = 0
    """Sessions that were not opened because too many shook hands and never connected."""
    gaps: int = 0
    """Gaps in what the bus brings that the log could not fill."""
    resets: int = 0
    """Logs that came back with less than they had."""
    faults: int = 0
    """Exceptions that a flush of one session raised."""
