"""How long the parts of the outbox wait between two looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds. The defaults suit every hub; a test passes shorter ones."""

    look_s: float = 1.0
    """The longest time between two looks into the database for an endpoint with deliveries there: another process may have made some."""
    blocked_s: float = 1.0
    """The time until the next look where a due delivery waits for an older one of its key."""
    poll_s: float = 1.0
    """Between two looks for events that another process recorded or gave back."""
    follow_s: float = 1.0
    """Between two looks for endpoints that another process changed."""
    sweep_s: float = 30.0
    """Between two rounds that take over the leases of dead processes and delete what is old."""
    consume_within_s: float = 10.0
    """What a consumer may take for one event. One that takes longer has failed and is called again later."""
    consume_again_s: float = 2.0
    """Until the consumer of an event is called again after it failed; the later events of the key wait, too."""
    first_probe_s: float = 1.0
    """Between the first two probes of an endpoint that does not answer; each pause is twice as long as the one before it."""
    max_probe_s: float = 60.0
    """The longest pause between two probes."""


DEFAULT = Timing()
