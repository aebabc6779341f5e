"""Dashboards on ``/ws`` and readers of ``/events`` that come back by themselves, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

START_WITHIN_S = 90.0
BACK_AFTER_S = 0.2


class Listener(ABC):
    """One client of one channel. It resumes where it was, as the protocol's pages tell clients to."""

    def __init__(self, url: str, token: str, channel: str) -> None:
        self.url = url
        self.channel = channel
        self.headers = {"Authorization": f"Bearer {token}"}
        self.heard: list[tuple[int | None, Any]] = []
        """Position and data of what came, in the order in which it came."""
        self.since: int | None = None
        self.lost = 0
        """How often the hub said that something is missing."""
        self.opened = 0
        """How often it was subscribed."""

    def note(self, position: int | None, data: Any) -> None:
        self.heard.append((position, data))
        if position is not None:
            self.since = position

    async def run(self) -> None:
        """Listen, and come back, until cancelled."""
        while True:
            with suppress(OSError, WebSocketException, InvalidHandshake, httpx.HTTPError, TimeoutError):
                await self.listen()
            await asyncio.sleep(BACK_AFTER_S)

    @abstractmethod
    async def listen(self) -> None:
        """One connection, until it ends."""


class Dashboard(Listener):
    """On ``/ws``."""

    async def listen(self) -> None:
        address = f"{self.url.replace('http', 'ws', 1)}/ws"
        async with connect(address, additional_headers=self.headers, open_timeout=10, close_timeout=1, max_queue=None) as socket:
            subscribe: dict[str, Any] = {"type": "subscribe", "id": 1, "channels": [self.channel]}
            if self.since is not None:
                subscribe["since"] = self.since
            await socket.send(json.dumps(subscribe))
            async for frame in socket:
                for message in json.loads(frame):
                    if message["type"] == "subscribed":
                        self.opened += 1
                        for each in message["channels"]:
                            if "since" in subscribe and "position" in each and not each["recovered"]:
                                self.lost += 1
                            if self.since is None:
                                self.since = each.get("position")  # from here on nothing may be missed
                    elif message["type"] == "event":
                        self.note(message.get("position"), message["data"])
                    elif message["type"] == "error" and message.get("id") == 1:
                        return  # refused for now: 503 while something beneath the hub is away


class Reader(Listener):
    """On ``/events``."""

    async def listen(self) -> None:
        headers = self.headers if self.since is None else {**self.headers, "Last-Event-ID": str(self.since)}
        timeout = httpx.Timeout(10, read=60)
        async with (
            httpx.AsyncClient(timeout=timeout) as http,
            http.stream("GET", f"{self.url}/events", params={"channel": self.channel}, headers=headers) as response,
        ):
            if response.status_code != httpx.codes.OK:
                return
            self.opened += 1
            async for event in _events(response.aiter_lines()):
                body = json.loads(event["data"]) if "data" in event else {}
                if event.get("event") == "gap":
                    self.lost += 1
                elif "channel" in body:
                    self.note(int(event["id"]) if event.get("id") else None, body["data"])
                if event.get("id"):
                    self.since = int(event["id"])


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, str]]:
    """The blocks of an event stream; a comment is none."""
    event: dict[str, str] = {}
    async for line in lines:
        if not line:
            if event:
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")


class Listeners:
    """Many of them at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, listeners: Sequence[Listener]) -> None:
        """Start them; returns when each was subscribed once."""

        async def start() -> None:
            self._tasks += [asyncio.create_task(listener.run()) for listener in listeners]
            async with asyncio.timeout(START_WITHIN_S):
                while not all(listener.opened for listener in listeners):
                    await asyncio.sleep(0.02)

        self.do(start())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_WITHIN_S + 5)

    def close(self) -> None:
        async def stop() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        self.do(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
