"""What the outbox counts."""

from dataclasses import dataclass
from typing import ClassVar, Final

from hub.core.metric import CounterFamily

DELIVERY_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0)
"""Upper bounds of the buckets, in seconds. A delivery at the first attempt takes milliseconds, one at the last retry takes days."""


@dataclass(slots=True)
class Counters:
    """``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "events_recorded",
            "Events that this process recorded for webhooks and consumers.",
            "",
            {"recorded": ""},
        ),
        CounterFamily(
            "events_dispatched",
            "Events whose consumers ran and whose deliveries were made.",
            "",
            {"dispatched": ""},
        ),
        CounterFamily(
            "outcomes",
            "Webhook attempts, by what came of them: `delivered`; `retried`, failed and made again; `dead`, failed and given up; `lost`, "
            "nobody's any more; `unrecorded`, made again because the outcome could not be written.",
            "outcome",
            {"delivered": "delivered", "retried": "retried", "dead": "dead", "lost": "lost", "unrecorded": "unrecorded"},
        ),
        CounterFamily(
            "faults",
            "Webhook attempts that got no answer, by reason.",
            "reason",
            {"timeouts": "timeout", "unreachable": "unreachable", "forbidden": "forbidden"},
        ),
        CounterFamily(
            "endpoints_disabled",
            "Endpoints that were disabled for failing.",
            "",
            {"disabled": ""},
        ),
    )

    recorded: int = 0
    """Events that this process recorded."""
    dispatched: int = 0
    """Events whose consumers ran and whose deliveries were made."""
    consumer_faults: int = 0
    """Times that a consumer failed; it is called again."""
    deliveries: int = 0
    """Deliveries that were made: one for each endpoint that wants an event."""
    attempts: int = 0
    """Webhook requests that were made."""
    delivered: int = 0
    retried: int = 0
    """Attempts that failed and will be made again."""
    dead: int = 0
    """Deliveries that were given up."""
    lost: int = 0
    """Attempts whose outcome was nobody's any more: the delivery was removed, or its lease ran out."""
    unrecorded: int = 0
    """Attempts whose outcome could not be recorded: they are made again."""
    timeouts: int = 0
    """Attempts that were not answered in time."""
    unreachable: int = 0
    """Attempts that no connection was got for."""
    forbidden: int = 0
    """Attempts on addresses that must not be called."""
    replayed: int = 0
    """Dead deliveries that somebody had delivered again."""
    disabled: int = 0
    """Endpoints that were disabled for failing."""
    trimmed: int = 0
    """Rows of events and deliveries that were over, and were forgotten."""
