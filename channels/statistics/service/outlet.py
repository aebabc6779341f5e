"""How a stat server publishes: only while this process owns the tenant, and with the owner's epoch (docs/scaling.md#owners)."""

from __future__ import annotations

from channels.statistics.service.counters import Counters
from hub.cluster.ownership import Ownership
from hub.core.publisher import Publisher


class Outlet:
    """Publishes for the owner of a tenant. What a process wants to publish that owns the tenant no more is dropped and counted."""

    __slots__ = ("_counters", "_ownership", "_publisher")

    def __init__(self, publisher: Publisher, ownership: Ownership | None, counters: Counters) -> None:
        """Without ``ownership`` this process owns every tenant."""
        self._publisher = publisher
        self._ownership = ownership
        self._counters = counters

    async def emit(self, tenant: str, channel: str, data: bytes, *, audience: str = "") -> None:
        """Publish to all of a tenant, or to one login (:meth:`hub.core.publisher.Publisher.emit`)."""
        epoch = self._epoch(tenant)
        if epoch is None:
            self._counters.deposed += 1
        else:
            await self._publisher.emit(tenant, channel, data, audience=audience, epoch=epoch)

    def emit_to_logins(self, tenant: str, channel: str, data: bytes, logins: tuple[str, ...]) -> None:
        """Publish the same message to several logins (:meth:`hub.core.publisher.Publisher.emit_to_logins`)."""
        epoch = self._epoch(tenant)
        if epoch is None:
            self._counters.deposed += len(logins)
        else:
            self._publisher.emit_to_logins(tenant, channel, data, logins, epoch=epoch)

    def _epoch(self, tenant: str) -> int | None:
        return 0 if self._ownership is None else self._ownership.epoch(tenant)
