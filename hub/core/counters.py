"""What the core counts."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What the hub counts; ``/metrics`` reads them."""

    published: int = 0
    delivered: int = 0
    dropped: int = 0
    """``event`` messages that a full queue refused."""
    conflated: int = 0
    """``state`` messages that a full queue gave up for a snapshot."""
    too_slow: int = 0
    """Sessions that were ended because a ``log`` channel overflowed."""
    over_budget: int = 0
    """Sessions whose queue was given up because too much waited for all of them together."""
    replayed: int = 0
    """Messages that were read from the log for sessions that asked for what they missed."""
    recovered: int = 0
    """Subscriptions from a position, after which nothing is missing."""
    not_recovered: int = 0
    """Subscriptions from a position, after which something may be missing."""
    replays_broken: int = 0
    """Sessions that were ended because what they had still to replay was gone, or the log could not be read."""
    denied: int = 0
    faults: int = 0
    """Exceptions that a flush of one session raised."""
