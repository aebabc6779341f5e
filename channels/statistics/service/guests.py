"""Which logins have a session, and which values channels have a subscriber, on the other nodes: what the owner of a tenant knows of them.

Each node tells the owner over one call (:mod:`channels.statistics.service.node_calls`). When that call ends, because the node ended or the
link broke, what the node had counts on for a while: its clients come back to this node or to another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from hub.core.errors import RefusedError
from hub.core.ports import Logins
from hub.core.principal import Principal


class Watches(Protocol):
    """Opens and closes values channels: see :class:`channels.statistics.service.interface.StatServer`."""

    async def watch(self, tenant: str, channel: str) -> None: ...

    def unwatch(self, tenant: str, channel: str) -> None: ...


class Guest:
    """What one node has of one tenant."""

    __slots__ = ("calls", "logins", "node", "timer", "watched")

    def __init__(self, node: str) -> None:
        self.node = node
        self.logins: set[str] = set()
        self.watched: set[str] = set()
        self.calls = 0
        """How many calls of the node there were. Only the newest one counts."""
        self.timer: asyncio.TimerHandle | None = None
        """Set while the node has no call: it ends what the node has."""


class Guests:
    """The other nodes' logins and watched channels, of the tenants that this process owns. It is the :class:`hub.core.ports.Logins` of the
    stat server: a login is there as long as it has a session on any node.
    """

    def __init__(self, local: Logins, grace_s: float) -> None:
        """``local`` has the logins of this process. ``grace_s``: seconds for which the logins and channels of a node count on after its
        call has ended.
        """
        self.on_gone: list[Callable[[str, str], None]] = []
        self._local = local
        self._server: Watches | None = None
        self._grace_s = grace_s
        self._tenants: dict[str, dict[str, Guest]] = {}
        local.on_gone.append(self._left)

    def serve(self, server: Watches) -> None:
        """Set the stat server of this process, which opens and closes values channels. Called once, before the first node enters."""
        self._server = server

    # -- Logins -----------------------------------------------------------------------------------------------------

    def arrived(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.arrived`."""
        self._local.arrived(principal)

    def left(self, principal: Principal) -> None:
        """See :meth:`hub.core.ports.Logins.left`."""
        self._local.left(principal)

    def has(self, tenant: str, audience: str) -> bool:
        """See :meth:`hub.core.ports.Logins.has`."""
        return self._local.has(tenant, audience) or any(audience in guest.logins for guest in self._tenants.get(tenant, {}).values())

    def __len__(self) -> int:
        return len(self._local) + sum(len(guest.logins) for guests in self._tenants.values() for guest in guests.values())

    # -- nodes ------------------------------------------------------------------------------------------------------

    def enter(self, tenant: str, node: str) -> int:
        """A node has opened a call; returns its number, which the other methods need."""
        guest = self._tenants.setdefault(tenant, {}).setdefault(node, Guest(node))
        guest.calls += 1
        if guest.timer is not None:
            guest.timer.cancel()
            guest.timer = None
        return guest.calls

    def leave(self, tenant: str, node: str, call: int) -> None:
        """The call of a node has ended."""
        guest = self._find(tenant, node, call)
        if guest is not None and guest.timer is None:
            guest.timer = asyncio.get_running_loop().call_later(self._grace_s, self._end, tenant, guest)

    async def replace(self, tenant: str, node: str, call: int, logins: Iterable[str], watched: Iterable[str]) -> list[str]:
        """A node has told everything that it has. Returns the channels that nobody had watched before."""
        guest = self._find(tenant, node, call)
        if guest is None:
            return []
        before, guest.logins = guest.logins, set(logins)
        for login in before - guest.logins:
            self._left(tenant, login)
        wanted = set(watched)
        for channel in guest.watched - wanted:
            self.unwatch(tenant, node, call, channel)
        opened = []
        for channel in wanted - guest.watched:
            try:
                if await self.watch(tenant, node, call, channel):
                    opened.append(channel)
            except RefusedError:
                continue  # too many are open: its subscribers get no values until one is free, as those that ask now
        return opened

    def arrive(self, tenant: str, node: str, call: int, login: str) -> None:
        """A login has its first session on a node."""
        guest = self._find(tenant, node, call)
        if guest is not None:
            guest.logins.add(login)

    def depart(self, tenant: str, node: str, call: int, login: str) -> None:
        """The last session that a login had on a node has ended."""
        guest = self._find(tenant, node, call)
        if guest is not None:
            guest.logins.discard(login)
            self._left(tenant, login)

    async def watch(self, tenant: str, node: str, call: int, channel: str) -> bool:
        """A values channel has its first subscriber on a node. Returns whether it has the first one on any node.

        Raises:
            RefusedError: see :meth:`channels.statistics.service.interface.StatServer.watch`.
        """
        guest = self._find(tenant, node, call)
        if guest is None:
            return False
        is_first = not self._watchers(tenant, channel)
        guest.watched.add(channel)
        try:
            await self._watches.watch(tenant, channel)
        except RefusedError:
            guest.watched.discard(channel)
            raise
        return is_first

    def unwatch(self, tenant: str, node: str, call: int, channel: str) -> None:
        """The last subscriber of a values channel on a node has gone."""
        guest = self._find(tenant, node, call)
        if guest is not None and channel in guest.watched:
            guest.watched.discard(channel)
            if not self._watchers(tenant, channel):
                self._watches.unwatch(tenant, channel)

    @property
    def _watches(self) -> Watches:
        assert self._server is not None, "serve comes first"
        return self._server

    def forget(self, tenant: str) -> None:
        """This process owns the tenant no more."""
        for guest in self._tenants.pop(tenant, {}).values():
            if guest.timer is not None:
                guest.timer.cancel()

    def _find(self, tenant: str, node: str, call: int) -> Guest | None:
        guest = self._tenants.get(tenant, {}).get(node)
        return guest if guest is not None and guest.calls == call else None

    def _watchers(self, tenant: str, channel: str) -> bool:
        return any(channel in guest.watched for guest in self._tenants.get(tenant, {}).values())

    def _left(self, tenant: str, login: str) -> None:
        if not self.has(tenant, login):
            for call in self.on_gone:
                call(tenant, login)

    def _end(self, tenant: str, guest: Guest) -> None:
        guests = self._tenants.get(tenant, {})
        if guests.get(guest.node) is not guest:
            return
        del guests[guest.node]
        for login in guest.logins:
            self._left(tenant, login)
        for channel in guest.watched:
            if not self._watchers(tenant, channel):
                self._watches.unwatch(tenant, channel)
