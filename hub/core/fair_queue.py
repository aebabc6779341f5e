"""A fair queue: who comes first is let in first, as soon as there is room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hub.core.ports import Loop, Signal


class FairQueue:
    """Those who wait until there is room. Whoever makes some calls :meth:`move`."""

    __slots__ = ("_has_room", "_loop", "_waiting")

    def __init__(self, loop: Loop, has_room: Callable[[], bool]) -> None:
        self._loop = loop
        self._has_room = has_room
        self._waiting: deque[Signal] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def enter(self) -> None:
        """Return when there is room and nobody is in front. The caller takes the room before it awaits anything, or leaves it to the
        next.
        """
        if not self._waiting and self._has_room():
            return
        own = self._loop.signal()
        self._waiting.append(own)
        try:
            await own
            while not self._has_room():  # taken by somebody who need not wait, since the signal was given
                own = self._waiting[0] = self._loop.signal()
                await own
        finally:
            self._waiting.remove(own)
            self.move()

    def move(self) -> None:
        """There may be room: the first one looks."""
        if self._waiting and self._has_room() and not self._waiting[0].done():
            self._waiting[0].set_result(None)
