"""Where a Redis is. One that knows its master by a Sentinel, or by a Cluster, is another :class:`Endpoint`."""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection, ConnectionPool, RedisSSLContext, SSLConnection, UnixDomainSocketConnection

_TLS_ARGUMENTS = ("keyfile", "certfile", "cert_reqs", "ca_certs", "ca_data", "ca_path", "check_hostname", "ciphers", "password")


class Address(NamedTuple):
    """What a connection needs that speaks to Redis by itself."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    """Of a Unix socket; then host and port say nothing."""
    tls: ssl.SSLContext | None = None
    username: str = ""
    password: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class Endpoint(Protocol):
    """The server that takes writes of some tenants."""

    def connection(self, timeout_s: float) -> AbstractConnection:
        """A connection of redis-py that is not made yet; ``timeout_s`` is for making it."""
        ...

    async def address(self) -> Address:
        """Where it is now."""
        ...


class UrlEndpoint:
    """One server, by URL: ``redis://``, ``rediss://`` or ``unix://``, with the arguments that redis-py knows."""

    __slots__ = ("_address", "_arguments", "_class")

    def __init__(self, url: str) -> None:
        """
        Raises:
            ValueError: it is no URL of a Redis.
        """
        pool = ConnectionPool.from_url(url)
        arguments: dict[str, Any] = dict(pool.connection_kwargs)
        self._class: type[AbstractConnection] = pool.connection_class
        tls = None
        if issubclass(self._class, SSLConnection):
            tls = RedisSSLContext(**{name: arguments[f"ssl_{name}"] for name in _TLS_ARGUMENTS if f"ssl_{name}" in arguments}).get()
        self._address = Address(
            arguments.get("host", "localhost"),
            int(arguments.get("port", 6379)),
            arguments.get("path", "") if issubclass(self._class, UnixDomainSocketConnection) else "",
            tls,
            arguments.get("username") or "",
            arguments.get("password") or "",
        )
        for name in ("socket_timeout", "socket_connect_timeout", "protocol", "decode_responses"):
            arguments.pop(name, None)
        self._arguments = arguments

    def connection(self, timeout_s: float) -> AbstractConnection:
        """See :meth:`Endpoint.connection`."""
        return self._class(socket_timeout=None, socket_connect_timeout=timeout_s, protocol=2, **self._arguments)

    async def address(self) -> Address:
        """See :meth:`Endpoint.address`."""
        return self._address
