"""What administration by REST counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AdministrationCounters:
    """What administration by REST counts; ``/metrics`` reads them."""

    changes: int = 0
    """Changes by REST that were made."""
    too_many: int = 0
    """Changes that were refused because the tenant makes too many in a second."""
