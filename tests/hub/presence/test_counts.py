"""Joins and leaves of several nodes over real servers: how many sessions there are, and those of a node that died."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest

from hub.presence.counts import Own
from hub.presence.counts_redis import RedisCounts
from hub.presence.roster import Roster
from hub.redis.commands import Commands, ServerCommands
from hub.redis.endpoint import UrlEndpoint
from hub.redis.names import Names
from hub.redis.scripts import Scripts
from hub.redis.shared import SharedRedis
from tests.hub.core.harness import principal
from tests.hub.presence.test_announcer import Watch
from tests.support.cluster import MemoryCluster, MemoryNode
from tests.support.redis_server import KINDS, RedisServer


class Node(Watch):
    """A node that tells of joins and leaves, and one who listens there. The nodes hear nothing of each other's events here."""

    def __init__(self, member: MemoryNode, commands: Commands, names: Names) -> None:
        self.member = member
        self.redis = SharedRedis(lambda tenant: commands, names, Scripts(), member.incarnation)
        super().__init__("/rooms/**", counts=self._count)

    def _count(self, roster: Roster) -> RedisCounts:
        self.counts = RedisCounts(self.redis, self.member.nodes, lambda: roster.tenants)
        return self.counts

    async def told(self) -> list[tuple[str, int, int]]:
        """Of each event: what, how many left, how many there are."""
        return [(data["type"], data.get("left", 0), data["sessions"]) for _, data in await self.heard()]


class Nodes(MemoryCluster):
    def __init__(self, url: str) -> None:
        super().__init__(3)
        self.commands, self.names = ServerCommands(UrlEndpoint(url)), Names(secrets.token_hex(8))
        self.watches = [Node(member, self.commands, self.names) for member in self.nodes]

    async def settle(self) -> None:
        """Return when every node has taken note of nodes that ended."""
        for watch in self.watches:
            if watch.counts._tasks:
                await asyncio.wait(watch.counts._tasks)


@pytest.fixture(params=KINDS)
async def nodes(request: pytest.FixtureRequest, shared_redis: Callable[[str], RedisServer]) -> AsyncIterator[Nodes]:
    made = Nodes(shared_redis(request.param).url)
    for watch in made.watches:
        await watch.listen()
    yield made
    await made.commands.close()
    await made.close()


async def test_sessions_of_all_nodes_are_counted(nodes: Nodes) -> None:
    a, b, c = nodes.watches
    first = await a.guest("a1", "/rooms/1")
    assert await a.told() == [("join", 0, 1)]
    await b.guest("b1", "/rooms/1")
    await b.guest("b2", "/rooms/2")
    await b.guest("b3", "/rooms/1")
    assert await b.told() == [("join", 0, 2), ("join", 0, 1), ("join", 0, 3)]
    await c.guest("c1", "/rooms/1", who=principal("x", tenant="other"))
    await c.guest("c2", "/rooms/1")
    assert await c.told() == [("join", 0, 4)]
    a.world.hub.sessions.detach(first)
    assert await a.told() == [("leave", 0, 3)]


@pytest.mark.parametrize("alone", [True, False])
async def test_the_sessions_of_a_node_that_died_leave_once(nodes: Nodes, alone: bool) -> None:
    """Also where nobody else was on the channel."""
    a, b, c = nodes.watches
    for number in range(3):
        await a.guest(f"a{number}", "/rooms/1")
    await a.told()
    if not alone:
        await b.guest("b1", "/rooms/1")
        assert await b.told() == [("join", 0, 4)]
    nodes.kill(a.member)
    await nodes.settle()
    assert await b.told() + await c.told() == [("changes", 3, 0 if alone else 1)]
    await c.guest("c1", "/rooms/1")
    assert await c.told() == [("join", 0, 1 if alone else 2)]


async def test_redis_that_lost_the_numbers_gets_them_again(nodes: Nodes) -> None:
    a, b, _ = nodes.watches
    await a.guest("a1", "/rooms/1")
    await a.told()
    key = nodes.names.of("t").presence(a.member.incarnation)
    assert await nodes.commands.call("DEL", key) == 1
    await a.counts.keep()
    assert 60_000 < await nodes.commands.call("PTTL", key) <= 70_000
    await b.guest("b1", "/rooms/1")
    assert await b.told() == [("join", 0, 2)]
    await a.counts.stop()
    assert await nodes.commands.call("EXISTS", key) == 0


async def test_without_redis_a_node_counts_its_own(redis_process: Callable[..., RedisServer]) -> None:
    server = redis_process("redis")
    nodes = Nodes(server.url)
    a, b, _ = nodes.watches
    for watch in (a, b):
        await watch.listen()
    await a.guest("a1", "/rooms/1")
    await a.told()
    server.kill()
    await b.guest("b1", "/rooms/1")
    await b.guest("b2", "/rooms/1")
    assert await b.told() == [("join", 0, 1), ("join", 0, 2)]
    assert b.counts.unavailable == 1  # and it was not asked again at once
    assert await b.counts.totals("t", [Own("/rooms/1", 2)]) == [2]
    await nodes.commands.close()
    await nodes.close()
