"""Every backend of the bus behind one face, so that one suite tries them all: its log, two nodes, and what a test may do to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from hub.bus.interface import Bus, Receiver
from hub.bus.memory import MemoryBus
from hub.bus.redis.bus import RedisBus
from hub.bus.redis.heard import Mode
from hub.bus.redis.tuning import Tuning
from hub.core.message import Topic
from hub.eventlog.channel_log import ChannelLog, Retention
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.redis.endpoint import UrlEndpoint
from hub.redis.names import Names
from tests.hub.bus.network import Network, NetworkBus, NetworkLog
from tests.support.gate import Gate
from tests.support.redis_server import CLOCKED, KINDS, ClockedCommands, RedisServer
from tests.world import ManualClock

WITHIN_S = 10.0
"""Seconds within which what must come, comes."""

QUICK = Tuning(subscribe_s=0.5, linger_s=0, append_s=0.5, reconnect_s=(0.01, 0.05), resync_s=0)
"""Times of the bus over Redis for a test of one thing."""


async def until(reached: Callable[[], bool]) -> None:
    """Return as soon as something is the case."""
    async with asyncio.timeout(WITHIN_S):
        while not reached():
            await asyncio.sleep(0.002)


class Backend(Protocol):
    """One bus with its log. Attach a receiver before anything else."""

    bus: Bus
    log: ChannelLog

    async def settle(self) -> None:
        """Return when everything that was published has arrived."""
        ...

    async def close(self) -> None: ...


class Nodes(Protocol):
    """Two nodes over one log. Node B's connection is in the test's hands."""

    a: Bus
    b: Any
    log: ChannelLog

    async def settle(self) -> None:
        """Return when everything that was published, and may arrive, has arrived."""
        ...

    async def asked(self, topic: Topic) -> None:
        """Return when node B's request for a topic has been executed, or would be if it came through."""
        ...

    async def hold(self, *lines: str) -> None:
        """Let nothing through: of B's ``requests``, of the ``answers`` to it and what is published."""
        ...

    async def release(self) -> None: ...

    async def cut(self) -> None:
        """B has no connection."""
        ...

    async def mend(self) -> None:
        """B has a connection again; returns when it has what it missed."""
        ...

    async def repeat(self) -> None:
        """From now on everything comes to B twice."""
        ...

    async def forget(self, tenant: str) -> None:
        """The log keeps none of its records."""
        ...

    async def lose_end(self, tenant: str, position: int) -> None:
        """The log comes back without what came after a position."""
        ...

    async def close(self) -> None: ...


# -- in memory ------------------------------------------------------------------------------------------------------------


class OneInMemory:
    def __init__(self, make: Callable[[NetworkLog], Bus], clock: ManualClock) -> None:
        self.log = NetworkLog(clock)
        self.bus = make(self.log)

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        await self.bus.close()


class NodesInMemory:
    """What is done to the network is done at once."""

    def __init__(self, clock: ManualClock) -> None:
        self.log = NetworkLog(clock)
        network = Network(self.log)
        self.a, self.b = NetworkBus(network, "a"), NetworkBus(network, "b")

    async def settle(self) -> None:
        pass

    async def asked(self, topic: Topic) -> None:
        await asyncio.sleep(0)

    async def hold(self, *lines: str) -> None:
        self.b.delay(*lines)

    async def release(self) -> None:
        self.b.hurry()

    async def cut(self) -> None:
        self.b.cut()

    async def mend(self) -> None:
        self.b.mend()

    async def repeat(self) -> None:
        self.b.repeats = True

    async def forget(self, tenant: str) -> None:
        kept = self.log._log(tenant)
        kept.kept.clear()
        kept.topics.clear()
        kept.floor = kept.newest

    async def lose_end(self, tenant: str, position: int) -> None:
        self.log.lose_end(tenant, position)

    async def close(self) -> None:
        pass


# -- over Redis -----------------------------------------------------------------------------------------------------------


