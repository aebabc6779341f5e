"""Measures how late the event loop runs, in a histogram; for debugging, also logs the place in the code that blocks it.

asyncio's own debug mode times each callback, but uvloop's handles cannot be timed from outside. So a heartbeat on the loop records when the
loop was last free. In debug mode a thread checks the heartbeat; when it is late, the stack of the loop's thread shows what blocks the loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from hub.core.metric import Histogram

SAMPLE_S: Final = 0.1
"""Seconds between two heartbeats; each costs a few microseconds."""

DEBUG_SAMPLE_S: Final = 0.01
"""Seconds between two heartbeats in debug mode."""

LAG_BOUNDS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_PLACES: Final = 6
"""How many of the innermost calls are logged for a place."""

_log = structlog.get_logger(__name__)


class LoopWatch:
    """Measures the lag of the loop on which it is started; a :class:`hub.family.Service`.

    Args:
        slow_ms: above 0, code that blocks the loop for more than this many milliseconds is logged with its place.
    """

    __slots__ = ("_beat_at", "_due_at", "_finished", "_handle", "_held_at", "_sample_s", "_slow_s", "_thread", "lag")

    def __init__(self, slow_ms: int = 0) -> None:
        self.lag = Histogram(LAG_BOUNDS)
        """Seconds that each heartbeat came late."""
        self._slow_s = slow_ms / 1000
        self._sample_s = DEBUG_SAMPLE_S if slow_ms else SAMPLE_S
        self._handle: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        # used by the thread in debug mode
        self._beat_at = 0.0
        self._held_at: tuple[str, ...] = ()
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()

    async def start(self) -> None:
        """Start the heartbeat, and in debug mode the thread."""
        self._schedule()
        if self._slow_s:
            self._finished.clear()
            self._thread = threading.Thread(target=self._look, args=(threading.get_ident(),), name="loop-watch", daemon=True)
            self._thread.start()

    async def stop(self) -> None:
        """Stop the heartbeat and the thread."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._thread is not None:
            self._finished.set()
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _schedule(self) -> None:
        self._beat_at = time.monotonic()
        self._due_at = self._beat_at + self._sample_s
        self._handle = asyncio.get_running_loop().call_later(self._sample_s, self._beat)

    def _beat(self) -> None:
        late_s = time.monotonic() - self._due_at
        self.lag.observe(late_s)
        held_at, self._held_at = self._held_at, ()
        if held_at:
            _log.warning("the event loop was held", milliseconds=round(late_s * 1000), place=held_at)
        self._schedule()

    def _look(self, loop_thread: int) -> None:
        """Run in the thread: when the heartbeat is late, record the place where the loop is. The loop logs it when it is free again."""
        while not self._finished.wait(self._sample_s):
            if time.monotonic() - self._due_at > self._slow_s and not self._held_at:
                frame = sys._current_frames().get(loop_thread)
                if frame is not None:
                    self._held_at = place_of(frame)


def place_of(frame: FrameType | None) -> tuple[str, ...]:
    """The innermost calls of a stack as ``file:line function``, the innermost first."""
    found: list[str] = []
    while frame is not None and len(found) < _PLACES:
        code = frame.f_code
        found.append(f"{'/'.join(Path(code.co_filename).parts[-3:])}:{frame.f_lineno} {code.co_qualname}")
        frame = frame.f_back
    return tuple(found)
