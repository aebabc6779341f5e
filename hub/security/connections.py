"""Limits how many connections a server holds: all connections, those without a credential (in all and by address), and those of a tenant.

Until a client shows a credential on a connection, the hub does not know who it is. Anybody who can open sockets could take all
connections, so those without a credential have limits of their own. When a limit is reached, the hub closes the oldest connection that is
idle between two requests and accepts the new one: such a connection may be closed at any time (RFC 9112 section 9.6). If none is idle,
it closes the oldest one that keeps the hub waiting, because its client does not send the rest of a body or does not read an answer. If
there is none of these either, it refuses the new connection.

Connections with a credential are counted by tenant. A tenant that has its share cannot take the last free places, so that clients of other
tenants can still connect. docs/security.md#limits-by-address-and-by-tenant describes this for users.
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
"""The key of the :class:`Connection` in an ASGI scope."""

RETRY_AFTER_S: Final = 5
"""How long a refused client is asked to wait, in seconds."""

_IPV6_PREFIX: Final = 64
"""Length in bits of the IPv6 prefix that counts as one client: a provider gives each customer at least one such network (RFC 6177)."""

_MAX_FORWARDERS: Final = 1_000
"""Entries at most in each cache of peer addresses. The caches have a limit because anybody on the network can add entries."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_KEPT_FREE: Final = 10
"""Divisor: a tenth of ``max_connections``, but at most ``max_unidentified``, is closed to tenants that have their share."""

_LOOKED_AT: Final = 8
"""How many addresses, or tenants, are searched for a connection to close: those with the most connections."""

LOOPBACK: Final[tuple[Network, ...]] = (ipaddress.IPv4Network("127.0.0.1/32"), ipaddress.IPv6Network("::1/128"))

_log = structlog.get_logger(__name__)


@lru_cache(maxsize=_MAX_FORWARDERS)
def address_key(host: str | None) -> str:
    """The key under which a client is counted: its IPv4 address, or the /64 network of its IPv6 address. Other text is its own key."""
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
        """Whether it is idle: no request is in progress; of a WebSocket, whether its client has shown no credential yet."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether a request is in progress that waits for the client: to send the rest of a body, or to read the answer."""
        ...

    def give_way(self) -> None:
        """Close it at once, even if a request is in progress."""
        ...

    def admitted(self) -> None:
        """The client was admitted, with a credential or without one: the tighter limits for unknown clients no longer apply."""
        ...


class _Ended:
    """Stands for a connection that has ended."""

    waits = False
    stalled = False

    def give_way(self) -> None:
        """Nothing is left to close."""

    def admitted(self) -> None:
        """Nothing comes any more."""


_ENDED: Final[Held] = _Ended()


class ClientConnection(Protocol):
    """The connection of a client, as those see it who serve its requests: a :class:`Connection`, or what stands for the one of another node
    (:class:`hub.cluster.relay.connection.RelayedConnection`).
    """

    @property
    def identified(self) -> bool:
        """Whether the client has shown a credential."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant of the last credential that the client showed."""
        ...

    @property
    def let_in(self) -> bool:
        """Whether the client was admitted without a credential."""
        ...

    @property
    def limited_address(self) -> str | None:
        """The address whose limits apply; None if none do here."""
        ...

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        """See :meth:`Connection.admit`."""
        ...

    def identify(self, tenant: str) -> bool:
        """See :meth:`Connection.identify`."""
        ...


