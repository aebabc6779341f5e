"""Where a Redis is: at a fixed address, or where the Sentinels say that the master is."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection, ConnectionPool, RedisSSLContext, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

_TLS_ARGUMENTS = ("keyfile", "certfile", "cert_reqs", "ca_certs", "ca_data", "ca_path", "check_hostname", "ciphers", "password")
_TLS_FILES = ("keyfile", "certfile", "ca_certs", "ca_path")

HostPort = tuple[str, int]


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

    fixed: bool
    """Whether it is always the same server: only such a one can prove that it has lost nothing."""
    sharded: bool
    """Whether it is a master of a Cluster: messages are published by slot (``SPUBLISH``)."""

    async def address(self, timeout_s: float) -> Address:
        """Where it is now.

        Raises:
            RedisError, OSError: nobody could tell within ``timeout_s`` seconds.
        """
        ...

    def connection(self, address: Address, timeout_s: float) -> AbstractConnection:
        """A connection of redis-py to this address that is not made yet; ``timeout_s`` is for making it; 0: no limit."""
        ...

    def has(self, key: bytes) -> bool:
        """Whether a key may be there: each master of a Cluster has some slots only."""
        ...


class Access:
    """How connections to the servers of one URL are made: TLS, credentials, and the other arguments that redis-py knows."""

    __slots__ = ("_arguments", "_class", "address")

    def __init__(self, url: str) -> None:
        """``url``: ``redis://``, ``rediss://`` or ``unix://``.

        Raises:
            ValueError: it is no URL of a Redis.
        """
        pool = ConnectionPool.from_url(url)
        arguments: dict[str, Any] = dict(pool.connection_kwargs)
        self._class: type[AbstractConnection] = pool.connection_class
        tls = None
        if issubclass(self._class, SSLConnection):
            tls = _tls_of(arguments)
        self.address = Address(
            arguments.get("host", "localhost"),
            int(arguments.get("port", 6379)),
            arguments.get("path", "") if issubclass(self._class, UnixDomainSocketConnection) else "",
            tls,
            arguments.get("username") or "",
            arguments.get("password") or "",
        )
        """The address in the URL."""
        for name in ("socket_timeout", "socket_connect_timeout", "protocol", "decode_responses", "host", "port", "path"):
            arguments.pop(name, None)
        self._arguments = arguments

    def at(self, host: str, port: int) -> Address:
        """The address of another server that is reached in the same way."""
        return self.address._replace(host=host, port=port)

    def connection(self, address: Address, timeout_s: float) -> AbstractConnection:
        """See :meth:`Endpoint.connection`."""
        where: dict[str, Any] = {"path": address.path} if address.path else {"host": address.host, "port": address.port}
        return self._class(socket_timeout=None, socket_connect_timeout=timeout_s or None, protocol=2, **where, **self._arguments)


def _tls_of(arguments: Mapping[str, Any]) -> ssl.SSLContext:
    """What the arguments ``ssl_...`` of a URL say.

    Raises:
        ValueError: a file cannot be read, or an argument cannot be used; what was expected.
    """
    for name in _TLS_FILES:
        path = arguments.get(f"ssl_{name}")
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"expected a path that this user can read as ssl_{name}, got {path}")
    try:
        return RedisSSLContext(**{name: arguments[f"ssl_{name}"] for name in _TLS_ARGUMENTS if f"ssl_{name}" in arguments}).get()
    except (RedisError, OSError) as error:  # what ssl raises is an OSError
        raise ValueError(f"expected arguments ssl_... that can be used, got: {error}") from None


class UrlEndpoint:
    """One server, by URL: ``redis://``, ``rediss://`` or ``unix://``, with the arguments that redis-py knows."""

    __slots__ = ("_access",)

    fixed = True
    sharded = False

    def __init__(self, url: str) -> None:
        """
        Raises:
            ValueError: it is no URL of a Redis.
        """
        self._access = Access(url)

    async def address(self, timeout_s: float = 0) -> Address:
        """See :meth:`Endpoint.address`."""
        return self._access.address

    def connection(self, address: Address, timeout_s: float) -> AbstractConnection:
        """See :meth:`Endpoint.connection`."""
        return self._access.connection(address, timeout_s)

    def has(self, key: bytes) -> bool:
        """See :meth:`Endpoint.has`."""
        return True


class MasterEndpoint:
    """One master of a Cluster."""

    __slots__ = ("_access", "_address", "_has")

    fixed = False
    sharded = True

    def __init__(self, access: Access, host: str, port: int, has: Callable[[bytes], bool]) -> None:
        self._access = access
        self._address = access.at(host, port)
        self._has = has

    async def address(self, timeout_s: float = 0) -> Address:
        """See :meth:`Endpoint.address`."""
        return self._address

    def connection(self, address: Address, timeout_s: float) -> AbstractConnection:
        """See :meth:`Endpoint.connection`."""
        return self._access.connection(address, timeout_s)

    def has(self, key: bytes) -> bool:
        """See :meth:`Endpoint.has`."""
        return self._has(key)


class SentinelEndpoint:
    """The master of a service, which its Sentinels know. They are asked at each connection, one after the other."""

    __slots__ = ("_access", "_hosts", "_sentinels", "service")

    fixed = False
    sharded = False

    def __init__(self, access: Access, hosts: Sequence[HostPort], service: str, sentinels: Access) -> None:
        """``access`` is for the master, ``sentinels`` for the Sentinels at ``hosts``."""
        self._access = access
        self._hosts = list(hosts)
        self._sentinels = sentinels
        self.service = service
        """The name of the master in the Sentinels' configuration."""

    async def address(self, timeout_s: float) -> Address:
        """See :meth:`Endpoint.address`."""
        errors = []
        for host in list(self._hosts):
            try:
                async with asyncio.timeout(timeout_s / len(self._hosts)):
                    found = await self._ask(*host)
            except (RedisError, OSError) as error:
                errors.append(f"{host[0]}:{host[1]}: {error or 'no answer'}")
                continue
            if found is not None:
                # the next one asks it first
                self._hosts.remove(host)
                self._hosts.insert(0, host)
                return self._access.at(*found)
            errors.append(f"{host[0]}:{host[1]}: no master named {self.service}")
        raise RedisConnectionError(f"no Sentinel names a master: {'; '.join(errors)}")

    async def _ask(self, host: str, port: int) -> HostPort | None:
        connection = self._sentinels.connection(self._sentinels.at(host, port), 0)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            answer = await connection.read_response(disable_decoding=True)
        finally:
            await connection.disconnect(nowait=True)
        return None if answer is None else (answer[0].decode(), int(answer[1]))

    def connection(self, address: Address, timeout_s: float) -> AbstractConnection:
        """See :meth:`Endpoint.connection`."""
        return self._access.connection(address, timeout_s)

    def has(self, key: bytes) -> bool:
        """See :meth:`Endpoint.has`."""
        return True
