"""What the local stat server keeps of a tenant beside its statistics: service state, locks, and where the log stands."""

from __future__ import annotations

import asyncio
from collections import deque

from channels.statistics.service.requests import Wanted
from channels.statistics.service.tenant import Tenant


class TenantEntry:
    """A tenant, available or not."""

    __slots__ = (
        "arrivals",
        "changing",
        "cut",
        "failing",
        "forgot_ms",
        "lock",
        "saved_ms",
        "seen",
        "snapshot_ms",
        "snapshot_position",
        "tenant",
        "watched",
    )

    def __init__(self, tenant: Tenant | None, now_ms: int) -> None:
        # service state
        self.tenant = tenant
        """None while the service is UNAVAILABLE."""
        self.changing = asyncio.Lock()
        """Held while the service starts or stops."""
        self.lock = asyncio.Lock()
        """Held by whoever reads or opens statistics in more than one slice, and while a snapshot is taken."""
        self.watched: dict[str, Wanted] = {}
        """Values channels with a subscriber; they outlive an unavailable service."""
        # the log
        self.seen = 0
        """Position of the newest event that ingest logged."""
        self.snapshot_position = 0
        self.snapshot_ms: int | None = None
        """When the last snapshot was saved, ms since 1970."""
        self.saved_ms = now_ms
        """When saving was tried last, monotonic."""
        self.forgot_ms = now_ms
        """When objects were looked for that are to be forgotten, monotonic."""
        self.failing = False
        self.arrivals: deque[tuple[int, int]] = deque()
        """(monotonic ms, position), about one a second: how long an event is in the log."""
        self.cut = 0
        """Events up to here are older than the log must keep."""
