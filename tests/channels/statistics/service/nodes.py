"""Nodes of one hub in one process: each has a hub, a stat server and ingest; the event log is one, and a test says who owns the tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec

from channels.events import EVENT_TYPES, Event
from channels.ingest.relayed import OwnersSink
from channels.ingest.sequencer import Sequencer
from channels.statistics.channels import declarations
from channels.statistics.service.cluster import ClusterStatServer
from channels.statistics.service.guests import Guests
from channels.statistics.service.local import LocalStatServer
from channels.statistics.settings import StatisticsSettings
from hub.cluster.ownership import Owner, TenantWorker, wait_for_owner
from hub.core.delivery import ChannelRegistry
from hub.core.hub import Hub
from hub.core.principal import Principal
from hub.eventlog.interface import EventLog
from hub.eventlog.memory import MemoryEventLog
from hub.storage.lease import Fence
from tests.channels.statistics.support import START_MS, AsyncioLoop, Everything, Listener, principal
from tests.hub.bus.network import Network, NetworkBus, NetworkLog
from tests.support.cluster import MemoryCluster, MemoryNode
from tests.world import ManualClock

WITHIN_S = 60.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.002)


class Owners:
    """Who owns which tenant."""

    def __init__(self) -> None:
        self.owners: dict[str, Owner] = {}
        self.nodes: dict[str, TestOwnership] = {}
        self._fences = count(1)

    def changed(self, tenant: str) -> None:
        for node in self.nodes.values():
            node.change(tenant)

    async def give(self, tenant: str, node: str) -> None:
        """Let a node take a free tenant."""
        owner = Owner(node, next(self._fences))
        mine = self.nodes[node]
        mine.fences[tenant] = Fence(f"stat/{tenant}", owner.fence)
        for worker in mine.workers:
            await worker.open_tenant(tenant, mine.fences[tenant])
        self.owners[tenant] = owner
        self.changed(tenant)

    def take_away(self, tenant: str) -> None:
        """The owner loses the tenant at this moment."""
        owner = self.owners.pop(tenant)
        mine = self.nodes.get(owner.node)
        if mine is not None:
            del mine.fences[tenant]
            for worker in reversed(mine.workers):
                worker.drop_tenant(tenant)
        self.changed(tenant)

    async def release(self, tenant: str) -> None:
        """The owner hands the tenant over."""
        mine = self.nodes[self.owners[tenant].node]
        for worker in reversed(mine.workers):
            await worker.close_tenant(tenant)
        self.take_away(tenant)


class TestOwnership:
    """:class:`hub.cluster.ownership.Ownership` of one node."""

    def __init__(self, owners: Owners, node: str, find_s: float) -> None:
        self.workers: list[TenantWorker] = []
        self.on_changed: list[Callable[[str], object]] = []
        self.fences: dict[str, Fence] = {}
        self.deposed_from: list[str] = []
        self.refreshed = 0
        self._owners = owners
        self._node = node
        self._find_s = find_s
        self._changed = asyncio.Event()
        owners.nodes[node] = self

    def owner(self, tenant: str) -> Owner | None:
        return self._owners.owners.get(tenant)

    def serves(self, tenant: str) -> bool:
        owner = self.owner(tenant)
        return owner is not None and owner.node == self._node

    def fence(self, tenant: str) -> Fence | None:
        return self.fences.get(tenant)

    def epoch(self, tenant: str) -> int | None:
        fence = self.fences.get(tenant)
        return None if fence is None else fence.number

    def want(self, tenant: str) -> None:
        pass

    async def find(self, tenant: str) -> Owner | None:
        return await wait_for_owner(self, tenant, self._changed, self._find_s)

    async def refresh(self) -> None:
        self.refreshed += 1

    def deposed(self, tenant: str, fence: Fence | None) -> None:
        self.deposed_from.append(tenant)

    def change(self, tenant: str) -> None:
        self._changed.set()
        for call in self.on_changed:
            call(tenant)


class StatNode:
    """One node."""

    def __init__(self, party: StatNodes, node: MemoryNode, clock: ManualClock, find_s: float) -> None:
        settings = party.settings
        self.node = node
        self.name = node.incarnation
        self.clock = clock
        self.loop = AsyncioLoop()
        self.bus = NetworkBus(party.network, self.name)
        self.hub = Hub(
            bus=self.bus,
            log=party.network.log,
            registry=ChannelRegistry(),
            authorizer=Everything(),
            loop=self.loop,
            clock=clock,
            on_fault=lambda _, fault: None,
        )
        self.ownership = TestOwnership(party.owners, self.name, find_s)
        guests = Guests(self.hub.logins, settings.node_grace_s)
        self.local = LocalStatServer(
            hub=self.hub,
            eventlog=party.log,
            clock=clock,
            settings=settings,
            logins=guests,
            ownership=self.ownership,
            leased=True,
        )
        guests.serve(self.local)
        self.guests = guests
        self.server = ClusterStatServer(
            self.local,
            guests,
            hub=self.hub,
            cluster=node,
            ownership=self.ownership,
            clock=clock,
            answer_s=settings.answer_s,
        )
        for declaration in declarations(self.server):
            self.hub.registry.declare(declaration)
        self.sequencer = Sequencer(
            eventlog=party.log,
            clock=clock,
            loop=self.loop,
            find_consumers=lambda: [self.local],
            repeats_s=600,
            repeats_max=10_000,
            ownership=self.ownership,
            leased=True,
        )
        self.sink = OwnersSink(
            self.sequencer, cluster=node, ownership=self.ownership, clock=clock, loop=self.loop, answer_s=settings.answer_s
        )
        self.ownership.workers += [self.local, self.sequencer]

    async def subscribe(self, *patterns: str, who: Principal | None = None, identifier: str = "s1") -> Listener:
        listener = Listener(self.hub, identifier, who or principal())
        self.hub.sessions.attach(listener)
        await self.hub.subscriptions.subscribe(listener, patterns)
        for pattern in patterns:
            await self.hub.snapshots.send(listener, [pattern])
        await self.settle()
        return listener

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


class StatNodes:
    """Some nodes. The tenant ``t`` has no owner at first."""

    def __init__(
        self, count_: int = 2, *, log: EventLog | None = None, find_s: float = WITHIN_S, ahead_s: Sequence[float] = (), **settings: Any
    ) -> None:
        """``ahead_s``: seconds by which the clock of each node is ahead; by default all nodes have one clock, which is right."""
        self.clock = ManualClock(wall=START_MS)
        self.clocks = [ManualClock(wall=START_MS + round(seconds * 1000)) for seconds in ahead_s] or [self.clock] * count_
        self.log = log or MemoryEventLog()
        self.cluster = MemoryCluster(count_)
        self.network = Network(NetworkLog(self.clock))
        self.owners = Owners()
        self._ids = count()
        self.settings = StatisticsSettings(**{"zone": "UTC", "answer_s": 5, "node_grace_s": 0.1, **settings})
        self.nodes = [StatNode(self, node, clock, find_s) for node, clock in zip(self.cluster.nodes, self.clocks, strict=True)]

    async def __aenter__(self) -> StatNodes:
        for node in self.nodes:
            await node.sequencer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes:
            await node.server.stop()
        await self.cluster.close()

    def __getitem__(self, index: int) -> StatNode:
        return self.nodes[index]

    async def give(self, index: int, tenant: str = "t") -> None:
        await self.owners.give(tenant, self.nodes[index].name)

    async def kill(self, index: int) -> None:
        """A node ends as by ``kill -9``."""
        name = self.nodes[index].name
        self.owners.nodes.pop(name)
        self.cluster.kill(self.nodes[index].node)
        for tenant, owner in list(self.owners.owners.items()):
            if owner.node == name:
                self.owners.take_away(tenant)

    def event(self, kind: str, /, at_s: float | None = None, **data: object) -> Event:
        time_ms = self.clock.wall if at_s is None else START_MS + round(at_s * 1000)
        assert time_ms is not None
        return Event(kind, time_ms, "test", str(next(self._ids)), msgspec.convert(data, EVENT_TYPES[kind]))

    def call(self, agent: str = "ana") -> list[Event]:
        """An inbound call that begins and ends at one moment: one more for InboundCalls."""
        interaction = f"call-{next(self._ids)}"
        return [
            self.event("cx.interaction.established", interactionId=interaction, agentId=agent, callType="inbound"),
            self.event("cx.interaction.released", interactionId=interaction, agentId=agent),
        ]

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and let every node send what is due."""
        for clock in {id(clock): clock for clock in (self.clock, *self.clocks)}.values():
            clock.advance(seconds)
        for node in self.nodes:
            await node.local.tick()
        for node in self.nodes:
            await node.settle()
