"""Tells a client that reads slowly from one that reads nothing any more, and how slowly it reads."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that were written to a connection and that the other machine has not acknowledged: those that wait in this process, and those
    in the buffer of the operating system. The latter may have megabytes, and takes nothing more before a third of it is free, for which a
    slow client needs minutes: bytes that go from there are progress, too.
    """
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None:
        return waiting
    try:
        # tcp(7): SIOCOUTQ, which is the same number
        (buffered,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))
    except (OSError, ValueError):  # closed, or a system that does not tell it
        return waiting
    return waiting + int(buffered)


class TooSlowError(TimeoutError):
    """Something moves, but too slowly."""


class Speed:
    """How fast a client takes a download. Only the time counts for which it is waited for, not that in which a store is."""

    __slots__ = ("_grace_s", "_least", "_taken", "_waited_s")

    def __init__(self, least: Callable[[], int], grace_s: float) -> None:
        """``least`` tells how many bytes a second are expected now, once the client was waited for ``grace_s`` seconds."""
        self._least = least
        self._grace_s = grace_s
        self._taken = 0
        self._waited_s = 0.0

    def add(self, taken: int, waited_s: float) -> None:
        """Note that the client took some bytes meanwhile."""
        self._taken += taken
        self._waited_s += waited_s

    def is_too_slow(self, taken: int = 0, waited_s: float = 0.0) -> bool:
        """Whether it is, if the client has also taken ``taken`` bytes in ``waited_s`` seconds."""
        lasted = self._waited_s + waited_s
        return lasted > self._grace_s and self._taken + taken < self._least() * lasted


@asynccontextmanager
async def moving(left: Callable[[], int], more: int, idle_s: float, speed: Speed) -> AsyncIterator[None]:
    """Ends what runs inside when nothing moves, or all of it too slowly.

    Args:
        left: tells how many bytes are unsent; see :func:`unsent`.
        more: bytes that are written inside.
        idle_s: seconds between two looks; at each of them fewer bytes must be unsent than at the one before.
        speed: of all that was sent before to the same client; this is added to it.

    Raises:
        TimeoutError: nothing moved between two looks.
        TooSlowError: see :class:`Speed`; also before anything is written.
    """
    if speed.is_too_slow():
        raise TooSlowError
    looks = _Looks(left, more, idle_s, speed)
    try:
        async with asyncio.timeout(None) as limit:
            looks.begin(limit)
            yield
    except TimeoutError:
        if looks.too_slow:
            raise TooSlowError from None
        raise
    finally:
        looks.stop()


class _Looks:
    """Looks again and again whether something has moved, and lets a time limit run out if nothing has."""

    __slots__ = ("_before", "_began", "_first", "_idle_s", "_left", "_limit", "_loop", "_speed", "_timer", "too_slow")

    _limit: asyncio.Timeout
    _timer: asyncio.TimerHandle

    def __init__(self, left: Callable[[], int], more: int, idle_s: float, speed: Speed) -> None:
        self._left = left
        self._first = self._before = left() + more
        self._idle_s = idle_s
        self._speed = speed
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.too_slow = False

    def begin(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._timer = self._loop.call_later(self._idle_s, self._look)

    def stop(self) -> None:
        self._timer.cancel()
        self._speed.add(self._first - self._left(), self._loop.time() - self._began)

    def _look(self) -> None:
        now = self._left()
        self.too_slow = self._speed.is_too_slow(self._first - now, self._loop.time() - self._began)
        if now < self._before and not self.too_slow:
            self._before = now
            self._timer = self._loop.call_later(self._idle_s, self._look)
        else:
            self._limit.reschedule(self._loop.time())
