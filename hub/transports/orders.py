"""Orders to a serving process to end: by signals, or from the parent of several workers."""

from __future__ import annotations

import asyncio
from enum import StrEnum


class Order(StrEnum):
    """What a serving process is told to do. The values are the words on the line between a worker and its parent."""

    STOP = "stop"
    """Disconnect the clients, then end."""
    REPLACE = "replace"
    """The same, but first stop accepting: a successor accepts on the same sockets."""
    QUIT = "quit"
    """End at once."""


class Orders:
    """The orders to a serving process, in the order in which they came."""

    __slots__ = ("_insist", "_received", "_signalled")

    def __init__(self, *, insist: bool = True) -> None:
        """``insist``: a second SIGTERM or SIGINT means to end at once. A worker is told so by its parent alone: a service
        manager signals both, and the parent passes the signal on.
        """
        self._received: asyncio.Queue[Order] = asyncio.Queue()
        self._insist = insist
        self._signalled = False

    def give(self, order: Order) -> None:
        """Add an order."""
        self._received.put_nowait(order)

    def signalled(self) -> None:
        """A signal to end came."""
        self.give(Order.QUIT if self._signalled and self._insist else Order.STOP)
        self._signalled = True

    async def first(self) -> Order:
        """Wait for an order."""
        return await self._received.get()

    async def quit(self) -> None:
        """Wait until the order is to end at once. Other orders are dropped: the process is ending already."""
        while await self._received.get() is not Order.QUIT:
            pass
