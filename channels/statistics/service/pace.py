"""Long work in slices, so that nothing holds the event loop for long (docs/architecture.md#the-event-loop)."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

from hub.core.ports import Clock
from hub.core.time_slice import SLICE_S

T = TypeVar("T")


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

    async def follow(self, pieces: Generator[None, None, T]) -> T:
        """Do work that comes in pieces, and return what it returns. Work that is given up half-way, because the caller was, is closed."""
        try:
            while True:
                try:
                    next(pieces)
                except StopIteration as done:
                    found: T = done.value
                    return found
                await self.breathe()
        finally:
            pieces.close()
