"""A fair queue: tasks wait until there is room, and enter in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hub.core.ports import Loop, Signal


class FairQueue:
    """Tasks that wait until there is room. Whoever makes room calls :meth:`move`."""

    __slots__ = ("_has_room", "_loop", "_waiting")

    def __init__(self, loop: Loop, has_room: Callable[[], bool]) -> None:
        self._loop = loop
        self._has_room = has_room
        self._waiting: deque[Signal] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def enter(self) -> None:
        """Return when there is room and no earlier task waits. The caller takes the room before it awaits anything; else the next task
        gets it.
        """
        if not self._waiting and self._has_room():
            return
        own = self._loop.signal()
        self._waiting.append(own)
        try:
            await own
            while not self._has_room():  # a task that does not wait here took it after the signal was given
                own = self._waiting[0] = self._loop.signal()
                await own
        finally:
            self._waiting.remove(own)
            self.move()

    def move(self) -> None:
        """Wake the first task if there is room."""
        if self._waiting and self._has_room() and not self._waiting[0].done():
            self._waiting[0].set_result(None)
