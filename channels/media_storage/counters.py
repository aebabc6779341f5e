"""What the family counts; ``/metrics`` reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """What is counted; each field becomes ``hub_media_storage_<field>_total``."""

    listed: int = 0
    """Listings that were answered."""
    links: int = 0
    """Signed links that were given."""
    uploaded: int = 0
    """Files that were uploaded below `imports/`."""
    arrived: int = 0
    """Of these, files that were uploaded to the store itself, by native links."""
    refused_arrivals: int = 0
    """Files that were uploaded to the store itself, and did not fit into a quota or a limit; they were removed."""
    failed_arrivals: int = 0
    """Looks at files that were uploaded to the store itself, and that the store did not give; the next look tries again."""
    exported: int = 0
    """Files that the hub wrote below `exports/`."""
    deleted: int = 0
    """Files that clients deleted."""
    refused_full: int = 0
    """Files that did not fit into a tenant's quota."""
    expired: int = 0
    """Files that were deleted for their age."""
    orphans: int = 0
    """Objects of the store that belonged to no file, and were removed."""
    removals_failed: int = 0
    """Batches of objects of which the store did not remove all: the next sweep tries again."""
    lost: int = 0
    """Files whose objects were gone from the store, and which are no longer listed."""
