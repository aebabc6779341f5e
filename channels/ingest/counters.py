"""What ingest counts."""

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """What ingest counts; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "events",
            "Events in, by outcome: `late` were refused for their time, `limit` as one too many of something.",
            "outcome",
            {
                "accepted": "accepted",
                "duplicates": "duplicate",
                "refused_invalid": "invalid",
                "refused_late": "late",
                "refused_limit": "limit",
            },
        ),
        CounterFamily(
            "requests_refused",
            "Whole requests that were refused: content type, size, malformed.",
            "",
            {"refused_requests": ""},
        ),
    )

    requests: int = 0
    """Requests with events."""
    bytes: int = 0
    """Bytes of request bodies that were read."""
    accepted: int = 0
    """Events that were taken."""
    duplicates: int = 0
    """Events that had been taken before."""
    refused_invalid: int = 0
    """Events that are no CloudEvents of a known type and shape."""
    refused_late: int = 0
    """Events that a consumer refused for their time: older than what it took already, too old, or too far ahead."""
    refused_limit: int = 0
    """Events that a consumer refused because they were one too many of something."""
    refused_requests: int = 0
    """Whole requests: content type, size, malformed."""
    log_failures: int = 0
    """Calls that the event log could not write."""
    consumer_faults: int = 0
    """Exceptions of consumers for events that they had let pass."""
    forgotten_early: int = 0
    """Repeats that would no longer be recognised within their window, because there were too many."""
