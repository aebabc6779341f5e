"""All backends of the bus behind one interface, for one suite: the log, two nodes, and the faults that a test can cause."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from hub.bus.interface import Bus, Receiver
from hub.bus.memory import MemoryBus
from hub.bus.redis.bus import RedisBus
from hub.bus.redis.connection import ConnectionLostError
from hub.bus.redis.heard import Mode
from hub.bus.redis.subscriber import Subscriber
from hub.bus.redis.tuning import Tuning
from hub.core.message import Topic
from hub.eventlog.channel_log import ChannelLog, Retention
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.redis.endpoint import Endpoint
from hub.redis.names import Names
from tests.hub.bus.network import Network, NetworkBus, NetworkLog
from tests.support.gate import Gate
from tests.support.redis_server import CLOCKED, SHARED, Clocked, RedisServer
from tests.world import ManualClock

WITHIN_S = 60.0
"""The longest time that a test waits for an expected event, in seconds."""

QUICK = Tuning(subscribe_s=WITHIN_S, linger_s=0, append_s=WITHIN_S, reconnect_s=(0.01, 0.05), resync_s=0, liveness_s=30)
"""Times of the bus over Redis, for tests. Its limits are long: what a loaded machine does late is not a fault."""


class Patience:
    """The times of a bus. A test may shorten its limits where nothing can come."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._patient = tuning

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tuning, name)

    def end(self) -> None:
        self._tuning = replace(self._patient, subscribe_s=0.2, append_s=0.2)

    def begin(self) -> None:
        self._tuning = self._patient


