"""What a node counts of relayed requests; ``/metrics`` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class RelayCounters:
    """Each becomes ``hub_relay_<name>_total``."""

    METRICS: ClassVar = (
        CounterFamily(
            "requests",
            "HTTP requests between nodes: relayed to another node (`out`), or answered for another node (`in`).",
            "direction",
            {"requests_out": "out", "requests_in": "in"},
        ),
        CounterFamily(
            "sockets",
            "WebSockets between nodes: that lead to a session of another node (`out`), or of another node's clients to one here (`in`).",
            "direction",
            {"sockets_out": "out", "sockets_in": "in"},
        ),
        CounterFamily(
            "failed",
            "Relayed requests without an answer of the owner, by reason: the owner has ended (`gone`), its link could not be used "
            "(`unreachable`), it did not answer in time (`timeout`), the client left first (`client`).",
            "reason",
            {"failed_gone": "gone", "failed_unreachable": "unreachable", "failed_timeout": "timeout", "client_left": "client"},
        ),
    )

    requests_out: int = 0
    """HTTP requests that were relayed to another node."""
    requests_in: int = 0
    """HTTP requests of another node's clients that were answered here."""
    sockets_out: int = 0
    """WebSockets here that began to lead to a session of another node."""
    sockets_in: int = 0
    """WebSockets of another node that began to lead to a session here."""
    failed_gone: int = 0
    """Requests for a node that lives no more."""
    failed_unreachable: int = 0
    """Requests for a node that lives, but whose link could not be made, or broke."""
    failed_timeout: int = 0
    """Requests that the other node did not answer in time."""
    client_left: int = 0
    """Relayed requests whose client has gone before they were answered."""
    broken_off: int = 0
    """Answers of which the client got a part only: the other node or the link failed meanwhile, or the client did not read them in time."""
    unconfirmed: int = 0
    """Answers to requests of another node's clients that were not confirmed as written: their messages were queued again."""
