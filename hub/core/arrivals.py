"""What the arrival of sessions takes of the event loop: a part of each of its turns, however many come at once.

The loop handles all requests that are ready in one turn. When thousands of clients come back together, dozens of handshakes and subscribes
are ready in each, and what others are sent waits behind all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from hub.core.counters import Counters
from hub.core.ports import Clock, Loop, Signal

AT_ONCE: Final = 8
"""Pieces that are woken for one turn. More would have to wait again when the time is used up; a piece takes about 0.1 ms."""


class Waiting:
    """Work that waits for its turn."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        """None when it was cancelled."""

    def cancel(self) -> None:
        """Do nothing when its turn comes."""
        self.work = None


class Arrivals:
    """Lets pieces of the arrival of sessions begin, in the order in which they came: a few in each turn of the loop.

    As many wait as there are requests in progress, which the limits of connections bound.
    """

    __slots__ = ("_again", "_arrivals_s", "_clock", "_counters", "_loop", "_told", "_until", "_waiting")

    def __init__(self, loop: Loop, clock: Clock, counters: Counters, arrivals_s: float) -> None:
        """``arrivals_s``: seconds of one turn of the loop in which pieces of such work may begin. The first piece of a turn always may."""
        self._arrivals_s = arrivals_s
        self._loop = loop
        self._clock = clock
        self._counters = counters
        self._until: float | None = None
        """When the time of this turn is used up; None when nothing has begun in it."""
        self._told = False
        """Whether the loop calls :meth:`_next_turn`."""
        self._waiting: deque[Signal | Waiting] = deque()
        self._again: deque[Signal | Waiting] = deque()
        """Those that were woken and found the time used up: they are before all who wait."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    async def turn(self) -> None:
        """Return when a piece of the work of a session that arrives may begin: at once, unless others wait or this turn's time is used up.

        A piece is what is done up to the next ``await`` that waits for something else.
        """
        if not self._waiting and not self._again and self._begins():
            return
        self._counters.arrivals_held += 1
        waiting = self._waiting
        while True:
            signal = self._loop.signal()
            waiting.append(signal)
            await signal
            if self._begins():
                return
            waiting = self._again

    def begin(self, work: Callable[[], None]) -> Waiting | None:
        """Do a piece of such work now, or in the turn in which :meth:`turn` would return. Returns what waits; None if it is done."""
        if not self._waiting and not self._again and self._begins():
            work()
            return None
        self._counters.arrivals_held += 1
        waiting = Waiting(work)
        self._waiting.append(waiting)
        return waiting

    def _begins(self) -> bool:
        """Whether a piece may begin in this turn; if so, it does."""
        if self._until is not None:
            return self._clock.monotonic() < self._until
        self._until = self._clock.monotonic() + self._arrivals_s
        if not self._told:
            self._told = True
            self._loop.call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        """Wake those that are first in the queue. What the sockets bring is handled between that and the next call."""
        self._until = None
        woken = 0
        signalled = False
        try:
            for waiting in (self._again, self._waiting):
                while waiting and woken < AT_ONCE:
                    first = waiting.popleft()
                    if not isinstance(first, Waiting):
                        if not first.done():  # its task was cancelled: nobody waits
                            first.set_result(None)
                            signalled = True
                            woken += 1
                    elif first.work is not None:
                        # a task that was woken runs later, and must not find its time used up by who came after it
                        if signalled or not self._begins():
                            waiting.appendleft(first)
                            return
                        woken += 1
                        first.work()
        finally:
            self._told = woken > 0
            if self._told:
                self._loop.call_soon(self._next_turn)
