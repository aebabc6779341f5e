"""How many connections a server holds, and of whom: in all, and of those that have shown no credential, in all and of one address.

Nothing is known of a connection until somebody shows a credential on it, so whoever can open sockets could take all of them. Those without
are therefore counted by themselves. Where there are as many as there may be, the one that has waited longest for its client gives way to
the new one: a connection between two requests may be closed at any time (RFC 9112 section 9.6). Where none waits, one gives way that keeps
the hub waiting, for the rest of a body or with an answer that it does not read; else the new one is refused.

Those with a credential are counted by tenant: one that has its share of them takes none of the last places, so that others come in.
docs/security.md#limits-by-address-and-by-tenant says the same to users.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import nlargest
from typing import ClassVar, Final, Protocol

import structlog
from starlette.types import Scope

from hub.core.limits import Limits
from hub.core.metric import CounterFamily

SCOPE_KEY: Final = "hub.connection"
"""Where an ASGI scope has its :class:`Connection`."""

RETRY_AFTER_S: Final = 5
"""How long a refused client is asked to wait, in seconds."""

_IPV6_PREFIX: Final = 64
"""One customer of a provider has at least so many bits of IPv6 for himself (RFC 6177)."""

_MAX_FORWARDERS: Final = 1_000
"""Peers that are remembered for having forwarded: they come from outside."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_KEPT_FREE: Final = 10
"""A tenth of ``max_connections``, ``max_unidentified`` at most, is kept free of tenants that have their share."""

_LOOKED_AT: Final = 8
"""Addresses, or tenants, among whose connections one is looked for that gives way."""

LOOPBACK: Final[tuple[Network, ...]] = (ipaddress.IPv4Network("127.0.0.1/32"), ipaddress.IPv6Network("::1/128"))

_log = structlog.get_logger(__name__)


@lru_cache(maxsize=_MAX_FORWARDERS)
def address_key(host: str | None) -> str:
    """What one client is counted as: its IPv4 address, or the /64 of its IPv6 address; what is neither is itself."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))


@dataclass(slots=True)
class ConnectionCounters:
    """What is counted of connections; each field becomes ``hub_connections_<field>``."""

    METRICS: ClassVar = (
        CounterFamily(
            "refused",
            "Connections and requests that were refused with 429 or 503, by the limit that was reached.",
            "limit",
            {
                "refused_all": "max_connections",
                "refused_address": "max_unidentified_per_address",
                "refused_unidentified": "max_unidentified",
                "refused_tenant": "tenant_share_percent",
            },
        ),
    )

    opened: int = 0
    """Connections that were taken."""
    evicted: int = 0
    """Connections without a credential that waited for their client, and gave way to a new one."""
    refused_all: int = 0
    """Connections beyond ``max_connections``."""
    refused_address: int = 0
    """Connections and requests beyond ``max_unidentified_per_address``."""
    refused_unidentified: int = 0
    """Connections beyond ``max_unidentified``."""
    refused_tenant: int = 0
    """Connections and requests whose tenant has its share of ``max_connections``."""


class Held(Protocol):
    """A connection as the server's protocol holds it."""

    @property
    def waits(self) -> bool:
        """Whether nothing is under way on it: it waits for its client."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether what is under way on it waits for its client: for the rest of a body, or to be read."""
        ...

    def give_way(self) -> None:
        """End it, at once, whatever is under way on it."""
        ...

    def admitted(self) -> None:
        """Whoever is on it was let in, by a credential or without one: what is bounded more tightly before is so no more."""
        ...


