"""Nodes of one hub in a process, each with the Bayeux endpoint on a real server. Their links are those of :class:`MemoryCluster`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from hub.bayeux.server import BayeuxServer
from hub.cluster.relay.build import Relay
from hub.cluster.relay.tuning import RelayTuning
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.security.gate import Gate
from hub.transports.bayeux import BayeuxEndpoint
from hub.transports.dispatcher import Dispatcher
from hub.transports.runtime import TimerDriver
from tests.hub.transports.bayeux_house import Client, House
from tests.hub.transports.harness import listening
from tests.support.cluster import MemoryCluster, MemoryNode


class Node(House):
    """One node: :class:`House` with a relay."""

    def __init__(self, cluster: MemoryCluster, node: MemoryNode, *, open_to_all: bool, limits: Limits, tuning: RelayTuning) -> None:
        self.cluster = cluster
        self.node = node
        self.relay = Relay(node, limits, tuning)
        super().__init__(open_to_all=open_to_all, limits=limits, incarnation=node.incarnation)

    def _endpoint(self, hub: Hub, gate: Gate) -> BayeuxEndpoint:
        self.server = BayeuxServer(hub, gate, clustered=True)
        return BayeuxEndpoint(self.server, gate, None, self.relay.sessions)

    @property
    def incarnation(self) -> str:
        return self.node.incarnation

    def client(self, path: str = "/cometd", *, at: Node | None = None, **headers: str) -> Client:
        """A client of the sessions here, whose requests go to another node."""
        made = super().client(path, **headers)
        if at is not None:
            made.http.base_url = f"http://127.0.0.1:{at.port}"  # type: ignore[assignment]
        return made


def move(client: Client, node: Node) -> None:
    """Let the next requests of a client go to another node. Its session stays where it is."""
    client.http.base_url = f"http://127.0.0.1:{node.port}"  # type: ignore[assignment]


async def _nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def nodes(
    count: int = 2, *, open_to_all: bool = False, limits: Limits | None = None, tuning: RelayTuning | None = None, **cluster: Any
) -> AsyncIterator[list[Node]]:
    """Nodes that know each other. At the end nothing may be left of a request."""
    limits = limits or Limits()
    joined = MemoryCluster(count, **cluster)
    made: list[Node] = []
    async with contextlib.AsyncExitStack() as stack:
        for each in joined.nodes:
            node = Node(joined, each, open_to_all=open_to_all, limits=limits, tuning=tuning or RelayTuning(confirm_s=0.5, lapse_s=1.0))
            driver = TimerDriver(node.hub.timers, node.hub.budget.step)
            await driver.start()
            stack.push_async_callback(node.loop.close)
            stack.push_async_callback(driver.stop)
            app = Dispatcher([node.endpoint], _nothing_else)
            node.relay.serve(Dispatcher([node.endpoint], _nothing_else), node.server)
            node.port = await stack.enter_async_context(listening(app, limits=limits))
            made.append(node)
        yield made
        await joined.close()
    assert [node.faults for node in made] == [[]] * count
