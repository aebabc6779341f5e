"""How much may be sent that the other side has not read: of one call, and of all calls of a link."""

from __future__ import annotations

import asyncio
from collections import deque

from hub.cluster.ports import LinkError


def again(error: LinkError) -> LinkError:
    """The same error as a new exception: one that is raised many times would gather the places where it was, and keep them alive."""
    return type(error)(*error.args)


class Window:
    """Bytes that may still be sent. Who wants to send more waits, in order."""

    __slots__ = ("_credit", "_error", "_size", "_waiting")

    def __init__(self, size: int) -> None:
        """``size``: bytes that may be unread. The other side gives back what it read at the latest when it read half of that, so that a
        piece of half the size waits until there is room for it, and a longer one until there is room for half the size.
        """
        self._size = size
        self._credit = size
        self._error: LinkError | None = None
        self._waiting: deque[tuple[int, asyncio.Future[None]]] | None = None

    @property
    def used(self) -> int:
        """Bytes that were sent, and of which nobody said that they were read."""
        return self._size - self._credit

    def try_take(self, cost: int) -> bool:
        """Take room for ``cost`` bytes if there is some, and nobody waits for it."""
        if self._waiting or self._error is not None or self._credit < min(cost, self._size // 2):
            return False
        self._credit -= cost
        return True

    async def take(self, cost: int) -> None:
        """Take room for ``cost`` bytes, as soon as there is some.

        Raises:
            LinkError: what :meth:`close` was called with.
        """
        if self.try_take(cost):
            return
        if self._error is not None:
            raise again(self._error)
        if self._waiting is None:
            self._waiting = deque()
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (cost, room)
        self._waiting.append(entry)
        try:
            await room
        except asyncio.CancelledError:
            if room.cancelled():
                if self._waiting is not None:  # it was not closed in the same moment
                    self._waiting.remove(entry)
                    self._serve()  # the next one may need less
            elif room.exception() is None:
                self.give(cost)
            raise

    def give(self, amount: int) -> None:
        """The other side has read ``amount`` bytes."""
        self._credit += amount
        self._serve()

    def close(self, error: LinkError) -> None:
        """Fail those who wait, and whoever comes."""
        self._error = error
        waiting, self._waiting = self._waiting, None
        for _, room in waiting or ():
            if not room.done():
                room.set_exception(again(error))

    def _serve(self) -> None:
        while self._waiting:
            cost, room = self._waiting[0]
            if room.done():  # cancelled: its task removes it
                return
            if self._credit < min(cost, self._size // 2):
                return
            self._waiting.popleft()
            self._credit -= cost
            room.set_result(None)
