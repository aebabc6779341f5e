"""Which node owns a tenant: one node ingests the tenant's events and keeps its statistics, all others ask it (docs/scaling.md#owners)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from hub.cluster.ports import Nodes
from hub.storage.lease import Fence


class Owner(NamedTuple):
    """The node that owns a tenant."""

    node: str
    """Its incarnation."""
    fence: int
    """A number that rises with each change of the owner; 0 where owners do not change."""


class TenantWorker(Protocol):
    """A part of the hub that works for the tenants which this process owns."""

    async def open_tenant(self, tenant: str, fence: Fence) -> None:
        """Begin to work for a tenant, from what its last owner left. If it raises, the process gives the tenant up and tries again."""
        ...

    async def close_tenant(self, tenant: str) -> None:
        """Finish what is under way and save it: another process will own the tenant. The fence is still valid."""
        ...

    def is_idle(self, tenant: str) -> bool:
        """Whether nobody would notice if another process went on with a tenant that this one has open."""
        ...

    def drop_tenant(self, tenant: str) -> None:
        """Stop to work for a tenant at once: the fence is valid no more. Called after ``close_tenant``, and where a lease was lost; never
        before an ``open_tenant`` that was cancelled for that has ended.
        """
        ...


class Ownership(Protocol):
    """The owners of all tenants, as this process knows them."""

    workers: list[TenantWorker]
    """They are opened in this order, and closed in the reverse order."""
    on_changed: list[Callable[[str], object]]
    """Called with a tenant after what this process knows of its owner has changed."""

    def owner(self, tenant: str) -> Owner | None:
        """The owner; None if there is none now, as far as this process knows. This process itself is named only while it serves."""
        ...

    def serves(self, tenant: str) -> bool:
        """Whether this process owns the tenant, and its workers are open."""
        ...

    def fence(self, tenant: str) -> Fence | None:
        """The fence to show when writing for a tenant; None if this process does not own it, or writes need no fence."""
        ...

    def epoch(self, tenant: str) -> int | None:
        """The number to publish with for a tenant (:attr:`hub.bus.interface.Envelope.epoch`); None if this process does not own it now,
        and must not publish.
        """
        ...

    def want(self, tenant: str) -> None:
        """This process asks for a tenant: from now on its owner is looked for."""
        ...

    async def find(self, tenant: str) -> Owner | None:
        """The owner, after a wait of some seconds if there is none now."""
        ...

    async def refresh(self) -> None:
        """Look at once who owns the tenants, because an owner did not answer, or said that it is none."""
        ...

    def deposed(self, tenant: str, fence: Fence | None) -> None:
        """A write or a message was refused, because another process owns the tenant: stop. Nothing happens if the fence is an old one."""
        ...


class FixedOwnership:
    """One node owns every tenant: this process, or the first of the workers of this machine."""

    def __init__(self, nodes: Nodes | None = None, *, me: str, is_owner: bool, find_s: float = 3.0) -> None:
        """``is_owner``: whether this process is the owner; else it is the live node with the worker number 0 on this machine.
        ``find_s``: seconds that :meth:`find` waits.
        """
        self.workers: list[TenantWorker] = []
        self.on_changed: list[Callable[[str], object]] = []
        self._nodes = nodes
        self._find_s = find_s
        self._wanted: set[str] = set()
        self._owner = Owner(me, 0) if is_owner else None
        self._is_owner = is_owner
        self._changed = asyncio.Event()
        if nodes is not None and not is_owner:
            nodes.on_changed.append(self._look)
            self._look()

    def owner(self, tenant: str) -> Owner | None:
        """See :meth:`Ownership.owner`."""
        return self._owner

    def serves(self, tenant: str) -> bool:
        """See :meth:`Ownership.serves`."""
        return self._is_owner

    def fence(self, tenant: str) -> Fence | None:
        """See :meth:`Ownership.fence`. No write needs one."""
        return None

    def epoch(self, tenant: str) -> int | None:
        """See :meth:`Ownership.epoch`."""
        return 0 if self._is_owner else None

    def want(self, tenant: str) -> None:
        """See :meth:`Ownership.want`."""
        self._wanted.add(tenant)

    async def find(self, tenant: str) -> Owner | None:
        """See :meth:`Ownership.find`."""
        self.want(tenant)
        return await wait_for_owner(self, tenant, self._changed, self._find_s)

    async def refresh(self) -> None:
        """See :meth:`Ownership.refresh`."""
        self._look()

    def deposed(self, tenant: str, fence: Fence | None) -> None:
        """See :meth:`Ownership.deposed`. It never happens."""

    def _look(self) -> None:
        if self._nodes is None or self._is_owner:
            return
        machine = self._nodes.me.machine
        found = [record for record in self._nodes.live().values() if record.worker == 0 and record.machine == machine]
        # while the worker is replaced there are two of them
        first = min(found, key=lambda record: record.draining, default=None)
        owner = None if first is None else Owner(first.incarnation, 0)
        if owner == self._owner:
            return
        self._owner = owner
        self._changed.set()
        for tenant in list(self._wanted):
            for call in self.on_changed:
                call(tenant)


async def wait_for_owner(ownership: Ownership, tenant: str, changed: asyncio.Event, timeout_s: float) -> Owner | None:
    """The owner of a tenant, within ``timeout_s`` seconds; None if there is none by then. ``changed`` is set after each change."""
    try:
        async with asyncio.timeout(timeout_s):
            while (owner := ownership.owner(tenant)) is None:
                changed.clear()
                await changed.wait()
            return owner
    except TimeoutError:
        return None
