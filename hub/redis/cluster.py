"""The masters of a Redis Cluster: which of them has which slot, and commands that follow a slot from one to the other."""

from __future__ import annotations

import asyncio
import random
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import structlog
from redis.exceptions import AskError, MovedError, RedisError, TryAgainError

from hub.redis.commands import Answer, Commands, RedisElsewhereError, RedisRefusedError, RedisUnavailableError, ServerCommands, Work
from hub.redis.endpoint import Access, HostPort, MasterEndpoint
from hub.redis.server import UnusableRedisError
from hub.redis.servers import tag_of

_log = structlog.get_logger(__name__)

SLOTS: Final = 16384
"""Slots of a Cluster (Redis Cluster specification, key distribution model)."""

PAUSE_S: Final = 0.02
"""Seconds after which a command is tried again whose slot is on its way."""

ASKED_AT_ONCE: Final = 5
"""Servers that are asked which master has which slot; of those that answer, the one with the newest epoch is believed."""


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 of its tag."""
    return crc_hqx(tag_of(key), 0) % SLOTS


class _Map(NamedTuple):
    """What a server says of its cluster."""

    usable: bool
    epoch: int
    slots: Sequence[tuple[int, int, HostPort]]
    """First slot, last slot, and the master that has them."""


class ClusterServers:
    """The masters of one Cluster (:class:`hub.redis.servers.Servers`)."""

    __slots__ = ("_access", "_closed", "_made", "_refreshing", "_seeds", "_slots", "_timeout_s", "on_changed")

    def __init__(self, access: Access, seeds: Sequence[HostPort], *, timeout_s: float = 2.0) -> None:
        """``seeds``: some of its servers, by which the others are found. ``timeout_s``: see :class:`hub.redis.commands.ServerCommands`."""
        self._access = access
        self._seeds = list(seeds)
        self._timeout_s = timeout_s
        self._made: dict[HostPort, ServerCommands] = {}
        self._slots: list[ServerCommands | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._closed = False
        self.on_changed: list[Callable[[], object]] = []

    def of(self, key: bytes) -> Commands:
        """See :meth:`hub.redis.servers.Servers.of`."""
        return SlotCommands(self, slot_of(key), self._timeout_s)

    def home(self, key: bytes) -> ServerCommands | None:
        """See :meth:`hub.redis.servers.Servers.home`."""
        return self._slots[slot_of(key)]

    def is_stray(self, key: bytes, server: ServerCommands) -> bool:
        """See :meth:`hub.redis.servers.Servers.is_stray`."""
        return False

    def at_slot(self, slot: int) -> ServerCommands | None:
        """The master that has a slot."""
        return self._slots[slot]

    def all(self) -> Sequence[ServerCommands]:
        """See :meth:`hub.redis.servers.Servers.all`."""
        return list(dict.fromkeys(server for server in self._slots if server is not None))

    def at(self, host: str, port: int) -> ServerCommands:
        """A server of the Cluster."""
        server = self._made.get((host, port))
        if server is None:
            endpoint = MasterEndpoint(self._access, host, port, lambda key: self.home(key) is self._made.get((host, port)))
            server = self._made[host, port] = ServerCommands(endpoint, timeout_s=self._timeout_s)
        return server

    def moved(self, slot: int, host: str, port: int) -> None:
        """Note that a server said where a slot is now."""
        server = self.at(host, port)
        if self._slots[slot] is not server:
            self._slots[slot] = server
            self._changed()

    async def refresh(self) -> None:
        """See :meth:`hub.redis.servers.Servers.refresh`. Calls at the same time share one look.

        Raises:
            UnusableRedisError: a server is no part of a Cluster.
        """
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh(), name="hub.redis.cluster")
        await asyncio.shield(self._refreshing)

    async def _refresh(self) -> None:
        known = [server.endpoint for server in self.all()]
        addresses = [await endpoint.address(self._timeout_s) for endpoint in known]
        hosts = [(address.host, address.port) for address in addresses]
        random.shuffle(hosts)
        asked = list(dict.fromkeys([*hosts[:ASKED_AT_ONCE], *self._seeds]))[: ASKED_AT_ONCE + len(self._seeds)]
        found = [answer for answer in await asyncio.gather(*(self._ask(*each) for each in asked)) if answer is not None]
        if not found or self._closed:
            return
        newest = max(found, key=lambda answer: (answer.usable, answer.epoch))
        slots: list[ServerCommands | None] = [None] * SLOTS
        for begin, end, (host, port) in newest.slots:
            slots[begin : end + 1] = [self.at(host, port)] * (end + 1 - begin)
        if slots == self._slots:
            return
        self._slots = slots
        for address in set(self._made) - {address for _, _, address in newest.slots}:
            await self._made.pop(address).close()
        self._changed()

    async def _ask(self, host: str, port: int) -> _Map | None:
        """Ask one server for its view; None if it does not answer. It may be a replica."""
        connection = self._access.connection(self._access.at(host, port), self._timeout_s)
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("CLUSTER", "SLOTS")
                slots = await connection.read_response(disable_decoding=True)
                await connection.send_command("CLUSTER", "INFO")
                info = await connection.read_response(disable_decoding=True)
        except (RedisError, OSError) as error:
            if "cluster support disabled" in str(error):
                raise UnusableRedisError(
                    [f"redis_url: expected a server of a Redis Cluster at {host}:{port}, got one without: name it by redis://"]
                ) from error
            _log.warning("cluster_not_told", server=f"{host}:{port}", error=str(error) or type(error).__name__)
            return None
        finally:
            await connection.disconnect(nowait=True)
        fields = dict(line.split(":", 1) for line in info.decode().split("\r\n") if ":" in line)
        return _Map(
            fields.get("cluster_state") == "ok",
            int(fields.get("cluster_current_epoch", 0)),
            [(begin, end, _address(master, host)) for begin, end, master, *_ in slots],
        )

    def _changed(self) -> None:
        for listener in self.on_changed:
            listener()

    async def close(self) -> None:
        """See :meth:`hub.redis.servers.Servers.close`."""
        self._closed = True
        if self._refreshing is not None and not self._refreshing.done():
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for server in list(self._made.values()):
            await server.close()


def _address(master: Sequence[Any], asked: str) -> HostPort:
    """The address of a master; one that says nothing of its host is the one that was asked (``cluster-preferred-endpoint-type``)."""
    host = (master[0] or b"").decode()
    return (asked if host in {"", "?"} else host, int(master[1]))


class SlotCommands(Commands):
    """Commands to the master that has a slot. Another master that has it now is found by what the former one answers; while a slot is on
    its way, commands wait for it, within the time of a call.
    """

    __slots__ = ("_servers", "_slot", "_timeout_s")

    def __init__(self, servers: ClusterServers, slot: int, timeout_s: float) -> None:
        self._servers = servers
        self._slot = slot
        self._timeout_s = timeout_s

    async def do(self, work: Work[Answer], timeout_s: float | None = None) -> Answer:
        """See :meth:`Commands.do`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s))
        asked: ServerCommands | None = None
        while True:
            server = asked or self._servers.at_slot(self._slot)
            left = deadline - loop.time()
            error: RedisUnavailableError = RedisUnavailableError("no master of the Redis Cluster has the slot")
            if server is not None:
                try:
                    return await server.do(work, left, asking=asked is not None)
                except RedisElsewhereError as elsewhere:
                    error = elsewhere
                except RedisUnavailableError:
                    # it may have been done; whether it may be repeated is the caller's to know
                    await self._refresh(deadline - loop.time())
                    raise
            asked = await self._follow(error, deadline - loop.time())
            if loop.time() + PAUSE_S >= deadline:
                raise error

    async def _follow(self, error: RedisUnavailableError, left_s: float) -> ServerCommands | None:
        """Learn where the slot is now. Returns the server to which the slot is coming, if the next command is for that."""
        what = error.error if isinstance(error, RedisElsewhereError) else None
        if isinstance(what, AskError) and what.slot_id != self._slot:
            raise RedisRefusedError(f"expected a key of slot {self._slot}, got one of {what.slot_id}: they lie on different servers")
        if isinstance(what, MovedError):
            self._servers.moved(self._slot, what.host, what.port)
            return None
        if isinstance(what, AskError):
            return self._servers.at(what.host, what.port)
        await asyncio.sleep(PAUSE_S)
        if not isinstance(what, TryAgainError):
            await self._refresh(left_s)
        return None

    async def _refresh(self, left_s: float) -> None:
        try:
            async with asyncio.timeout(max(left_s, PAUSE_S)):
                await self._servers.refresh()
        except TimeoutError:
            pass  # it goes on by itself
        except UnusableRedisError as error:
            raise RedisRefusedError(str(error)) from error
