"""What messaging counts; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Since the start of the process."""

    refused_signatures: int = 0
    """Requests of third parties without a signature that fits."""
    refused_requests: int = 0
    """Requests with a good signature whose content was refused."""
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
    media_fetched: int = 0
    media_removed: int = 0
    trimmed: int = 0
    """Rows that went because they were old."""
