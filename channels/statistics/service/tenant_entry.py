"""What the local stat server keeps of a tenant beside its statistics: the service state, locks, and positions of the log."""

from __future__ import annotations

import asyncio
from collections import deque

from channels.statistics.service.requests import Wanted
from channels.statistics.service.tenant import Tenant
from hub.storage.lease import Fence


class TenantEntry:
    """The entry of one tenant, whose service may be available or not."""

    __slots__ = (
        "arrivals",
        "changing",
        "cut",
        "failing",
        "fence",
        "forgot_ms",
        "lock",
        "saved_ms",
        "seen",
        "snapshot_ms",
        "snapshot_position",
        "tenant",
        "watched",
    )

    def __init__(self, tenant: Tenant | None, now_ms: int, fence: Fence | None = None) -> None:
        self.fence = fence
        """The fence under which this process owns the tenant; None if writes need none."""
        # service state
        self.tenant = tenant
        """None while the service is UNAVAILABLE."""
        self.changing = asyncio.Lock()
        """Held while the service starts or stops."""
        self.lock = asyncio.Lock()
        """Held by each request that reads or opens statistics in more than one slice, and while a snapshot is taken."""
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
        """When housekeeping looked last for objects to forget, monotonic."""
        self.failing = False
        self.arrivals: deque[tuple[int, int]] = deque()
        """Pairs of monotonic ms and position, about one a second: they say how long an event has been in the log."""
        self.cut = 0
        """Position up to which the log may be trimmed: events up to here are older than ``retain_s``."""
