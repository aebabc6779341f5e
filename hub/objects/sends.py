"""Passes uploads on to a cloud's store: few at once, and never all of one tenant. No I/O."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_KEPT_FREE: Final = 4
"""Divisor: of so many places one is kept from the tenant that has the others."""


class Sends:
    """The places of one process for uploads that are passed on. Where several tenants wait, the one with the fewest is next."""

    __slots__ = ("_running", "_share", "_size", "_waiting")

    def __init__(self, at_once: int) -> None:
        """``at_once``: how many there are. One tenant has three quarters of them at most, and at least one."""
        self._size = at_once
        self._share = max(1, at_once - max(1, at_once // _KEPT_FREE))
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """By tenant, the one whose turn was the longest time ago first."""

    @property
    def running(self) -> int:
        """Uploads that are being passed on."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """Uploads that wait for that."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a place, and have it while the block runs. ``tenant`` is empty for what belongs to none, which has no
        share of its own.
        """
        if self.running < self._size and self._has_room(tenant):
            self._running[tenant] += 1
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._leave(tenant)

    async def _wait(self, tenant: str) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave(tenant)  # the place was given in the same moment
            else:
                self._forget(tenant, place)
            raise

    def _leave(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        self._give()

    def _give(self) -> None:
        """Give free places to those that wait."""
        while self.running < self._size:
            able = [tenant for tenant in self._waiting if self._has_room(tenant)]
            if not able:
                return
            tenant = min(able, key=lambda each: self._running[each])
            places = self._waiting.pop(tenant)
            place = places.popleft()
            if places:
                self._waiting[tenant] = places  # behind the others
            if not place.done():  # else who waited for it has just gone away
                self._running[tenant] += 1
                place.set_result(None)

    def _has_room(self, tenant: str) -> bool:
        return not tenant or self._running[tenant] < self._share

    def _forget(self, tenant: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(tenant, deque())
        if place in places:
            places.remove(place)
        if not places:
            self._waiting.pop(tenant, None)
