"""Divides a limited number of places, such as those of requests under way, among tenants, and orders those that wait for a place. No clock,
no I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import Generic, TypeVar

T = TypeVar("T")


class Share:
    """The places of a pool that one tenant uses."""

    __slots__ = ("pool", "used")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.used = 0

    def add(self, count: int) -> None:
        """Change the number of places that the tenant uses by ``count``, which may be negative."""
        self.used += count
        self.pool.used += count

    @property
    def room(self) -> int:
        """How many more places the tenant may use now."""
        pool = self.pool
        free = pool.size - pool.used
        if pool.alone or free <= 0:
            return max(0, free)
        return max(0, min(free, max(pool.share - self.used, free - pool.kept_free)))


class Pool:
    """``size`` places. One tenant may use the part ``share`` of them (0 to 1; at least one place). It may use more if it is the only tenant
    (:attr:`alone`), or as long as the part ``kept_free`` stays free, so that other tenants find a place at once.
    """

    __slots__ = ("_shares", "alone", "kept_free", "share", "size", "used")

    def __init__(self, size: int, share: float, kept_free: float = 0.5) -> None:
        self.size = size
        self.share = max(1, int(size * share))
        self.kept_free = int(size * kept_free)
        self.used = 0
        self.alone = False
        """Whether there is only one tenant."""
        self._shares: dict[str, Share] = {}

    def of(self, tenant: str) -> Share:
        """The share of a tenant."""
        found = self._shares.get(tenant)
        if found is None:
            found = self._shares[tenant] = Share(self)
        return found

    def room_of(self, tenant: str) -> int:
        """How many more places a tenant may use now. Any thread may call this; the answer may be slightly old there."""
        return (self._shares.get(tenant) or Share(self)).room

    def forget_unused(self, but: Container[str] = ()) -> None:
        """Forget tenants that use no place, except those in ``but``, whose :class:`Share` is still referenced."""
        self._shares = {tenant: share for tenant, share in self._shares.items() if share.used or tenant in but}


class Line:
    """Members that wait for a place of a pool. Tenants take turns, and within a tenant its members."""

    __slots__ = ("_pool", "_waiting")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return sum(len(members) for members in self._waiting.values())

    def join(self, tenant: str, member: str) -> None:
        """Add a member behind the others of its tenant. A member that waits already keeps its position."""
        self._waiting.setdefault(tenant, {}).setdefault(member)

    def next(self) -> tuple[str, str] | None:
        """Remove the next (tenant, member) from the line and return it; None if no tenant that waits may use another place now. The search
        passes tenants that use their whole share. They are few, since a share is a large part of the pool.
        """
        if self._pool.used >= self._pool.size:
            return None
        for tenant, members in self._waiting.items():
            if self._pool.of(tenant).room > 0:
                member = next(iter(members))
                del self._waiting[tenant], members[member]
                if members:
                    self._waiting[tenant] = members  # behind the other tenants
                return tenant, member
        return None


class Turns(Generic[T]):
    """Items that wait in memory. Tenants take turns; the items of a tenant stay in order."""

    __slots__ = ("_waiting", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._waiting: dict[str, deque[T]] = {}

    def __len__(self) -> int:
        return self.pool.used

    def append(self, tenant: str, each: T) -> None:
        """Add an item behind the others of its tenant."""
        self._waiting.setdefault(tenant, deque()).append(each)
        self.pool.of(tenant).add(1)

    def put_back(self, tenant: str, each: T) -> None:
        """Put an item before the others of its tenant: it was taken earlier than they were added."""
        self._waiting.setdefault(tenant, deque()).appendleft(each)
        self.pool.of(tenant).add(1)

    def take(self, most: int) -> list[T]:
        """Take at most ``most`` items: one of each tenant in turn, then again one of each."""
        taken: list[T] = []
        while self._waiting and len(taken) < most:
            tenant, queue = next(iter(self._waiting.items()))
            del self._waiting[tenant]
            taken.append(queue.popleft())
            self.pool.of(tenant).add(-1)
            if queue:
                self._waiting[tenant] = queue  # behind the other tenants
        return taken
