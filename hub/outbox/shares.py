"""Divides what is limited, such as requests under way, among tenants, and orders those that wait for it. No clock, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import Generic, TypeVar

T = TypeVar("T")


class Share:
    """What one tenant has of a pool."""

    __slots__ = ("pool", "used")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.used = 0

    def add(self, count: int) -> None:
        """Add to what the tenant has; ``count`` may be negative."""
        self.used += count
        self.pool.used += count

    @property
    def room(self) -> int:
        """How much more the tenant may have now."""
        pool = self.pool
        free = pool.size - pool.used
        if pool.alone or free <= 0:
            return max(0, free)
        return max(0, min(free, max(pool.share - self.used, free - pool.kept_free)))


class Pool:
    """``size`` in all, of which one tenant may have the part ``share`` (0 to 1, at least one): more only while nobody else could want it
    (:attr:`alone`), or as long as the part ``kept_free`` stays free, so that others find room at once when they come.
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
        """How much more a tenant may have now. May be called by any thread; the answer may be slightly old there."""
        return (self._shares.get(tenant) or Share(self)).room

    def forget_unused(self, but: Container[str] = ()) -> None:
        """Forget tenants that have nothing of it, ``but`` for those whose :class:`Share` somebody holds on to."""
        self._shares = {tenant: share for tenant, share in self._shares.items() if share.used or tenant in but}


class Line:
    """Those that wait for a place of a pool: tenants take turns, and within a tenant its members."""

    __slots__ = ("_pool", "_waiting")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return sum(len(members) for members in self._waiting.values())

    def join(self, tenant: str, member: str) -> None:
        """Wait, behind the others of the tenant. A member that waits already keeps its place."""
        self._waiting.setdefault(tenant, {}).setdefault(member)

    def next(self) -> tuple[str, str] | None:
        """Whose turn it is, taken out of the line: (tenant, member); None when none of those that wait may have more now. Tenants that have
        as much as they may are passed over: few can be, for that is a good part of the whole.
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
    """Items that wait in memory: in order within a tenant, and tenants in turn."""

    __slots__ = ("_waiting", "pool")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._waiting: dict[str, deque[T]] = {}

    def __len__(self) -> int:
        return self.pool.used

    def append(self, tenant: str, each: T) -> None:
        """The newest of a tenant."""
        self._waiting.setdefault(tenant, deque()).append(each)
        self.pool.of(tenant).add(1)

    def put_back(self, tenant: str, each: T) -> None:
        """The oldest of a tenant: it was taken before what waits."""
        self._waiting.setdefault(tenant, deque()).appendleft(each)
        self.pool.of(tenant).add(1)

    def take(self, most: int) -> list[T]:
        """At most so many: one of each tenant, and one of each once more."""
        taken: list[T] = []
        while self._waiting and len(taken) < most:
            tenant, queue = next(iter(self._waiting.items()))
            del self._waiting[tenant]
            taken.append(queue.popleft())
            self.pool.of(tenant).add(-1)
            if queue:
                self._waiting[tenant] = queue  # behind the other tenants
        return taken
