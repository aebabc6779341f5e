"""A hub with the Bayeux endpoint on a real server; who comes in is somebody of the tenant demo."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect

from hub.bayeux.server import BayeuxServer
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.security.gate import Gate
from hub.transports.bayeux import BayeuxEndpoint
from hub.transports.dispatcher import Dispatcher
from hub.transports.runtime import TimerDriver
from tests.hub.transports.endpoint_house import BEARER as BEARER
from tests.hub.transports.endpoint_house import House as EndpointHouse
from tests.hub.transports.harness import listening

PATH = "/cometd"
STATISTICS = "/statistics/v3/notifications"
HANDSHAKE: dict[str, Any] = {
    "id": "1",
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["websocket", "long-polling"],
}
BY_TOKEN = {**HANDSHAKE, "ext": {"authentication": {"token": "demo-token"}}}

Json = dict[str, Any]


class House(EndpointHouse[BayeuxEndpoint]):
    """The hub, its endpoint, and clients of it."""

    server: BayeuxServer

    def __init__(self, *, open_to_all: bool, limits: Limits, incarnation: str | None = None) -> None:
        super().__init__(self._endpoint, open_to_all=open_to_all, limits=limits, incarnation=incarnation)

    def _endpoint(self, hub: Hub, gate: Gate) -> BayeuxEndpoint:
        self.server = BayeuxServer(hub, gate)
        return BayeuxEndpoint(self.server, gate)

    def client(self, path: str = PATH, **headers: str) -> Client:
        return Client(self, path, headers)

    def connect(self, path: str = PATH, **headers: str) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{path}", additional_headers=headers, proxy=None)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def house(*, open_to_all: bool = False, limits: Limits | None = None, frames: bool = True) -> AsyncIterator[House]:
    limits = limits or Limits()
    built = House(open_to_all=open_to_all, limits=limits)
    driver = TimerDriver(built.hub.timers, built.hub.budget.step)
    await driver.start()

    async def nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    try:
        async with listening(Dispatcher([built.endpoint], nothing_else), limits=limits, frames=frames) as built.port:
            yield built
    finally:
        await driver.stop()
        await built.loop.close()
    assert built.faults == []


class Client:
    """A long-polling client; it keeps cookies as a browser does."""

    def __init__(self, built: House, path: str, headers: dict[str, str]) -> None:
        self.house = built
        self.path = path
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{built.port}", headers=headers, timeout=10, trust_env=False)
        self.id = ""

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def raw(self, content: bytes | str, suffix: str = "", **options: Any) -> httpx.Response:
        return await self.http.post(self.path + suffix, content=content, **options)

    async def post(self, *messages: Json, suffix: str = "") -> list[Json]:
        response = await self.raw(json.dumps(messages), suffix)
        assert response.status_code == 200, response.text
        replies: list[Json] = response.json()
        return replies

    async def shake(self, message: Json = BY_TOKEN) -> Json:
        (reply,) = await self.post(message, suffix="/handshake")
        self.id = reply.get("clientId", "")
        return reply

    async def opened(self, subscription: object = None, *, message: Json = BY_TOKEN) -> Client:
        """Shaken hands, connected once, and subscribed."""
        await self.shake(message)
        await self.post(self.connect(timeout=0))
        if subscription is not None:
            (reply,) = await self.post(self.message("/meta/subscribe", subscription=subscription))
            assert reply["successful"], reply
        return self

    def message(self, channel: str, **members: Any) -> Json:
        return {"id": "9", "channel": channel, "clientId": self.id, **members}

    def connect(self, *, timeout: int | None = None) -> Json:
        advice = {} if timeout is None else {"advice": {"timeout": timeout}}
        return self.message("/meta/connect", connectionType="long-polling", **advice)

    async def hold(self) -> asyncio.Task[httpx.Response]:
        """A connect that the server holds now."""
        session = self.house.server.sessions[self.id]
        before = session.connect_seq
        task = asyncio.create_task(self.raw(json.dumps([self.connect()]), "/connect"))
        await until(lambda: session.connect_seq > before and session.held is not None)
        return task


async def talk(socket: ClientConnection, *messages: Json) -> list[Json]:
    """Send messages over a WebSocket and read the next frame."""
    await socket.send(json.dumps(messages))
    return await listen(socket)


async def listen(socket: ClientConnection) -> list[Json]:
    async with asyncio.timeout(30):
        frame: list[Json] = json.loads(await socket.recv())
    return frame
