"""Ids of messages that are published on several nodes, over real servers. The nodes hear nothing of each other here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hub.core.delivery import ChannelDeclaration, DeliveryClass
from hub.core.errors import RefusedError
from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.interface import EventLogError
from hub.publishing.recent_ids import OtherContentError
from hub.publishing.requests import Publication
from hub.publishing.service import Outcome, PublishService
from hub.redis.names import Names
from hub.redis.shared import SharedRedis
from tests.hub.core.harness import Recorder, World, principal
from tests.support.redis_server import CLOCKED, KINDS, ClockedCommands, RedisServer
from tests.world import ManualClock

LOGGED = ChannelDeclaration("/log/**", DeliveryClass.LOG, "of the test")


class Log(MemoryChannelLog):
    """A log that has no room while the test says so."""

    __slots__ = ("full",)

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.full = False

    async def append(self, *arguments: Any, **options: Any) -> int | None:
        if self.full:
            raise EventLogError("no room")
        return await super().append(*arguments, **options)


class Node:
    """Publishes, and hears what was published on it."""

    def __init__(self, redis: SharedRedis, log: MemoryChannelLog, clock: ManualClock, limits: Limits, patience_s: float) -> None:
        self.world = World([LOGGED], limits=limits, log=log, clock=clock)
        self.service = PublishService(self.world.hub, redis, patience_s=patience_s)
        self.guest = Recorder(self.world.hub)

    async def publish(self, *items: tuple[str, bytes, str], who: Principal | None = None, subject: str = "") -> list[Outcome]:
        """Publish messages: channel, data and id of each."""
        outcomes = await self.service.publish(
            who or principal(), [Publication(channel, data, subject, name) for channel, data, name in items]
        )
        await self.world.loop.run()
        return outcomes

    @property
    def heard(self) -> list[bytes]:
        return [message.data for message in self.guest.received]


class Nodes:
    """Nodes that share a Redis and a log."""

    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        self.commands = ClockedCommands(server.url, clock)
        self.redis = SharedRedis(lambda tenant: self.commands, Names(secrets.token_hex(8)), CLOCKED, "a")
        self.log = Log(clock)
        self.clock = clock

    async def node(self, limits: Limits | None = None, *, patience_s: float = 5.0) -> Node:
        made = Node(self.redis, self.log, self.clock, limits or Limits(), patience_s)
        made.world.hub.sessions.attach(made.guest)
        await made.world.hub.subscriptions.subscribe(made.guest, ["/free/**", "/log/**"])
        return made


@pytest.fixture(params=KINDS)
async def nodes(request: pytest.FixtureRequest, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Nodes]:
    made = Nodes(shared_redis(request.param), ManualClock(1_800_000_000.0))
    yield made
    await made.commands.close()


async def test_what_one_node_published_another_publishes_no_more_for_ten_minutes(nodes: Nodes) -> None:
    a, b = await nodes.node(), await nodes.node()
    assert await a.publish(("/free/x", b"1", "one"), ("/free/x", b"2", "two")) == [None, None]
    nodes.clock.advance(599)
    assert await b.publish(("/free/x", b"1", "one"), ("/free/x", b"3", "three")) == [None, None]
    assert (a.heard, b.heard, b.service.counters.repeats) == ([b"1", b"2"], [b"3"], 1)
    nodes.clock.advance(1)
    await b.publish(("/free/x", b"2", "two"))
    assert b.heard == [b"3", b"2"]


async def test_a_message_of_a_log_keeps_its_position_on_every_node(nodes: Nodes) -> None:
    """Also over the end of a ten minutes' window of the clock."""
    a, b = await nodes.node(), await nodes.node()
    nodes.clock.now = 1_800_000_000.0 - 1
    (position,) = await a.publish(("/log/x", b"1", "one"))
    assert isinstance(position, int)
    nodes.clock.advance(2)
    assert await b.publish(("/log/x", b"1", "one")) == [position]
    assert len(a.heard) == 1
    assert b.heard == []