class Connection:
    """One connection: who its peer is, and whether it has shown a credential."""

    __slots__ = ("_admitted", "_connections", "address", "held", "identified", "let_in", "open", "peer", "tenant", "trusted")

    def __init__(self, connections: Connections, held: Held, host: str | None, *, trusted: bool) -> None:
        self._connections = connections
        self.held = held
        self.peer = address_key(host)
        """The peer's address, as it is counted."""
        self.address = self.peer
        """The peer's, as it is counted; behind a trusted proxy that of the client of the last request."""
        self.trusted = trusted
        """Whether the peer is one of ``trusted_proxies``."""
        self.identified = False
        self.tenant = ""
        """Of the last credential that was shown."""
        self.let_in = False
        """Without a credential, by ``--open``: it is counted, but does not give way."""
        self.open = True
        self._admitted = False
        """Whether ``held`` has been called."""

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        """Somebody was let in on this connection: by a credential of ``tenant``, or as ``anonymous``. The connection is ended where that
        tenant has its share.
        """
        known = self.let_in if anonymous else self.identified and tenant == self.tenant
        if known and self._admitted:  # nearly every message of a session
            return
        if anonymous:
            self.let_in = True
        elif not self.identify(tenant):
            self.close()
            self.held.give_way()
            return
        self._admitted = True
        self.held.admitted()

    def identify(self, tenant: str) -> bool:
        """A credential of ``tenant`` was shown on this connection; False when that tenant has its share of all, and it is not counted."""
        if self.identified and tenant == self.tenant:
            return True
        return self._connections.identify(self, tenant)

    def close(self) -> None:
        """The connection is over. Calling it twice does no harm."""
        self._connections.close(self)

    @property
    def limited_address(self) -> str | None:
        """The address whose limits hold; None for a peer that forwards for others who are not known."""
        return None if self._connections.forwards(self) else self.address


def connection_of(scope: Scope) -> Connection | None:
    """The connection of a request or WebSocket; None under another server."""
    found: Connection | None = scope.get(SCOPE_KEY)
    return found


def admit(scope: Scope, *, anonymous: bool = False, tenant: str = "") -> None:
    """Whoever sent this was let in; see :meth:`Connection.admit`."""
    connection: Connection | None = scope.get(SCOPE_KEY)
    if connection is not None and (not connection.identified or (tenant != connection.tenant and not anonymous)):
        connection.admit(anonymous=anonymous, tenant=tenant)


