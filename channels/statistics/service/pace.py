"""Long work in slices, so that nothing holds the event loop for long (docs/architecture.md#the-event-loop)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from heapq import merge

from hub.core.flusher import SLICE_S
from hub.core.ports import Clock


class Pace:
    """Ends a slice of work when it has taken long enough."""

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + SLICE_S

    @property
    def over(self) -> bool:
        """Whether this slice has taken long enough."""
        return self._clock.monotonic() > self._until

    async def breathe(self) -> None:
        """Let the loop do other things if this slice is over."""
        if self.over:
            await asyncio.sleep(0)
            self._until = self._clock.monotonic() + SLICE_S


_SORTED_AT_ONCE = 1024


async def sorted_in_slices(texts: Sequence[str], pace: Pace) -> list[str]:
    """Sort many texts, 0.5 ms at a time."""
    pieces = []
    for start in range(0, len(texts), _SORTED_AT_ONCE):
        pieces.append(sorted(texts[start : start + _SORTED_AT_ONCE]))
        await pace.breathe()
    found: list[str] = []
    for text in merge(*pieces):
        found.append(text)
        if len(found) % _SORTED_AT_ONCE == 0:
            await pace.breathe()
    return found
