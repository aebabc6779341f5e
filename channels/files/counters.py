"""What files count; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hub.core.metric import CounterFamily


@dataclass(slots=True)
class Counters:
    """Since the start of the process."""

    METRICS: ClassVar = (
        CounterFamily(
            "changes",
            "Files, by what became of them.",
            "state",
            {
                "started": "started",
                "uploaded": "uploaded",
                "approved": "approved",
                "rejected": "rejected",
                "failed": "failed",
                "deleted": "deleted",
                "trimmed": "trimmed",
            },
        ),
        CounterFamily(
            "refused",
            "Files that were not taken, by reason.",
            "reason",
            {"refused_invalid": "invalid", "refused_quota": "quota", "refused_token": "token"},
        ),
        CounterFamily(
            "scans",
            "Requests to the scanner, by outcome: `failed` gave no verdict.",
            "outcome",
            {"scans_approved": "approved", "scans_rejected": "rejected", "scans_failed": "failed"},
        ),
    )

    started: int = 0
    """Files that clients announced."""
    repeated: int = 0
    """Announcements that came again with the same token."""
    uploaded: int = 0
    """Files whose bytes came."""
    approved: int = 0
    """Files that may be read."""
    rejected: int = 0
    """Files whose content was refused, by the hub or by the scanner."""
    failed: int = 0
    """Files whose upload was not completed in time, or whose bytes are gone."""
    deleted: int = 0
    """Files that callers deleted."""
    trimmed: int = 0
    """Files whose time was over."""
    refused_invalid: int = 0
    """Announcements with a wrong name, size or type."""
    refused_quota: int = 0
    """Announcements beyond what a resource or a tenant may have."""
    refused_token: int = 0
    """Announcements with a token that another file has."""
    scans_approved: int = 0
    """Files that the scanner approved."""
    scans_rejected: int = 0
    """Files that the scanner rejected."""
    scans_failed: int = 0
    """Requests to the scanner without a verdict."""
    swept: int = 0
    """Objects that belonged to no file."""
    removals_failed: int = 0
    """Batches of objects of which the store did not remove all: the next sweep tries again."""
    checks_failed: int = 0
    """Checks of a file's content that a hub took over from another one, and for which the store did not give the file."""
    erased: int = 0
    """Files that were erased with a person's data."""
