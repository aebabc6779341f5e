"""Long work in slices: others get the loop whenever 2 ms are used up (docs/architecture.md#the-event-loop)."""

from hub.core.ports import Clock, Loop

SLICE_S = 0.002
"""Nothing on the event loop takes longer than this in one piece, in seconds."""


class TimeSlice:
    """One piece of work that gives way. Make it where the work begins, and await :meth:`checkpoint` between its parts."""

    __slots__ = ("_clock", "_loop", "_until")

    def __init__(self, clock: Clock, loop: Loop) -> None:
        self._clock = clock
        self._loop = loop
        self._until = clock.monotonic() + SLICE_S

    async def checkpoint(self) -> None:
        """Let others run if this slice is used up; else return at once, without giving way."""
        if self._clock.monotonic() > self._until:
            await self._loop.breathe()
            self._until = self._clock.monotonic() + SLICE_S
