"""Whether published messages come through a subscriber connection: found by reading the same on both connections, and by a message of this
node to itself (docs/scaling.md#when-something-breaks).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from hub.bus.redis.connection import ConnectionLostError, SubscriberConnection
from hub.bus.redis.heard import Heard
from hub.redis.commands import RedisElsewhereError, RedisRefusedError, RedisUnavailableError, ServerCommands
from hub.redis.endpoint import Address

AT_ONCE: Final = 500
"""Tenants in one step of a check."""


class Watched(Protocol):
    """What is checked: a :class:`hub.bus.redis.subscriber.Subscriber`."""

    server: ServerCommands
    tenants: dict[str, Heard]
    probe: bytes
    """The newest message to itself that arrived."""
    probed_at: float
    """When it arrived."""
    lag_s: float
    """Seconds that it took."""

    async def address(self) -> Address:
        """Where the server is now."""
        ...

    async def own_channel(self, connection: SubscriberConnection) -> bytes:
        """The channel of this node's own, on which its messages to itself come."""
        ...

    def ask_meta(self, connection: SubscriberConnection, heard: Heard, told: Callable[[int, int, int], None]) -> None:
        """Ask on the connection how far a log reaches."""
        ...

    async def elsewhere(self) -> None:
        """Some keys are not on this server any more."""
        ...


class Liveness:
    """Checks one connection."""

    __slots__ = ("_address", "_connection", "_interval_s", "_loop", "_probes", "_watched")

    def __init__(self, watched: Watched, connection: SubscriberConnection, address: Address, interval_s: float) -> None:
        """``address``: what ``connection`` is connected to. ``interval_s``: seconds between two checks, and seconds within which each
        answer must come.
        """
        self._watched = watched
        self._connection = connection
        self._address = address
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._probes = 0

    async def watch(self, ended: asyncio.Event) -> str | None:
        """Check again and again. Returns what is wrong, or None when the connection has ended."""
        while self._connection.lost is None:
            try:
                async with asyncio.timeout(self._interval_s):
                    await ended.wait()
                return None
            except TimeoutError:
                pass
            if (reason := await self.check()) is not None:
                return reason
        return None

    async def check(self) -> str | None:
        """Why published messages do not come through the connection; None if they do, or if it has ended."""
        try:
            role = await self._ask(b"ROLE")
            if role[0] != b"master":
                return f"the subscriber connection is to a {role[0].decode()}"
            if (reason := await self._compare_addresses()) is not None:
                return reason
            tenants = list(self._watched.tenants.values())
            for begin in range(0, max(len(tenants), 1), AT_ONCE):
                if (reason := await self._compare(tenants[begin : begin + AT_ONCE])) is not None:
                    return reason
        except TimeoutError:
            return "Redis does not answer the subscriber connection"
        except ConnectionLostError:
            pass
        return None

    async def _compare_addresses(self) -> str | None:
        """A master that was replaced may go on as a master, if nobody could tell it (Redis Sentinel, "consistency under partitions")."""
        try:
            now = await self._watched.address()
        except ConnectionLostError:  # nobody can say where the master is: the one that answers stays
            return None
        if (now.host, now.port, now.path) == (self._address.host, self._address.port, self._address.path):
            return None
        await self._watched.server.forget()
        return f"the master is {now} now"

    async def _compare(self, tenants: Sequence[Heard]) -> str | None:
        """Compare the newest log positions on this connection with those on the command connection, which are read first, and check that
        a probe message arrives. Returns what is wrong, or None.
        """
        watched = self._watched
        behind = False
        channel = await watched.own_channel(self._connection)
        self._probes += 1
        probe = b"%d" % self._probes
        publish = b"SPUBLISH" if self._connection.sharded else b"PUBLISH"
        tops: Sequence[Any]
        sent_at = self._loop.time()
        try:
            *tops, _ = await watched.server.pipeline(*[(b"HGET", heard.names.meta, b"top") for heard in tenants], (publish, channel, probe))
        except RedisElsewhereError:
            await watched.elsewhere()
            tops, probe = [None] * len(tenants), b""
        except (RedisUnavailableError, RedisRefusedError):  # a fault of the command connection, not of this one
            tops, probe = [None] * len(tenants), b""

        for heard, expected in zip(tenants, tops, strict=True):

            def told(top: int, _: int, seam: int, heard: Heard = heard, expected: bytes | None = expected) -> None:
                nonlocal behind
                behind = behind or top < int(expected or 0)
                heard.confirm(top, seam)

            if watched.tenants.get(heard.name) is heard:
                watched.ask_meta(self._connection, heard, told)
        await self._ask(b"PING")
        if probe and watched.probe == probe:
            watched.lag_s = watched.probed_at - sent_at
        if behind:
            return "the subscriber connection is to a server that lags behind"
        if probe and watched.probe != probe and channel == await watched.own_channel(self._connection):
            return "what is published does not come through the subscriber connection"
        return None

    async def _ask(self, command: bytes) -> Any:
        async with asyncio.timeout(self._interval_s):
            return await self._connection.ask((command,))
