"""When the garbage collector of a process works: not while it starts, not when it ends, and in small pieces while many clients come."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

S = TypeVar("S")

SESSIONS_A_PIECE: Final = 8
"""Sessions whose objects are looked at in one piece: about 1,000, which takes half a millisecond."""


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no garbage within. Imports and the building of a hub make a hundred thousand objects that all stay: the collector would look
    through them again and again, for a tenth of the start.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def skip_at_exit() -> None:
    """Have the interpreter look for no garbage when it ends: it would look through all objects several times, half a second of a hub. Call
    it when the work of the process is done; open files are still closed, and functions of ``atexit`` still run.
    """
    gc.freeze()


class ArrivalCollector(Generic[S]):
    """Collects garbage each time that some sessions have been opened. By itself the collector would wait until 50,000 objects are there,
    which all stay when clients come by the thousand, and then hold the event loop for 30 ms and longer. It is a
    :class:`hub.family.Service`.
    """

    __slots__ = ("_arrivals", "_sessions")

    def __init__(self, arrivals: list[Callable[[S], None]]) -> None:
        """``arrivals``: what is called with each new session."""
        self._arrivals = arrivals
        self._sessions = 0

    async def start(self) -> None:
        """Begin to count."""
        self._arrivals.append(self._arrived)

    async def stop(self) -> None:
        """Count no more."""
        self._arrivals.remove(self._arrived)

    def _arrived(self, session: S) -> None:
        self._sessions += 1
        if self._sessions >= SESSIONS_A_PIECE:
            self._sessions = 0
            # with the second generation: what is moved there, and stays, would be looked at once more in one long piece
            import asyncio  # imported here: commands import this module, and most of them need no event loop

            asyncio.get_running_loop().call_soon(gc.collect, 1)
