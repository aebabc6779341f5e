"""The order of one session's requests: clients split what they publish into requests that run side by side, and what came first is
published first.
"""

from __future__ import annotations

from collections.abc import Awaitable

from hub.core.fair_queue import FairQueue
from hub.core.ports import Loop


class Turns:
    """What requests of one session do one after the other. Each begins with :meth:`wait`."""

    __slots__ = ("_line", "_loop", "_working")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._working = 0
        self._line: FairQueue | None = None
        """Made when somebody has to wait, which is rare."""

    async def take(self, work: Awaitable[object]) -> None:
        """Await a part of a request that may give way to others, but not to later requests of this session."""
        self._working += 1
        try:
            await work
        finally:
            self._working -= 1
            if self._line is not None:
                self._line.move()

    async def wait(self) -> None:
        """Return when no request that came before is amid such a part, or waits."""
        if self._line is None:
            if not self._working:
                return
            self._line = FairQueue(self._loop, lambda: not self._working)
        try:
            await self._line.enter()
        finally:
            if not self._line:
                self._line = None
