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

_TLS_FILES = ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_ca_path")

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

    __slots__ = ("_arguments", "_class", "_tls", "address")

    def __init__(self, url: str) -> None:
        """``url``: ``redis://``, ``rediss://`` or ``unix://``.

        Raises:
            ValueError: it is no URL of a Redis.
        """
        pool = ConnectionPool.from_url(url)
        arguments: dict[str, Any] = dict(pool.connection_kwargs)
        self._class: type[AbstractConnection] = pool.connection_class
        self._tls = _tls_of(arguments) if issubclass(self._class, SSLConnection) else None
        self.address = Address(
            arguments.get("host", "localhost"),
            int(arguments.get("port", 6379)),
            arguments.get("path", "") if issubclass(self._class, UnixDomainSocketConnection) else "",
            None if self._tls is None else self._tls.get(),
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
        made = self._class(socket_timeout=None, socket_connect_timeout=timeout_s or None, protocol=2, **where, **self._arguments)
        if self._tls is not None and isinstance(made, SSLConnection):
            made.ssl_context = self._tls  # to make one takes 35 ms of the event loop
        return made


def _tls_of(arguments: Mapping[str, Any]) -> RedisSSLContext:
    """What the arguments ``ssl_...`` of a URL say, with the defaults of redis-py: certificates are checked.

    Raises:
        ValueError: a file cannot be read, or an argument cannot be used; what was expected.
    """
    for name in _TLS_FILES:
        path = arguments.get(name)
        if path is not None and not os.access(path, os.R_OK):
            raise ValueError(f"expected a path that this user can read as {name}, got {path}")
    try:
        context = SSLConnection(**{name: value for name, value in arguments.items() if name.startswith("ssl_")}).ssl_context
        context.get()
    except (RedisError, TypeError, OSError) as error:  # what ssl raises is an OSError
        raise ValueError(f"expected arguments ssl_... that can be used, got: {error}") from None
    return context


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
