"""A Bayeux server that does as a test says: for faults that a real one does not have on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from tests.hub.client.fake_hub import serving

Messages = list[dict[str, Any]]
Answer = Callable[[web.Request, Messages], Any]
ADVICE = {"reconnect": "retry", "interval": 0, "timeout": 300}


class ScriptedServer:
    """Answers handshakes, connects, subscribes and publishes plainly; ``faults``, taken one by one, come first.

    A fault is a function of the request and its messages that returns a response, or raises, or None for the plain answer.
    """

    def __init__(self) -> None:
        self.heard: Messages = []
        """Every message that came, over HTTP or WebSocket, in order."""
        self.faults: list[Answer] = []
        self.replies: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        """For a channel: what is added to the plain reply."""
        self.websocket_status = 404
        """What an upgrade is answered with; 101 opens a WebSocket."""
        self.sockets: list[web.WebSocketResponse] = []
        self.sessions = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/cometd"

    def of(self, channel: str) -> Messages:
        """What came on a channel."""
        return [message for message in self.heard if message["channel"] == channel]

    async def reply(self, message: dict[str, Any]) -> dict[str, Any]:
        """The plain answer to one message; a connect is held."""
        channel = message["channel"]
        reply: dict[str, Any] = {"id": message.get("id"), "channel": channel, "successful": True}
        if channel == "/meta/handshake":
            self.sessions += 1
            types = ["websocket", "long-polling"] if self.websocket_status == 101 else ["long-polling"]
            reply |= {"clientId": f"session-{self.sessions}", "supportedConnectionTypes": types, "advice": ADVICE}
        elif channel == "/meta/connect":
            reply["advice"] = ADVICE
        elif channel == "/meta/subscribe":
            reply["subscription"] = message["subscription"]
        if channel in self.replies:
            reply |= self.replies[channel](message)
        if channel == "/meta/connect" and reply["successful"] and message.get("advice", {}).get("timeout") != 0:
            await asyncio.sleep(ADVICE["timeout"] / 1000)  # type: ignore[operator]
        return reply

    async def _post(self, request: web.Request) -> web.StreamResponse:
        messages = orjson.loads(await request.read())
        self.heard += messages
        if self.faults and (answer := self.faults.pop(0)(request, messages)) is not None:
            response: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
            return response
        return web.json_response([await self.reply(message) for message in messages])

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if self.websocket_status != 101:
            return web.Response(status=self.websocket_status)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async with asyncio.TaskGroup() as answering:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    messages = orjson.loads(frame.data)
                    self.heard += messages
                    if self.faults and self.faults.pop(0)(request, messages) is not None:
                        break
                    for message in messages:
                        answering.create_task(self._answer(socket, message))
        return socket

    async def _answer(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        reply = await self.reply(message)
        if not socket.closed:
            await socket.send_str(orjson.dumps([reply]).decode())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedServer]:
        app = web.Application()
        app.router.add_post("/cometd", self._post)
        app.router.add_get("/cometd", self._get)
        async with serving(app, self.port) as self.port:
            yield self
