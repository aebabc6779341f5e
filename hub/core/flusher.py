"""Flushes sessions that have messages, once in a turn of the event loop, in slices of time."""

from __future__ import annotations

from collections import deque
from typing import Final

from hub.core.fan_out import FanOuts
from hub.core.metric import Histogram
from hub.core.ports import Clock, Loop
from hub.core.recipient import FaultObserver, Recipient
from hub.core.time_slice import SLICE_S

_LOOK_AT_CLOCK_EVERY: Final = 16


class Flusher:
    """The list of sessions that wait to be flushed. Messages that are offered in one turn of the loop leave in one frame, so that more load
    gives larger frames and no delay.

    Sessions of the list are flushed first; large fan-outs get the rest of the slice.
    """

    __slots__ = ("_began", "_clock", "_dirty", "_loop", "_on_fault", "_scheduled", "direct_latency", "fan_outs")

    def __init__(self, loop: Loop, clock: Clock, on_fault: FaultObserver) -> None:
        self._loop = loop
        self._clock = clock
        self._on_fault = on_fault
        self._dirty: deque[Recipient] = deque()
        self._scheduled = False
        self._began = 0.0
        """When the oldest message that waits to be flushed was offered, in seconds of the monotonic clock."""
        self.direct_latency = Histogram()
        """Seconds from the publishing of a message for a few until it was handed to the connections. Messages that leave together count
        as the first of them.
        """
        self.fan_outs = FanOuts(loop, clock, on_fault, self._schedule)

    def mark(self, subscriber: Recipient) -> None:
        """Put a session on the list. It must not be on the list already (``dirty``)."""
        subscriber.dirty = True
        if not self._dirty:
            self._began = self._clock.monotonic()
        self._dirty.append(subscriber)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        until = self._clock.monotonic() + SLICE_S
        self._flush(until)
        self.fan_outs.advance(until)
        if self._dirty or self.fan_outs.jobs:
            self._loop.call_soon(self._run)
        else:
            self._scheduled = False

    def _flush(self, until: float) -> None:
        if not self._dirty:
            return
        began = self._began  # flushing may mark sessions, which sets it anew
        since_look = 0
        while self._dirty:
            subscriber = self._dirty.popleft()
            subscriber.dirty = False
            try:
                subscriber.flush()
            except Exception as error:
                self._on_fault(subscriber, error)
            since_look += 1
            if since_look >= _LOOK_AT_CLOCK_EVERY:
                since_look = 0
                if self._clock.monotonic() > until:
                    break
        if self.fan_outs.direct and not self._dirty:
            self.direct_latency.observe(self._clock.monotonic() - began, self.fan_outs.direct)
            self.fan_outs.direct = 0