class Connections:
    """All connections of a process."""

    __slots__ = ("_by_address", "_by_tenant", "_forwarders", "_limits", "_proxies", "_trust", "count", "counters", "unidentified")

    def __init__(self, limits: Limits, proxies: Sequence[Network] = ()) -> None:
        """``proxies`` are the networks whose ``X-Forwarded-For`` is believed."""
        self._limits = limits
        self._proxies = tuple(proxies)
        self._trust: dict[str, bool] = {}
        self._forwarders: set[str] = set()
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._by_tenant: dict[str, dict[Connection, None]] = {}
        self.counters = ConnectionCounters()
        self.count = 0
        """Connections that are open."""
        self.unidentified = 0
        """Those of them that have shown no credential."""

    def trusts(self, host: str | None) -> bool:
        """Whether a peer is one of the trusted proxies."""
        known = self._trust.get(host or "")
        if known is None:
            known = self._is_proxy(host)
            if len(self._trust) >= _MAX_FORWARDERS:
                self._trust.clear()
            self._trust[host or ""] = known
        return known

    def _is_proxy(self, host: str | None) -> bool:
        try:
            address = ipaddress.ip_address((host or "").partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)

    # -- connections come and go ------------------------------------------------------------------------------------

    def take(self, held: Held, host: str | None) -> Connection | str:
        """Count a new connection; the name of a limit when there are as many as it allows, and none gives way."""
        connection = Connection(self, held, host, trusted=self.trusts(host))
        limits = self._limits
        if self.count >= limits.max_connections and not self._evict_of_many() and not self._evict_of_tenants():
            self.counters.refused_all += 1
            return "max_connections"
        if not self._has_room(connection) and not self._evict(self._by_address.get(connection.address, {})):
            self.counters.refused_address += 1
            return "max_unidentified_per_address"
        if self.unidentified >= limits.max_unidentified and not self._evict_of_many():
            self.counters.refused_unidentified += 1
            return "max_unidentified"
        self.count += 1
        self.counters.opened += 1
        self._count(connection)
        return connection

    def close(self, connection: Connection) -> None:
        """See :meth:`Connection.close`."""
        if connection.open:
            connection.open = False
            self.count -= 1
            self.uncount(connection)
            self._leave_tenant(connection)

    def _count(self, connection: Connection) -> None:
        self.unidentified += 1
        self._by_address.setdefault(connection.address, {})[connection] = None

    def uncount(self, connection: Connection) -> None:
        """It is no longer one without a credential."""
        of_address = self._by_address.get(connection.address)
        if of_address is not None and connection in of_address:
            del of_address[connection]
            self.unidentified -= 1
            if not of_address:
                del self._by_address[connection.address]

    def identify(self, connection: Connection, tenant: str) -> bool:
        """See :meth:`Connection.identify`. A tenant may have more than its share as long as enough places are left for others."""
        limits = self._limits
        if tenant and connection.open and tenant != connection.tenant:
            share = limits.of_tenant(limits.max_connections)
            kept = min(limits.max_unidentified, limits.max_connections // _KEPT_FREE)
            with_credential = self.count - self.unidentified
            if len(self._by_tenant.get(tenant, ())) >= share and with_credential >= limits.max_connections - kept:
                self.counters.refused_tenant += 1
                return False
        if not connection.identified:
            connection.identified = True
            self.uncount(connection)
        self._leave_tenant(connection)
        connection.tenant = tenant
        if tenant and connection.open:
            self._by_tenant.setdefault(tenant, {})[connection] = None
        return True

    def _leave_tenant(self, connection: Connection) -> None:
        of_tenant = self._by_tenant.get(connection.tenant)
        if of_tenant is not None and connection in of_tenant:
            del of_tenant[connection]
            if not of_tenant:
                del self._by_tenant[connection.tenant]

    def _has_room(self, connection: Connection) -> bool:
        if self.forwards(connection):
            return True
        return len(self._by_address.get(connection.address, ())) < self._limits.max_unidentified_per_address

    def _evict_of_many(self) -> bool:
        """Make room at the expense of whoever has most connections without a credential."""
        return any(self._evict(connections) for connections in nlargest(_LOOKED_AT, self._by_address.values(), key=len))

    def _evict_of_tenants(self) -> bool:
        """Make room at the expense of tenants that have more than their share: by what waits, never by what they listen on."""
        share = self._limits.of_tenant(self._limits.max_connections)
        most = nlargest(_LOOKED_AT, self._by_tenant.values(), key=len)
        return any(len(connections) > share and self._evict(connections) for connections in most)

    def _evict(self, connections: dict[Connection, None]) -> bool:
        """End the oldest that waits for its client; where none does, the oldest that keeps the hub waiting."""
        found = None
        for connection in connections:
            if connection.let_in:
                continue
            if connection.held.waits:
                found = connection
                break
            if found is None and connection.held.stalled:
                found = connection
        if found is None:
            return False
        self.counters.evicted += 1
        self.close(found)
        found.held.give_way()
        return True

    # -- who forwards for others ------------------------------------------------------------------------------------

    def forwards(self, connection: Connection) -> bool:
        """Whether the peer has forwarded for others and is not trusted: its address says nothing of its clients."""
        return connection.address in self._forwarders

    def forwarded_for(self, connection: Connection, client: str | None) -> bool:
        """A request on this connection came by way of a proxy, for ``client`` where the proxy is trusted and names one. False when it is to
        be refused: the client has too many connections without a credential.
        """
        if not connection.trusted:
            self._note_forwarder(connection)
            return True
        address = connection.peer if client is None else address_key(client)
        if connection.identified or address == connection.address:
            connection.address = address
            return True
        self.uncount(connection)
        connection.address = address
        room = self._has_room(connection)
        if not room:
            self.counters.refused_address += 1
        self._count(connection)
        return room

    def _note_forwarder(self, connection: Connection) -> None:
        if connection.address in self._forwarders or len(self._forwarders) >= _MAX_FORWARDERS:
            return
        self._forwarders.add(connection.address)
        _log.warning(
            "proxy_not_trusted",
            address=connection.address,
            setting="trusted_proxies",
            effect="its X-Forwarded-For is not believed, and limits by address do not hold for it",
        )
