"""How long the parts of the outbox wait between two searches in the database, and between two attempts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """All times in seconds. The defaults suit every hub; tests use shorter ones."""

    look_s: float = 1.0
    """The longest time between two rounds that claim deliveries from the database."""
    blocked_s: float = 1.0
    """The time until the next search if a due delivery waits for an older one of its key."""
    poll_s: float = 1.0
    """The time between two searches for events that another process recorded or gave back."""
    follow_s: float = 1.0
    """The time between two searches for endpoints that another process changed."""
    sweep_s: float = 30.0
    """The time between two rounds that look for deliveries of dead processes and delete old rows."""
    consume_within_s: float = 10.0
    """The time that a consumer may take for one event. If it takes longer, it has failed and is called again later."""
    consume_again_s: float = 2.0
    """The time until the consumer of an event is called again after it failed; the later events of the key wait, too."""
    first_probe_s: float = 1.0
    """The time between the first two probes of an endpoint that does not answer; each pause is twice as long as the one before it."""
    max_probe_s: float = 60.0
    """The longest pause between two probes."""


DEFAULT = Timing()