class StartedBus(RedisBus):
    """Starts with its receiver; a test may put something before its methods."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.repeats = False

    def attach(self, receiver: Receiver) -> None:
        super().attach(receiver)
        self._heard.start()
        bring = self._heard._on_message

        def twice(channel: bytes, payload: bytes) -> None:
            for _ in range(2 if self.repeats else 1):
                bring(channel, payload)

        self._heard.on_message = twice

    async def quiet(self) -> None:
        """Return when everything was sent that waits, and everything has come that was published before."""
        if self._subscriptions is None:
            return
        heard = self._heard
        await until(lambda: self.pending == 0)
        await until(lambda: heard._connection is not None)
        await until(lambda: all(each.mode is Mode.DIRECT for each in heard._tenants.values()))
        assert heard._connection is not None
        async with asyncio.timeout(WITHIN_S):
            await heard._connection.ask((b"ROLE",))
        await asyncio.sleep(0)


class OverRedis:
    """Nodes over one server; ``names`` are their own."""

    def __init__(self, server: RedisServer, clock: ManualClock, tuning: Tuning = QUICK) -> None:
        self.server = server
        self.clock = clock
        self.tuning = tuning
        self.names = Names(secrets.token_hex(8))
        self.commands: list[ClockedCommands] = []

    def make_log(self, url: str, retention: Retention | None = None) -> RedisChannelLog:
        self.commands.append(ClockedCommands(url, self.clock))
        return RedisChannelLog(self.commands[-1], self.names, retention, scripts=CLOCKED, guard_us=0)

    def make_bus(self, log: RedisChannelLog, url: str, node: str) -> StartedBus:
        return StartedBus(UrlEndpoint(url), log._commands, log, self.names, node=node, scripts=CLOCKED, guard_us=0, tuning=self.tuning)

    async def close(self) -> None:
        for each in self.commands:
            await each.close()


class OneOverRedis(OverRedis):
    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        super().__init__(server, clock)
        self.log = self.make_log(server.url)
        self.bus = self.make_bus(self.log, server.url, "node-1")

    async def settle(self) -> None:
        await self.bus.quiet()

    async def close(self) -> None:
        await self.bus.close()
        await super().close()


class NodesOverRedis(OverRedis):
    def __init__(self, server: RedisServer, clock: ManualClock, gate: Gate) -> None:
        super().__init__(server, clock)
        self.gate = gate
        self.log = self.make_log(server.url)
        self.a = self.make_bus(self.log, server.url, "a")
        through = f"unix://{gate.path}"
        self.log_b = self.make_log(through)
        self.b = self.make_bus(self.log_b, through, "b")

    @classmethod
    async def make(cls, server: RedisServer, clock: ManualClock) -> NodesOverRedis:
        gate = await Gate(server.folder / f"{secrets.token_hex(4)}.sock", server.path).start()
        return cls(server, clock, gate)

    async def settle(self) -> None:
        await self.a.quiet()
        if not self.gate.is_cut:
            await self.b.quiet()

    async def asked(self, topic: Topic) -> None:
        channel = self.names.subscription(topic)
        async with asyncio.timeout(WITHIN_S):
            while not (await self.commands[0].call("PUBSUB", "NUMSUB", channel))[1]:
                await asyncio.sleep(0.002)

    async def hold(self, *lines: str) -> None:
        await self.settle()
        self.gate.hold(*lines)

    async def release(self) -> None:
        self.gate.release()

    async def cut(self) -> None:
        if self.b._subscriptions is not None:
            await until(lambda: self.b._heard._connection is not None)
        self.gate.cut()
        if self.b._subscriptions is not None:
            await until(lambda: self.b._heard._connection is None)

    async def mend(self) -> None:
        self.gate.mend()
        await self.settle()

    async def repeat(self) -> None:
        self.b.repeats = True

    async def forget(self, tenant: str) -> None:
        log = self.make_log(self.server.url, Retention(max_messages=0))
        await log.span(tenant)
        await log.trim()

    async def lose_end(self, tenant: str, position: int) -> None:
        names = self.names.of(tenant)
        call = self.commands[0].call
        lost = await call("XRANGE", names.stream, f"({position}-0", "+")
        await call("XDEL", names.stream, *[entry[0] for entry in lost])
        await call("HSET", names.meta, "top", position, "last", position, "run", "of the server before")
        self.clock.advance(1)

    async def close(self) -> None:
        for bus in (self.a, self.b):
            await bus.close()
        await super().close()
        await self.gate.close()


MakeOne = Callable[[ManualClock, Callable[[str], RedisServer]], Backend]

ONE: dict[str, MakeOne] = {
    "memory": lambda clock, _: OneInMemory(lambda log: MemoryBus(log, "node-1"), clock),
    "network": lambda clock, _: OneInMemory(lambda log: NetworkBus(Network(log), "node-1"), clock),
    **{kind: lambda clock, server, kind=kind: OneOverRedis(server(kind), clock) for kind in KINDS},  # type: ignore[misc]
}

NODES = ("memory", *KINDS)


async def make_nodes(kind: str, clock: ManualClock, server: Callable[[str], RedisServer]) -> Nodes:
    """Two nodes of a backend that connects nodes."""
    return NodesInMemory(clock) if kind == "memory" else await NodesOverRedis.make(server(kind), clock)