class Connection:
    """One connection: its peer, and whether the client has shown a credential."""

    __slots__ = ("_admitted", "_connections", "address", "held", "identified", "let_in", "open", "peer", "tenant", "trusted")

    def __init__(self, connections: Connections, held: Held, host: str | None, *, trusted: bool) -> None:
        self._connections = connections
        self.held = held
        self.peer = address_key(host)
        """The key of the peer's address (:func:`address_key`)."""
        self.address = self.peer
        """The key under which the connection is counted: the peer's; behind a trusted proxy, that of the last request's client."""
        self.trusted = trusted
        """Whether the peer is one of ``trusted_proxies``."""
        self.identified = False
        self.tenant = ""
        """The tenant of the last credential that the client showed."""
        self.let_in = False
        """Whether the client was admitted without a credential (``--open``). The connection is counted, but not closed for a new one."""
        self.open = True
        self._admitted = False
        """Whether ``held.admitted()`` has been called."""

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        """Note that the client was admitted, with a credential of ``tenant`` or as ``anonymous``. If the tenant already has its share of
        the connections, this one is closed.
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
        """Note that the client showed a credential of ``tenant``. False if that tenant already has its share of the connections; the
        connection is then not counted for it.
        """
        if self.identified and tenant == self.tenant:
            return True
        return self._connections.identify(self, tenant)

    def close(self) -> None:
        """Note that the connection has ended. It may be called twice."""
        self._connections.close(self)

    def lost(self) -> None:
        """Note that the connection has ended, and let go of what held it: that refers to this, and no circle is left to the garbage
        collector.
        """
        self.close()
        self.held = _ENDED

    @property
    def limited_address(self) -> str | None:
        """The address whose limits apply; None for a peer that forwards requests of unknown clients."""
        return None if self._connections.forwards(self) else self.address


def connection_of(scope: Scope) -> ClientConnection | None:
    """The connection of a request or WebSocket; None if another server than the hub's own runs the application."""
    found: ClientConnection | None = scope.get(SCOPE_KEY)
    return found


def admit(scope: Scope, *, anonymous: bool = False, tenant: str = "") -> None:
    """Note that the sender of this request was admitted; see :meth:`Connection.admit`."""
    connection: ClientConnection | None = scope.get(SCOPE_KEY)
    if connection is not None and (not connection.identified or (tenant != connection.tenant and not anonymous)):
        connection.admit(anonymous=anonymous, tenant=tenant)


class Connections:
    """All connections of a process."""

    __slots__ = ("_by_address", "_by_tenant", "_forwarders", "_limits", "_proxies", "_trust", "count", "counters", "unidentified")

    def __init__(self, limits: Limits, proxies: Sequence[Network] = ()) -> None:
        """``proxies`` are the networks whose ``X-Forwarded-For`` is trusted."""
        self._limits = limits
        self._proxies = tuple(proxies)
        self._trust: dict[str, bool] = {}
        self._forwarders: set[str] = set()
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._by_tenant: dict[str, dict[Connection, None]] = {}
        self.counters = ConnectionCounters()
        self.count = 0
        """Open connections."""
        self.unidentified = 0
        """Open connections without a credential."""

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

    # -- opening and closing connections ----------------------------------------------------------------------------

    def take(self, held: Held, host: str | None) -> Connection | str:
        """Count a new connection. Returns the name of a limit instead, if that limit is reached and no connection can be closed."""
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
        """Remove a connection from the count of those without a credential."""
        of_address = self._by_address.get(connection.address)
        if of_address is not None and connection in of_address:
            del of_address[connection]
            self.unidentified -= 1
            if not of_address:
                del self._by_address[connection.address]

    def identify(self, connection: Connection, tenant: str) -> bool:
        """See :meth:`Connection.identify`. A tenant may exceed its share as long as enough places are free for others."""
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
        """Close a connection without a credential, of the address that has most of them. Returns whether one was closed."""
        return any(self._evict(connections) for connections in nlargest(_LOOKED_AT, self._by_address.values(), key=len))

    def _evict_of_tenants(self) -> bool:
        """Close an idle or stalled connection of a tenant that exceeds its share. Returns whether one was closed. A WebSocket or stream
        whose client reads its messages is neither idle nor stalled.
        """
        share = self._limits.of_tenant(self._limits.max_connections)
        most = nlargest(_LOOKED_AT, self._by_tenant.values(), key=len)
        return any(len(connections) > share and self._evict(connections) for connections in most)

    def _evict(self, connections: dict[Connection, None]) -> bool:
        """Close the oldest idle connection; if there is none, the oldest stalled one. Returns whether one was closed."""
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

    # -- proxies ----------------------------------------------------------------------------------------------------

    def forwards(self, connection: Connection) -> bool:
        """Whether the peer is a proxy that is not trusted: its address tells nothing about its clients."""
        return connection.address in self._forwarders

    def forwarded_for(self, connection: Connection, client: str | None) -> bool:
        """Note that a request came through a proxy. ``client`` is the address that a trusted proxy names; None if it names none. False if
        the request must be refused, because the client has too many connections without a credential.
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
