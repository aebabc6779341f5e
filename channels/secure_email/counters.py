"""What secure e-mail counts; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """What secure e-mail counts; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "mails",
            "Mails that were taken, by direction.",
            "direction",
            {"received": "inbound", "sent": "outbound"},
        ),
        CounterFamily(
            "mail_changes",
            "Changes of mails that are there: `read`, `deleted`, `purged` by a caller, `trimmed` because a deleted one's time was over.",
            "action",
            {"read": "read", "deleted": "deleted", "purged": "purged", "trimmed": "trimmed"},
        ),
        CounterFamily(
            "mails_refused",
            "Mails that were not taken.",
            "",
            {"refused": ""},
        ),
        CounterFamily(
            "interactions_closed",
            "Interactions of inbound mails that were stopped.",
            "",
            {"closed": ""},
        ),
    )

    received: int = 0
    """Inbound mails."""
    sent: int = 0
    """Outbound mails."""
    attachments: int = 0
    """Attachments of mails that were taken."""
    moved_attachments: int = 0
    """Attachments of earlier versions that were moved from the database into the object store."""
    refused: int = 0
    """Mails that were not taken."""
    read: int = 0
    """Mails that were marked as read."""
    deleted: int = 0
    """Mails that were deleted."""
    purged: int = 0
    """Mails that were purged."""
    removals_failed: int = 0
    """Batches of attachments of which the store did not remove all: the next sweep tries again."""
    trimmed: int = 0
    """Deleted mails whose time was over."""
    closed: int = 0
    """Interactions of inbound mails that were stopped."""


@dataclass(slots=True)
class PublisherCounters:
    """Events that are handed to the event sink; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "events",
            "Events of secure e-mail's interactions, by what they told; or `repeated`, which had been taken before; or `moved`, which came "
            "too late and were told with the present time.",
            "outcome",
            {"started": "started", "finished": "finished", "repeated": "repeated", "moved": "moved"},
        ),
    )

    started: int = 0
    """Interactions whose start was handed to the event sink."""
    finished: int = 0
    """Interactions whose end was handed to the event sink."""
    repeated: int = 0
    """Events that had been taken before."""
    moved: int = 0
    """Events that the sink refused as too late, and took with the present time."""