async def until(reached: Callable[[], bool]) -> None:
    """Return as soon as a condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not reached():
            await asyncio.sleep(0.002)


class Backend(Protocol):
    """One bus with its log. Attach a receiver before anything else."""

    bus: Bus
    log: ChannelLog

    async def settle(self) -> None:
        """Return when all published messages have arrived."""
        ...

    async def close(self) -> None: ...


class Nodes(Protocol):
    """Two nodes with one log. The test controls the connection of node B."""

    a: Bus
    b: Any
    log: ChannelLog

    async def settle(self) -> None:
        """Return when all published messages that can arrive have arrived."""
        ...

    async def asked(self, topic: Topic) -> None:
        """Return when node B's request for a topic has been executed, or would be if it came through."""
        ...

    async def hold(self, *lines: str) -> None:
        """Hold the ``requests`` of B, or the ``answers`` and published messages for it."""
        ...

    async def release(self) -> None: ...

    def end_patience(self) -> None:
        """Shorten the limits of B until its connection is mended."""
        ...

    async def cut(self) -> None:
        """Break the connection of B, and end its patience."""
        ...

    async def mend(self) -> None:
        """Connect B again. Returns when it has read the messages that it had missed."""
        ...

    async def repeat(self) -> None:
        """Deliver everything to B twice from now on."""
        ...

    async def forget(self, tenant: str) -> None:
        """Delete all records of the log."""
        ...

    async def lose_end(self, tenant: str, position: int) -> None:
        """Delete the records of the log after a position, as a restart without them does."""
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
    """Two nodes of which each fault takes effect at once."""

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

    def end_patience(self) -> None:
        pass

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
    """A bus that starts when its receiver is attached. A test may wrap its methods."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.repeats = False
        self.patience = options.get("tuning")
        self.hears_by: Endpoint | None = None
        """The endpoint of the subscribers, if it differs from that of the commands."""

    def attach(self, receiver: Receiver) -> None:
        super().attach(receiver)
        self._heard.on_subscriber = self.prepare
        self._heard.start()

    def prepare(self, subscriber: Subscriber) -> None:
        if self.hears_by is not None:
            subscriber.endpoint = self.hears_by
        bring = subscriber._on_message

        def twice(channel: bytes, payload: bytes) -> None:
            for _ in range(2 if self.repeats else 1):
                bring(channel, payload)

        subscriber.on_message = twice

    @property
    def subscriber(self) -> Subscriber:
        """The only subscriber, where there is one server."""
        (subscriber,) = self._heard.subscribers.values()
        return subscriber

    def subscriber_of(self, tenant: str) -> Subscriber:
        """Return the subscriber that hears a tenant."""
        return self._heard._homes[tenant]

    @property
    def connected(self) -> bool:
        """Whether every subscriber is connected."""
        subscribers = self._heard.subscribers.values()
        return bool(subscribers) and all(subscriber.connection is not None for subscriber in subscribers)

    def _settled(self) -> bool:
        heard = self._heard
        return self.connected and not heard._moving and all(each.mode is Mode.DIRECT for each in heard._tenants.values())

    async def _answered(self) -> bool:
        """Ask on each connection, behind everything that was published before; returns whether they are still the bus's afterwards. In a
        Cluster a connection is left when the map, read anew, names its server otherwise.
        """
        connections = [subscriber.connection for subscriber in self._heard.subscribers.values()]
        try:
            for connection in connections:
                assert connection is not None
                await connection.ask((b"ROLE",))
        except ConnectionLostError:
            return False
        return self._settled() and connections == [subscriber.connection for subscriber in self._heard.subscribers.values()]

    async def quiet(self) -> None:
        """Return when all waiting messages were sent, and all earlier messages have arrived."""
        if self._subscriptions is None:
            return
        await until(lambda: self.pending == 0)
        async with asyncio.timeout(WITHIN_S):
            while not (self._settled() and await self._answered()):
                await asyncio.sleep(0.002)
        await asyncio.sleep(0)


class OverRedis:
    """Nodes with one server. They use ``names`` of their own in it."""

    def __init__(self, server: RedisServer, clock: ManualClock, tuning: Tuning = QUICK) -> None:
        self.server = server
        self.clock = clock
        self.tuning = tuning
        self.names = Names(secrets.token_hex(8))
        self.servers: list[Clocked] = []

    def make_log(self, through: Path | None = None, retention: Retention | None = None) -> RedisChannelLog:
        self.servers.append(Clocked(self.server.servers(through), self.clock))
        return RedisChannelLog(self.servers[-1], self.names, retention, scripts=CLOCKED, guard_us=0)

    def make_bus(self, log: RedisChannelLog, node: str) -> StartedBus:
        return StartedBus(log._servers, log, self.names, node=node, scripts=CLOCKED, guard_us=0, tuning=Patience(self.tuning))

    async def call(self, *command: Any) -> Any:
        """Send a command to the server of tenant ``t``."""
        return await self.servers[0].of(self.names.of("t").meta).call(*command)

    async def close(self) -> None:
        for each in self.servers:
            await each.close()


class OneOverRedis(OverRedis):
    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        super().__init__(server, clock)
        self.log = self.make_log()
        self.bus = self.make_bus(self.log, "node-1")

    async def settle(self) -> None:
        await self.bus.quiet()

    async def close(self) -> None:
        await self.bus.close()
        await super().close()


class NodesOverRedis(OverRedis):
    def __init__(self, server: RedisServer, clock: ManualClock, gate: Gate) -> None:
        super().__init__(server, clock)
        self.gate = gate
        self.log = self.make_log()
        self.a = self.make_bus(self.log, "a")
        self.log_b = self.make_log(gate.path)
        self.b = self.make_bus(self.log_b, "b")

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
            while not (await self.call("PUBSUB", "SHARDNUMSUB" if self.server.sharded else "NUMSUB", channel))[1]:
                await asyncio.sleep(0.002)

    async def hold(self, *lines: str) -> None:
        await self.settle()
        self.gate.hold(*lines)

    async def release(self) -> None:
        self.gate.release()

    def end_patience(self) -> None:
        self.b.patience.end()

    async def cut(self) -> None:
        self.end_patience()
        if self.b._subscriptions is not None:
            await until(lambda: self.b.connected)
        self.gate.cut()
        if self.b._subscriptions is not None:
            await until(lambda: not self.b.connected)

    async def mend(self) -> None:
        self.b.patience.begin()
        self.gate.mend()
        await self.settle()

    async def repeat(self) -> None:
        self.b.repeats = True

    async def forget(self, tenant: str) -> None:
        log = self.make_log(retention=Retention(max_messages=0))
        await log.span(tenant)
        await log.trim()

    async def lose_end(self, tenant: str, position: int) -> None:
        names = self.names.of(tenant)
        call = self.call
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
    **{kind: lambda clock, server, kind=kind: OneOverRedis(server(kind), clock) for kind in SHARED},  # type: ignore[misc]
}

NODES = ("memory", *SHARED)


async def make_nodes(kind: str, clock: ManualClock, server: Callable[[str], RedisServer]) -> Nodes:
    """Return two nodes of a backend that connects nodes."""
    return NodesInMemory(clock) if kind == "memory" else await NodesOverRedis.make(server(kind), clock)
