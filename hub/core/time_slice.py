"""Long work in slices: others get the loop whenever 2 ms are used up (docs/architecture.md#the-event-loop)."""

from collections.abc import Generator
from typing import TypeVar

from hub.core.ports import Clock, Loop

SLICE_S = 0.002
"""Nothing on the event loop takes longer than this in one piece, in seconds."""

T = TypeVar("T")


class TimeSlice:
    """One piece of work that gives way. Make it where the work begins, and await :meth:`checkpoint` between its parts."""

    __slots__ = ("_clock", "_loop", "_slice_s", "_until")

    def __init__(self, clock: Clock, loop: Loop, slice_s: float = SLICE_S) -> None:
        """``slice_s``: less than :data:`SLICE_S` where one part after it may take a while of its own; in seconds."""
        self._clock = clock
        self._loop = loop
        self._slice_s = slice_s
        self._until = clock.monotonic() + slice_s

    @property
    def used_up(self) -> bool:
        """Whether :meth:`checkpoint` would let others run. A loop of very short parts asks this first: it costs less than an await."""
        return self._clock.monotonic() > self._until

    async def checkpoint(self) -> None:
        """Let others run if this slice is used up; else return at once, without giving way."""
        if self._clock.monotonic() > self._until:
            await self._loop.breathe()
            self._until = self._clock.monotonic() + self._slice_s

    async def run(self, parts: Generator[None, None, T]) -> T:
        """Do work that yields between its parts, with a checkpoint at each, and return what it returns.

        If the caller is cancelled meanwhile, the generator is closed.
        """
        try:
            while True:
                try:
                    next(parts)
                except StopIteration as done:
                    result: T = done.value
                    return result
                await self.checkpoint()
        finally:
            parts.close()
