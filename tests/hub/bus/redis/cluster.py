"""Two nodes over a real server that a test ends, stalls, empties: under a load, and with what must hold afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from hub.bus.interface import Envelope, Gap
from hub.bus.redis.tuning import Tuning
from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log_redis import RedisChannelLog
from hub.eventlog.interface import EventLogError
from hub.redis.names import Names
from hub.redis.servers import Servers
from tests.hub.bus.backends import StartedBus, until
from tests.support.redis_server import RedisServer
from tests.support.redis_topologies import RedisCluster

TOPICS = [Topic("t", "", f"/log/{number}") for number in range(3)]
EVERY = Topic("t", "", "/log/**")

TUNING = Tuning(subscribe_s=10, linger_s=0, append_s=1.5, reconnect_s=(0.02, 0.2), resync_s=0, liveness_s=0.5)

PATIENT = replace(TUNING, append_s=60, liveness_s=60)
"""Where a server that is slow is no fault: nothing is refused, and no connection is left, because a loaded machine is late."""


class Journal:
    """What a node was brought."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.events: list[bytes] = []
        self.gaps: list[Gap] = []
        self.seams: list[int] = []
        self.newest = 0

    def on_envelope(self, envelope: Envelope) -> None:
        if envelope.position is None:
            self.events.append(envelope.data)
        else:
            self.positions.append(envelope.position)
            self.newest = max(self.newest, envelope.position)

    def on_position(self, tenant: str, position: int) -> None:
        self.newest = max(self.newest, position)

    def on_gap(self, gap: Gap) -> None:
        if gap.after is not None:
            self.gaps.append(gap)
            self.newest = max(self.newest, gap.resume_position or 0)

    def on_reset(self, tenant: str, seam: int) -> None:
        self.seams.append(seam)

    def excused(self, position: int) -> bool:
        """Whether it was said that this may be missing."""
        return any(position < seam for seam in self.seams) or any(
            (gap.after or 0) < position <= (gap.resume_position or 0) for gap in self.gaps
        )


class Node:
    """One process's share of a hub."""

    def __init__(self, servers: Servers, names: Names, name: str, tuning: Tuning = TUNING) -> None:
        self.servers = servers
        self.log = RedisChannelLog(servers, names)
        self.journal = Journal()
        self.bus = StartedBus(servers, self.log, names, node=name, tuning=tuning)
        self.bus.attach(self.journal)
        self.refused = 0
        self.acknowledged: list[int] = []

    async def append(self, topic: Topic, data: bytes = b"1") -> int | None:
        """The position; None where it was refused."""
        try:
            position = await self.bus.append(Envelope(topic, DeliveryClass.LOG, data))
        except EventLogError:
            self.refused += 1
            return None
        assert position is not None
        self.acknowledged.append(position)
        return position

    async def load(self, ended: asyncio.Event, topic: Topic) -> None:
        """Append to a topic until the test has seen enough."""
        while not ended.is_set():
            if await self.append(topic) is None:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        await self.bus.close()
        await self.servers.close()


class Cluster:
    """Nodes A and B; B hears everything, A hears one topic."""

    def __init__(self, server: RedisServer | RedisCluster, through: Path | None = None, tuning: Tuning = TUNING) -> None:
        """``through``: the gate by which B reaches the server."""
        self.server = server
        self.names = Names(secrets.token_hex(4))
        self.a = Node(server.servers(timeout_s=1), self.names, "a", tuning)
        self.b = Node(server.servers(through, timeout_s=1), self.names, "b", tuning)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.a, self.b

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[None]:
        """Around what is done to the server: nodes publish before, meanwhile and after."""
        await self.b.bus.subscribe([EVERY, *TOPICS], positions=True)
        await self.a.bus.subscribe([TOPICS[0]], positions=True)
        ended = asyncio.Event()
        work = [asyncio.ensure_future(node.load(ended, topic)) for node in self.nodes for topic in TOPICS]
        await self.progress()
        yield
        await self.progress()
        ended.set()
        await asyncio.gather(*work)
        await self.settle()

    async def progress(self, count: int = 30) -> None:
        """Return when both nodes were acknowledged some more."""
        until_now = [len(node.acknowledged) for node in self.nodes]
        await until(lambda: all(len(node.acknowledged) >= had + count for node, had in zip(self.nodes, until_now, strict=True)))

    async def settle(self) -> None:
        """Return when everything has arrived."""
        for node in self.nodes:
            await node.bus.quiet()

    async def in_log(self) -> dict[int, Topic]:
        """All that the log has."""
        found: dict[int, Topic] = {}
        after, more = 0, True
        while more:
            page = await self.a.log.page("t", after)
            found |= {record.position: record.header.topic("t") for record in page.records}
            after, more = page.end_position, page.more
        return found

    async def check(self, *, durable: bool = True) -> None:
        """What holds whatever happened; ``durable``: the server loses nothing that it acknowledged."""
        acknowledged = self.a.acknowledged + self.b.acknowledged
        in_log = await self.in_log()
        assert len(set(acknowledged)) == len(acknowledged)  # no position twice
        for node in self.nodes:
            heard = node.journal.positions
            assert heard == sorted(set(heard))  # once, in order
        heard_by_b = set(self.b.journal.positions)
        missing = [position for position in acknowledged if position not in heard_by_b and not self.b.journal.excused(position)]
        assert not missing  # all, or it was said
        of_a = {position for position, topic in in_log.items() if topic == TOPICS[0]}
        assert not [p for p in of_a - set(self.a.journal.positions) if not self.a.journal.excused(p) and p > min(self.a.journal.positions)]
        if durable:
            assert not set(acknowledged) - in_log.keys()  # acknowledged is recorded
            assert not heard_by_b - in_log.keys()  # nothing is heard that the log lacks
            assert not self.b.journal.seams
        for node in self.nodes:
            assert node.bus.pending == node.bus.pending_bytes == 0

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()


MakeCluster = Callable[..., Cluster]
