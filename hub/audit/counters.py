"""What the audit log counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AuditCounters:
    """What the audit log counts; ``/metrics`` reads them."""

    rows: int = 0
    """Rows that were written."""
    coalesced: int = 0
    """Failed sign-ins and tokens that were counted in the row of a minute, since their tenant's share of rows was used up."""
    dropped: int = 0
    """Rows about failed sign-ins, and numbers, that were not written since the database refused this row: a mistake in the hub, which the
    log tells as ``audit_row_dropped``."""
    expired: int = 0
    """Rows that were removed after audit.retention_days."""
    unsealed: int = 0
    """Times that the ends of a log moved without a good seal: they were changed, or HUB_SECRET was. ``hub audit verify`` tells which."""
    unwritten: int = 0
    """Times that failed sign-ins could not be written; they wait, and are tried again."""
