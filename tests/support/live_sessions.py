"""Everything that one token opens on a running hub, and how each of it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.hub_process import HubProcess

WITHIN_S = 60.0

Send = Callable[[dict[str, Any]], Awaitable[list[dict[str, Any]]]]

ENDED = {
    "ws": 4401,
    "ws by ticket": 4401,
    "bayeux": "none",
    "long-polling": "none",
    "callback-polling": "none",
    "stream": 401,
    "stream by ticket": 401,
}
"""How each door tells its client to sign in again."""


class Live:
    """Everything that one token has opened: a WebSocket of /ws by header and one by ticket, Bayeux by each of its transports, and an event
    stream by header and one by ticket.
    """

    def __init__(self, hub: HubProcess, token: str) -> None:
        self.hub = hub
        self.headers = {"Authorization": f"Bearer {token}"}
        self.ends: dict[str, Any] = {}
        """How each of them ended that has ended."""
        self.ended_at: dict[str, float] = {}
        """When each ended, by ``time.monotonic``."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Live:
        works = (
            self._ws,
            self._ws_by_ticket,
            self._bayeux,
            self._long_polling,
            self._callback_polling,
            self._stream,
            self._stream_by_ticket,
        )
        opened = [asyncio.Event() for _ in works]
        for work, event in zip(works, opened, strict=True):
            self._tasks.append(asyncio.create_task(work(event.set)))
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(event.wait() for event in opened))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, what: str, how: object) -> None:
        self.ends[what], self.ended_at[what] = how, time.monotonic()

    async def ended(self) -> dict[str, Any]:
        """How each of them ended."""
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._tasks)
        return self.ends

    async def _ws(self, opened: Callable[[], None]) -> None:
        async with connect(f"{self.hub.ws_url}/ws", additional_headers=self.headers) as socket:
            await socket.recv()
            opened()
            self._ended("ws", await close_code(socket))

    async def _ticket(self) -> str:
        async with httpx.AsyncClient(timeout=WITHIN_S, headers=self.headers) as client:
            answer = await client.post(f"{self.hub.url}/api/v1/tickets")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["ticket"])

    async def _ws_by_ticket(self, opened: Callable[[], None]) -> None:
        async with connect(f"{self.hub.ws_url}/ws?ticket={await self._ticket()}") as socket:
            await socket.recv()
            opened()
            self._ended("ws by ticket", await close_code(socket))

    async def _long_polling(self, opened: Callable[[], None]) -> None:
        async with httpx.AsyncClient(timeout=WITHIN_S, headers=self.headers) as client:

            async def post(message: dict[str, Any]) -> list[dict[str, Any]]:
                answer = await client.post(f"{self.hub.url}/cometd", json=[message])
                found: list[dict[str, Any]] = answer.json()
                return found

            self._ended("long-polling", await _polled(post, opened, {}))

    async def _callback_polling(self, opened: Callable[[], None]) -> None:
        async with httpx.AsyncClient(timeout=WITHIN_S) as client:

            async def get(message: dict[str, Any]) -> list[dict[str, Any]]:
                answer = await client.get(f"{self.hub.url}/cometd", params={"message": json.dumps([message]), "jsonp": "f"})
                found: list[dict[str, Any]] = json.loads(answer.text.removeprefix("/**/f(").removesuffix(");"))
                return found

            token = self.headers["Authorization"].partition(" ")[2]
            self._ended("callback-polling", await _polled(get, opened, {"ext": {"authentication": {"token": token}}}))

    async def _bayeux(self, opened: Callable[[], None]) -> None:
        async with connect(f"{self.hub.ws_url}/cometd", additional_headers=self.headers) as socket:
            shake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"], "id": "1"}
            await socket.send(json.dumps([shake]))
            (reply,) = json.loads(await socket.recv())
            connecting = json.dumps([{"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "websocket"}])
            await socket.send(connecting)
            told: list[dict[str, Any]] = []
            try:
                while True:  # the first connect is answered at once, the next ones are held
                    told += json.loads(await socket.recv())
                    if told[-1].get("advice", {}).get("reconnect") == "retry":
                        await socket.send(connecting)
                        opened()
            except ConnectionClosed:
                self._ended("bayeux", told[-1]["advice"]["reconnect"])

    async def _stream(self, opened: Callable[[], None]) -> None:
        async with httpx.AsyncClient(timeout=WITHIN_S, headers=self.headers) as client:
            async with client.stream("GET", f"{self.hub.url}/events", params={"channel": "/free/x"}) as answer:
                assert answer.status_code == 200
                opened()
                async for _ in answer.aiter_bytes():
                    pass
            self._ended("stream", (await client.get(f"{self.hub.url}/events", params={"channel": "/free/x"})).status_code)

    async def _stream_by_ticket(self, opened: Callable[[], None]) -> None:
        url = f"{self.hub.url}/events?channel=/free/x&ticket={await self._ticket()}"
        async with httpx.AsyncClient(timeout=WITHIN_S) as client:
            async with client.stream("GET", url) as answer:
                assert answer.status_code == 200
                opened()
                async for _ in answer.aiter_bytes():
                    pass
            self._ended("stream by ticket", (await client.get(url)).status_code)


async def _polled(send: Send, opened: Callable[[], None], first: dict[str, Any]) -> str:
    """Polls until the hub says what to do next other than to go on; returns that."""
    shake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling", "callback-polling"], **first}
    (reply,) = await send(shake)
    while True:
        held = asyncio.ensure_future(send({"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "long-polling"}))
        done, _ = await asyncio.wait([held], timeout=1)
        if not done:
            opened()  # it is held, or at least on its way
        *_, last = await held
        if last["advice"]["reconnect"] != "retry":
            return str(last["advice"]["reconnect"])


async def close_code(socket: ClientConnection) -> int | None:
    """The code with which a hub closes a WebSocket."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code