async def test_an_id_of_another_message_is_refused_on_every_node(nodes: Nodes) -> None:
    a, b = await nodes.node(), await nodes.node()
    await a.publish(("/free/x", b"1", "one"))
    for other in (("/free/x", b"2", "one"), ("/free/y", b"1", "one")):
        (refused,) = await b.publish(other)
        assert isinstance(refused, OtherContentError)
    assert b.heard == []
    assert await b.publish(("/free/x", b"1", "one")) == [None]


async def test_ids_belong_to_a_tenant_and_a_subject(nodes: Nodes) -> None:
    a, b = await nodes.node(), await nodes.node()
    await a.publish(("/free/x", b"1", "one"))
    await b.publish(("/free/x", b"2", "one"), who=principal("bob"))
    await b.publish(("/free/x", b"3", "one"), who=principal(tenant="other"))
    assert b.heard == [b"2"]
    assert b.service.counters.repeats == 0


async def test_of_publishers_at_once_one_publishes(nodes: Nodes) -> None:
    made = [await nodes.node() for _ in range(3)]
    for number in range(20):
        await asyncio.gather(*(node.publish(("/free/x", b"%d" % number, str(number))) for node in made * 2))
    heard = [data for node in made for data in node.heard]
    assert sorted(heard, key=int) == [b"%d" % number for number in range(20)]


async def test_a_message_whose_publisher_died_is_published_again(nodes: Nodes) -> None:
    a, b = await nodes.node(), await nodes.node(patience_s=0.1)
    published = a.service.publish(principal(), [Publication("/log/x", b"1", "", "one")])
    (position,) = await published
    for work in a.world.loop.work:  # it dies before it can tell how that ended
        work.close()
    a.world.loop.work.clear()

    async def wait() -> None:
        while True:
            nodes.clock.advance(0.02)
            await asyncio.sleep(0.005)

    waiting = asyncio.get_running_loop().create_task(wait())
    (refused,) = await b.publish(("/log/x", b"1", "one"))
    waiting.cancel()
    assert isinstance(refused, RefusedError)
    nodes.clock.advance(10)
    (again,) = await b.publish(("/log/x", b"1", "one"))
    assert again in (None, position)
    assert len(b.heard) == 0  # the log has it under this name


async def test_a_message_that_was_not_published_may_be_published_elsewhere(nodes: Nodes) -> None:
    a, b = await nodes.node(), await nodes.node()
    nodes.log.full = True
    (refused,) = await a.publish(("/log/x", b"1", "one"))
    assert isinstance(refused, RefusedError)
    nodes.log.full = False
    (position,) = await b.publish(("/log/x", b"1", "one"))
    assert isinstance(position, int)
    assert b.heard == [b"1"]
    assert await a.publish(("/log/x", b"1", "one")) == [position]
    assert a.heard == []


async def test_ids_of_a_tenant_are_bounded(nodes: Nodes) -> None:
    limits = Limits(max_publish_ids=4)
    a, b = await nodes.node(limits), await nodes.node(limits)
    for number in range(3):
        nodes.clock.advance(0.01)
        await a.publish(("/free/x", b"1", str(number)))
    assert a.service.counters.ids_forgotten_early == 2  # one of this node's own, one of all nodes'
    await b.publish(("/free/x", b"1", "1"), ("/free/x", b"1", "0"))
    assert b.heard == [b"1"]


async def test_without_redis_each_node_knows_its_own_ids(redis_process: Callable[..., RedisServer]) -> None:
    server = redis_process("redis")
    nodes = Nodes(server, ManualClock(1_800_000_000.0))
    a, b = await nodes.node(), await nodes.node()
    await a.publish(("/free/x", b"1", "one"))
    server.kill()
    assert await a.publish(("/free/x", b"1", "one"), ("/free/x", b"2", "two"), ("/free/x", b"2", "two")) == [None] * 3
    assert await b.publish(("/free/x", b"2", "two")) == [None]
    assert (a.heard, b.heard) == ([b"1", b"2"], [b"2"])
    assert a.service.counters.ids_not_shared > 0
    await nodes.commands.close()
