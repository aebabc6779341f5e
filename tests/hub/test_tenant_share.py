"""A tenant that has its share of a server's connections is told so by every endpoint, and leaves the last of them to others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from hub.core.limits import Limits
from hub.node import Node
from hub.ops.settings import Settings
from tests.hub.transports.harness import listening

BOUND_S = 20.0
LIMITS = Limits(max_connections=20, tenant_share_percent=50)
OF_ONE = 18
"""Connections of one tenant beyond which the last tenth is left to others."""


class World:
    def __init__(self, port: int, tokens: dict[str, str]) -> None:
        self.port = port
        self.tokens = tokens
        self.stack = AsyncExitStack()

    def headers(self, tenant: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[tenant]}"}

    async def websocket(self, tenant: str = "") -> ClientConnection:
        made = connect(f"ws://127.0.0.1:{self.port}/ws", additional_headers=self.headers(tenant) if tenant else {})
        return await self.stack.enter_async_context(made)

    async def ask(self, tenant: str, method: str = "GET", path: str = "/api/v1/me", **more: Any) -> httpx.Response:
        """A request on a connection of its own."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=BOUND_S) as client:
            return await client.request(method, path, headers=self.headers(tenant), **more)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """``busy`` has its share in use, by WebSockets that listen."""
    node = Node(Settings(data_dir=tmp_path), [])
    async with listening(node.app, limits=LIMITS, lifespan=True) as port:
        tokens = {}
        for tenant in ("busy", "other"):
            await node.security.store.add_tenant(tenant)
            _, tokens[tenant] = await node.security.store.add_token(tenant, "ana", ["admin"])
        await node.security.gate.refresh()
        made = World(port, tokens)
        async with made.stack:
            for _ in range(OF_ONE):
                socket = await made.websocket("busy")
                assert json.loads(await socket.recv())[0]["type"] == "welcome"
            yield made


async def closed(socket: ClientConnection) -> int:
    """The close code."""
    await asyncio.wait_for(socket.wait_closed(), BOUND_S)
    assert socket.close_code is not None
    return socket.close_code


async def test_rest_is_refused(world: World) -> None:
    answer = await world.ask("busy")
    assert (answer.status_code, answer.json()["status"]["code"], answer.headers["retry-after"]) == (503, 503, "5")
    assert (await world.ask("other")).json()["data"]["tenant"] == "other"


async def test_streams_are_refused(world: World) -> None:
    answer = await world.ask("busy", path="/events", params={"channel": "/a"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_bayeux_is_refused(world: World) -> None:
    handshake = [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}]
    answer = await world.ask("busy", "POST", "/cometd", json=handshake)
    assert answer.status_code == 503
    (reply,) = (await world.ask("other", "POST", "/cometd", json=handshake)).json()
    assert reply["successful"] is True


async def test_dashboards_are_refused_by_their_header_and_by_hello(world: World) -> None:
    by_header = await world.websocket("busy")
    assert await closed(by_header) == 4429
    by_hello = await world.websocket()
    await by_hello.send(json.dumps({"type": "hello", "token": world.tokens["busy"]}))
    assert await closed(by_hello) == 4429
    other = await world.websocket("other")
    assert json.loads(await other.recv())[0]["type"] == "welcome"


async def test_a_place_that_is_left_is_good_again(world: World) -> None:
    assert (await world.ask("busy")).status_code == 503
    await world.stack.aclose()
    async with asyncio.timeout(BOUND_S):
        while (await world.ask("busy")).status_code != 200:
            await asyncio.sleep(0.05)
