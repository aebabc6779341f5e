"""What messaging counts; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """Since the start of the process."""

    METRICS: ClassVar = (
        CounterFamily(
            "refused",
            "Requests of third parties that were refused, by reason.",
            "reason",
            {"refused_signatures": "signature", "refused_requests": "content", "refused_spool": "spool", "gave_way_spool": "gave_way"},
        ),
        CounterFamily(
            "messages",
            "Messages that were taken, by direction.",
            "direction",
            {"inbound": "inbound", "outbound": "outbound"},
        ),
        CounterFamily(
            "receipts",
            "Receipts, by outcome: `late` changed nothing, `unknown` were for a message that is not there.",
            "outcome",
            {"receipts": "applied", "receipts_late": "late", "receipts_unknown": "unknown"},
        ),
        CounterFamily(
            "deliveries",
            "Outbound messages that third parties were given, by outcome.",
            "outcome",
            {"sent": "sent", "failed": "failed"},
        ),
        CounterFamily(
            "media",
            "Media files, by what was done with them.",
            "action",
            {"media_stored": "stored", "media_fetched": "fetched", "media_removed": "removed"},
        ),
    )

    refused_signatures: int = 0
    """Requests of third parties without a signature that fits."""
    refused_requests: int = 0
    """Requests with a good signature whose content was refused."""
    refused_spool: int = 0
    """Requests whose body did not fit into what bodies of the channel, or of all, may take."""
    gave_way_spool: int = 0
    """Requests whose body was not whole and gave way, because it came slowly or its address held most."""
    inbound: int = 0
    """Messages taken from third parties."""
    repeats: int = 0
    """Messages that had come before, in either direction."""
    receipts: int = 0
    """Receipts that moved a state."""
    receipts_late: int = 0
    """Receipts that changed nothing: repeats, and those behind a later one."""
    receipts_unknown: int = 0
    """Receipts for a message that is not there, or not yet."""
    outbound: int = 0
    """Messages that agents' systems sent."""
    sent: int = 0
    """Messages that third parties took."""
    failed: int = 0
    """Messages that third parties did not take."""
    media_stored: int = 0
    """Media files that were stored."""
    media_fetched: int = 0
    """Media files that were fetched."""
    media_removed: int = 0
    """Media files that were removed."""
    removals_failed: int = 0
    """Batches of media of which the store did not remove all: the next sweep tries again."""
    trimmed: int = 0
    """Messages and receipts that were removed because they were old."""
