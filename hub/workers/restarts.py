"""When a process that died is started again, and when its parent gives up."""

from __future__ import annotations

from collections import deque


class Restarts:
    """The deaths of one process and its successors. Times are seconds of any clock that never goes back."""

    __slots__ = ("_early", "_max_s", "_min_s", "_most", "_pause_s", "_within_s")

    def __init__(self, min_s: float, max_s: float, most: int, within_s: float) -> None:
        """The pause before a start begins at ``min_s`` seconds and doubles up to ``max_s``; after a life of ``within_s`` it begins anew.
        ``most`` deaths before the process was ready, within ``within_s``, are too many.
        """
        self._min_s = min_s
        self._max_s = max_s
        self._most = most
        self._within_s = within_s
        self._pause_s = min_s
        self._early: deque[float] = deque()

    def died(self, now: float, began: float, *, ready: bool) -> float | None:
        """Note a death. Returns the pause in seconds before the next start; None: it died too often before it was ready.

        Args:
            now: the time of the death.
            began: the time at which the process was started.
            ready: whether it was ready before.
        """
        if now - began >= self._within_s:
            self._pause_s = self._min_s
        if not ready:
            self._early.append(now)
            while now - self._early[0] > self._within_s:
                self._early.popleft()
            if len(self._early) >= self._most:
                return None
        pause_s = self._pause_s
        self._pause_s = min(self._max_s, 2 * pause_s)
        return pause_s
