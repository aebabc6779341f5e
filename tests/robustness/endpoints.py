"""Both WebSocket endpoints of a hub on one real server, and clients that speak bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from starlette.applications import Starlette

from hub.core.limits import Limits
from hub.transports.dashboard_websocket import DashboardEndpoint
from hub.transports.dispatcher import Dispatcher
from hub.transports.runtime import TimerDriver
from tests.hub.transports.bayeux_house import House
from tests.hub.transports.harness import RawClient, listening

PATIENCE_S = 20.0
"""How long a client waits for what has to come; nothing takes nearly as long."""


class Endpoint(NamedTuple):
    """A path, a question, and how to see its answer."""

    path: str
    question: bytes
    """A JSON text; ``%b`` is where a further text may stand, which the answer repeats."""
    greets: bool

    def ask(self, size: int, echoed: bytes = b"") -> bytes:
        """The question with ``echoed`` in it, padded to ``size`` bytes."""
        bare = self.question % echoed
        return b" " * (size - len(bare)) + bare

    def answers(self, payload: bytes) -> list[bool]:
        """Whether each message of a text from the server is the answer to the question."""
        return [str(message.get("id", "")).startswith("q") for message in json.loads(payload)]


BAYEUX = Endpoint("/cometd", b'{"channel":"/meta/connect","clientId":"nobody","connectionType":"websocket","id":"q%b"}', greets=False)
DASHBOARD = Endpoint("/ws", b'{"type":"ping","id":"q%b"}', greets=True)
ENDPOINTS = [BAYEUX, DASHBOARD]


@asynccontextmanager
async def endpoints(*, limits: Limits, frames: bool = True) -> AsyncIterator[House]:
    """A hub with its Bayeux and its dashboards' endpoint on a real server; without ``frames`` on one that takes no prebuilt frames."""
    built = House(open_to_all=True, limits=limits)
    driver = TimerDriver(built.hub.timers)
    await driver.start()
    app = Dispatcher([built.endpoint, DashboardEndpoint(built.hub, built.gate)], Starlette())
    try:
        async with listening(app, limits=limits, frames=frames) as built.port:
            yield built
    finally:
        await driver.stop()
        await built.loop.close()


async def frames_of(client: RawClient) -> AsyncIterator[tuple[int, bytes]]:
    """What the server sends until it ends the connection. Its close frame is answered, as a client does that still can."""
    while True:
        try:
            opcode, payload = await client.read_frame()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        if opcode == 8:
            with contextlib.suppress(RuntimeError):  # it has ended its own side
                client.frame(0x88, payload[:2])
        yield opcode, payload


async def connected(port: int, endpoint: Endpoint, headers: str = "") -> RawClient:
    """A client of a endpoint that has been greeted where the endpoint does so."""
    client = await RawClient.connect(port, endpoint.path, headers="Authorization: Bearer demo-token\r\n" + headers)
    if endpoint.greets:
        opcode, payload = await client.read_frame()
        (welcome,) = json.loads(payload)
        assert (opcode, welcome["type"]) == (1, "welcome")
    return client


def errors(logs: list[Any]) -> list[Any]:
    """Entries of a log that tell of a fault of the hub's."""
    return [entry for entry in logs if entry["log_level"] in {"error", "critical"} or "exc_info" in entry]
