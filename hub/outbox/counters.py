"""What the outbox counts."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """``/metrics`` reads them."""

    recorded: int = 0
    """Events that this process recorded."""
    dispatched: int = 0
    """Events whose consumers ran and whose deliveries were made."""
    consumer_faults: int = 0
    """Times that a consumer failed; it is called again."""
    deliveries: int = 0
    """Deliveries that were made."""
    attempts: int = 0
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
    unreachable: int = 0
    """Attempts that no connection was got for."""
    forbidden: int = 0
    """Attempts on addresses that must not be called."""
    replayed: int = 0
    disabled: int = 0
    """Endpoints that were disabled for failing."""
    trimmed: int = 0
    """Rows of what is over that were forgotten."""
