"""The order of one session's requests: clients split what they publish into requests that run side by side, and what came first is
published first.
"""

from __future__ import annotations

from collections.abc import Awaitable

from hub.core.fair_queue import FairQueue
from hub.core.ports import Loop


class RequestOrder:
    """What requests of one session do one after the other. Each request begins with :meth:`wait`."""

    __slots__ = ("_loop", "_queue", "_working")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._working = 0
        self._queue: FairQueue | None = None
        """Made when a request has to wait, which is rare."""

    async def run(self, work: Awaitable[object]) -> None:
        """Await a part of a request that may give way to other sessions, but not to later requests of this one."""
        self._working += 1
        try:
            await work
        finally:
            self._working -= 1
            if self._queue is not None:
                self._queue.move()

    async def wait(self) -> None:
        """Return when no request that came before is amid such a part, or waits."""
        if self._queue is None:
            if not self._working:
                return
            self._queue = FairQueue(self._loop, lambda: not self._working)
        try:
            await self._queue.enter()
        finally:
            if not self._queue:
                self._queue = None
