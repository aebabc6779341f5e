"""Long work in slices, so that nothing holds the event loop for long (design, rule 6)."""

from __future__ import annotations

import asyncio

from hub.core.flusher import SLICE_S
from hub.core.ports import Clock


class Pace:
    """Ends a slice of work when it has taken long enough."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + SLICE_S

    async def breathe(self) -> None:
        """Let the loop do other things if this slice is over."""
        if self._clock.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = self._clock.monotonic() + SLICE_S
