"""The budget of bytes that wait for all clients of a process. Above it the largest queues are shed (docs/architecture.md#bounds).

Each queue has a limit of its own. Thousands of slow clients, each below that limit, would still take all memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from typing import Final

from hub.core.counters import Counters
from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.core.recipient import Recipient

SESSIONS_PER_STEP: Final = 1_000
"""Sessions that are looked at in turns of the event loop that follow each other. That takes 0.1 ms where all clients are connected and
nothing waits, and 2 ms where all have gone and are not forgotten yet.
"""

TURN_S: Final = 0.00025
"""Seconds of one turn of the event loop in which sessions are looked at."""

_AT_ONCE: Final = 50
"""Sessions between two looks at the clock."""

SHED_PER_ROUND: Final = 32
"""Sessions whose queues one round sheds at most; the next round goes on."""


class QueueBudget:
    """Adds up the queues of all sessions, round after round, some sessions in each step. A sum may be up to a round old."""

    __slots__ = ("_clock", "_counters", "_found", "_left", "_limits", "_round", "_sessions", "_sum", "waiting_bytes")

    def __init__(self, limits: Limits, clock: Clock, counters: Counters, sessions: Callable[[], Iterable[Recipient]]) -> None:
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._left = SESSIONS_PER_STEP
        self._sessions = sessions
        self._round: Iterator[Recipient] = iter(())
        self._found: list[tuple[int, Recipient]] = []
        self._sum = 0
        self.waiting_bytes = 0
        """Bytes that waited for all sessions in the last whole round: queued, kept until they are acknowledged, or written and not read."""

    def step(self) -> bool:
        """Look at some more sessions. At the end of a round, shed the largest queues if the sum is above the budget. To be called some ten
        times a second, and in the next turn of the loop again where it returns True: then its time was used up.
        """
        until = self._clock.monotonic() + TURN_S
        while True:
            looked = 0
            for subscriber in islice(self._round, _AT_ONCE):
                looked += 1
                if subscriber.direct_write is not None and not subscriber.waiting:  # nearly always: its client reads
                    continue
                waits = subscriber.queued_bytes + subscriber.unread_bytes
                if waits:
                    self._found.append((waits, subscriber))
                    self._sum += waits
            self._left -= looked
            if looked < _AT_ONCE:
                self._end_round()
            if self._left <= 0 or looked < _AT_ONCE:
                self._left = SESSIONS_PER_STEP
                return False
            if self._clock.monotonic() >= until:
                return True

    def _end_round(self) -> None:
        self.waiting_bytes = self._sum
        found, self._found, self._sum = self._found, [], 0
        self._round = iter(list(self._sessions()))
        if self.waiting_bytes > self._limits.max_process_queue_bytes:
            self._shed_largest(found)

    def _shed_largest(self, found: list[tuple[int, Recipient]]) -> None:
        excess = self.waiting_bytes - self._limits.max_process_queue_bytes
        for waits, subscriber in nlargest(SHED_PER_ROUND, found, key=lambda each: each[0]):
            if excess <= 0:
                return
            excess -= waits
            self._counters.over_budget += 1
            subscriber.shed()
