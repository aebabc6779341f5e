"""Counts of failures in a time window, and who has signed in before. Both are bounded: anybody can make up names and addresses."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from hub.core.ports import Clock

MAX_WATCHED: Final = 10_000
"""Keys of one count; beyond it that with the oldest last try is forgotten."""

KNOWN_S: Final = 30 * 86_400
"""Seconds for which an address is known from which a user has signed in."""


class FailureCounts:
    """Tries by key. A try counts as failed until it is taken back."""

    __slots__ = ("_clock", "_failures", "_max_watched", "_most", "_window_s")

    def __init__(self, clock: Clock, most: int, window_s: int, *, max_watched: int = MAX_WATCHED) -> None:
        """``most`` failures in ``window_s`` seconds are let through; 0: any number."""
        self._clock = clock
        self._most = most
        self._window_s = window_s
        self._max_watched = max_watched
        self._failures: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def count(self, key: Hashable) -> int:
        """The tries of the present window."""
        since, count = self._failures.get(key, (0.0, 0))
        return count if self._clock.monotonic() - since < self._window_s else 0

    def wait_s(self, key: Hashable) -> int:
        """Seconds to wait before another try; 0 if it is allowed now."""
        since, count = self._failures.get(key, (0.0, 0))
        left = since + self._window_s - self._clock.monotonic()
        return max(1, round(left)) if self._most and count >= self._most and left > 0 else 0

    def tried(self, key: Hashable) -> None:
        """Count a try."""
        now = self._clock.monotonic()
        since, count = self._failures.get(key, (now, 0))
        if now - since >= self._window_s:
            since, count = now, 0
        self._keep(key, since, count + 1)

    def take_back(self, key: Hashable) -> None:
        """A try that was counted did not fail."""
        since, count = self._failures.get(key, (0.0, 0))
        if count > 1:
            self._failures[key] = (since, count - 1)
        else:
            self.forget(key)

    def reached(self, key: Hashable, left_s: float) -> None:
        """All nodes together have counted as many failures as may be; the window lasts ``left_s`` seconds more."""
        self._keep(key, self._clock.monotonic() + left_s - self._window_s, max(self._most, self.count(key)))

    def forget(self, key: Hashable) -> None:
        """Forget the tries of a key."""
        self._failures.pop(key, None)

    def _keep(self, key: Hashable, since: float, count: int) -> None:
        self._failures[key] = (since, count)
        self._failures.move_to_end(key)
        if len(self._failures) > self._max_watched:
            self._failures.popitem(last=False)


class KnownAddresses:
    """The addresses from which users have signed in, in this process. Of too many, the tenant with most of them loses the one that was used
    least recently: one user with a network of addresses makes no other tenant's users forgotten.
    """

    __slots__ = ("_clock", "_max_known", "_number", "_of_tenant")

    def __init__(self, clock: Clock, *, max_known: int = MAX_WATCHED) -> None:
        self._clock = clock
        self._max_known = max_known
        self._number = 0
        # by tenant: when users were seen at addresses; the least recent first
        self._of_tenant: dict[str, OrderedDict[tuple[str, str], float]] = {}

    def __len__(self) -> int:
        return self._number

    def note(self, address: str, tenant: str, user: str) -> None:
        """A user has signed in from an address."""
        seen = self._of_tenant.setdefault(tenant, OrderedDict())
        self._number += (address, user) not in seen
        seen[address, user] = self._clock.monotonic()
        seen.move_to_end((address, user))
        if self._number > self._max_known:
            self._drop_one()

    def knows(self, address: str, tenant: str, user: str) -> bool:
        """Whether a user has signed in from an address within :data:`KNOWN_S`."""
        of_tenant = self._of_tenant.get(tenant)
        seen = None if of_tenant is None else of_tenant.get((address, user))
        return seen is not None and self._clock.monotonic() - seen < KNOWN_S

    def _drop_one(self) -> None:
        tenant = max(self._of_tenant, key=lambda each: len(self._of_tenant[each]))
        self._of_tenant[tenant].popitem(last=False)
        self._number -= 1
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]
