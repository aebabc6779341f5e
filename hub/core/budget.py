"""What waits for all clients of a process together: above the budget its largest queues are turned on first (docs/architecture.md#bounds).

One slow client is bounded by its own limit. Thousands of them, each below it, would still take all memory there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from typing import Final

from hub.core.counters import Counters
from hub.core.limits import Limits
from hub.core.recipient import Recipient

SESSIONS_A_STEP: Final = 1_000
"""Sessions that are looked at in one piece: 0.1 ms where nothing waits, which is nearly everywhere."""

TURNED_ON_AT_ONCE: Final = 32
"""Sessions that are turned on in one piece; the next round goes on with it."""


class QueueBudget:
    """A look at every session's queue, round after round, some sessions a step. The sum is of moments that lie up to a round apart."""

    __slots__ = ("_counters", "_found", "_limits", "_round", "_sessions", "_sum", "waiting_bytes")

    def __init__(self, limits: Limits, counters: Counters, sessions: Callable[[], Iterable[Recipient]]) -> None:
        self._limits = limits
        self._counters = counters
        self._sessions = sessions
        self._round: Iterator[Recipient] = iter(())
        self._found: list[tuple[int, Recipient]] = []
        self._sum = 0
        self.waiting_bytes = 0
        """What waited for all sessions when they were last looked at: queued, kept until it is acknowledged, and written but not read."""

    def step(self) -> None:
        """Look at some more sessions; at the end of a round do what has to be done. Call it often, some ten times a second."""
        looked = 0
        for subscriber in islice(self._round, SESSIONS_A_STEP):
            looked += 1
            if subscriber.direct_write is not None and not subscriber.waiting:  # nearly all: its client reads
                continue
            waits = subscriber.queued_bytes + subscriber.unread_bytes
            if waits:
                self._found.append((waits, subscriber))
                self._sum += waits
        if looked < SESSIONS_A_STEP:
            self.waiting_bytes = self._sum
            found, self._found, self._sum = self._found, [], 0
            self._round = iter(list(self._sessions()))
            if self.waiting_bytes > self._limits.max_process_queue_bytes:
                self._turn_on_largest(found)

    def _turn_on_largest(self, found: list[tuple[int, Recipient]]) -> None:
        excess = self.waiting_bytes - self._limits.max_process_queue_bytes
        for waits, subscriber in nlargest(TURNED_ON_AT_ONCE, found, key=lambda each: each[0]):
            if excess <= 0:
                return
            excess -= waits
            self._counters.over_budget += 1
            subscriber.shed()
