"""Times and limits of the bus over Redis, and its counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tuning:
    """Times and limits. A hub uses the defaults; tests use shorter times."""

    subscribe_s: float = 5.0
    """Seconds within which Redis must confirm a subscription; after that it fails."""
    linger_s: float = 5.0
    """Seconds after which this node unsubscribes from a topic that has no subscriber any more: clients often subscribe again soon."""
    liveness_s: float = 3.0
    """Seconds between two checks that published messages arrive, and seconds within which each answer must come."""
    append_s: float = 2.5
    """Seconds for which an append is tried, also over several connections."""
    reconnect_s: tuple[float, float] = (0.1, 2.0)
    """Seconds between two attempts to connect: the first value after the first attempt, doubled each time up to the second value."""
    resync_s: float = 2.0
    """Seconds within which the state channels of all tenants are sent again after a broken connection."""
    notice_s: float = 0.5
    """Seconds after which the other nodes are told that states were lost, and after which that is tried again."""
    max_pending: int = 10_000
    """Messages of all tenants that may wait for Redis. Beyond that, events and states are dropped and appends are refused."""
    max_pending_bytes: int = 8 * MIB
    """Bytes of the messages that may wait for Redis."""
    max_buffered_bytes: int = 64 * MIB
    """Bytes of new messages, for each tenant, that may wait while missed messages are read from the log."""
    max_origins: int = 1_000
    """Nodes, for each tenant, whose newest sequence number is remembered."""


@dataclass(slots=True)
class Counters:
    """What the bus over Redis counts."""

    METRICS: ClassVar = (
        CounterFamily(
            "received",
            "Messages that Redis brought, by what became of them.",
            "outcome",
            {
                "received": "taken",
                "echoes": "own",
                "repeated": "repeated",
                "undecoded": "undecoded",
                "deposed": "deposed",
                "failed": "failed",
            },
        ),
        CounterFamily(
            "dropped",
            "Events and states that were not published, by reason.",
            "reason",
            {"overloaded": "overload", "lost": "fault", "fenced": "fenced"},
        ),
        CounterFamily(
            "refused",
            "Messages of log channels that were not recorded, by reason.",
            "reason",
            {"log_overloaded": "overload", "log_lost": "fault"},
        ),
    )

    published: int = 0
    """Messages that were published through Redis."""
    batches: int = 0
    """Calls by which they were published."""
    retries: int = 0
    """Calls that were repeated because no answer came."""
    received: int = 0
    """Messages that other nodes or the log sent."""
    echoes: int = 0
    """Events and states that this node published itself."""
    repeated: int = 0
    """Messages that had come already, by another pattern."""
    undecoded: int = 0
    """Messages that this version cannot read."""
    deposed: int = 0
    """Messages of a stat server that is the owner no more."""
    failed: int = 0
    """Messages that could not be handed over, by a fault of the hub."""
    overloaded: int = 0
    """Events and states that were dropped because too many waited."""
    lost: int = 0
    """Events and states that were dropped because Redis did not answer."""
    fenced: int = 0
    """Messages that were refused, since another node owns the statistics of their tenant."""
    log_overloaded: int = 0
    """Messages of log channels that were refused because too many waited."""
    log_lost: int = 0
    """Messages of log channels that were refused because Redis did not answer."""
    connected: int = 0
    """Times that the subscriber connection was made."""
    deaf: int = 0
    """Times that the subscriber connection was given up because nothing came through it."""
    notices: int = 0
    """Times that other nodes were told that states of a tenant were lost on their way."""
    noticed: int = 0
    """Times that another node told so."""
    moved: int = 0
    """Times that a tenant was found on another server of a Redis Cluster."""
    repaired: int = 0
    """Messages that were read from the log after a broken connection."""
    repairs: int = 0
    """Times that a tenant's log was read after a broken connection."""
    seams: int = 0
    """Times that a tenant's log came back with less than it had."""
