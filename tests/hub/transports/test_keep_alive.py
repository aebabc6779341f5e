"""How long a connection is kept while nothing is asked on it (``limits.keep_alive_s``); the clock is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from hub.core.limits import Limits
from hub.transports.http_protocol import HubHttpProtocol
from hub.transports.server import configuration
from tests.hub.transports.harness import running

KEPT_S = 75
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n"


class Timer:
    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """The running loop, whose time passes when the test says so."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = 1_000.0
        self.timers: list[Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        self.timers.append(Timer(self.now + seconds, callback))
        return self.timers[-1]

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer.at > self.now and not timer.cancelled]
        for timer in due:
            timer.callback()


class Client:
    """One connection to a server whose application holds ``/held`` until it is let go."""

    def __init__(self, clock: Clock, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, let_go: asyncio.Event) -> None:
        self.clock = clock
        self.reader = reader
        self.writer = writer
        self.let_go = let_go

    async def ask(self, request: bytes = REQUEST) -> None:
        self.writer.write(request)
        await self.read()

    async def read(self) -> None:
        assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Client, asyncio.Event]]:
    clock, let_go, begun = Clock(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/held":
            begun.set()
            await let_go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    class Protocol(HubHttpProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.loop = clock  # type: ignore[assignment]

    config = configuration(app, Limits(keep_alive_s=KEPT_S), lifespan=False)
    config.http = Protocol
    async with running(config) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield Client(clock, reader, writer, let_go), begun
        finally:
            writer.close()


async def test_it_is_closed_when_nothing_was_asked_for_that_long() -> None:
    async with connected() as (client, _):
        await client.ask()
        client.clock.let_pass(KEPT_S)
        assert await client.is_closed()


async def test_the_time_begins_with_the_last_answer() -> None:
    async with connected() as (client, _):
        for _ in range(5):
            await client.ask()
            client.clock.let_pass(KEPT_S - 1)
        await client.ask()
        client.clock.let_pass(1)  # the timer of an answer before it fires amid this time
        client.clock.let_pass(KEPT_S - 2)
        await client.ask()
        client.clock.let_pass(KEPT_S)
        assert await client.is_closed()


async def test_it_is_not_closed_while_a_request_is_answered() -> None:
    async with connected() as (client, begun):
        await client.ask()
        client.writer.write(HELD)
        await begun.wait()
        for _ in range(3):
            client.clock.let_pass(KEPT_S)
        client.let_go.set()
        await client.read()
        client.clock.let_pass(KEPT_S - 1)
        await client.ask()
        client.clock.let_pass(KEPT_S)
        assert await client.is_closed()


async def test_one_timer_serves_all_requests_of_a_connection() -> None:
    async with connected() as (client, _):
        for _ in range(10):
            await client.ask()
        assert len([timer for timer in client.clock.timers if not timer.cancelled]) == 1


async def test_nothing_of_it_is_left_when_the_client_has_gone() -> None:
    async with connected() as (client, begun):
        await client.ask()
        client.writer.write(HELD)
        await begun.wait()
        client.writer.close()
        await client.writer.wait_closed()
        client.let_go.set()
        async with asyncio.timeout(60):
            while any(not timer.cancelled for timer in client.clock.timers):
                await asyncio.sleep(0.01)
