"""WebSockets that wait for their turn of the event loop before they open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn

from hub.core.arrivals import Arrivals, Waiting
from hub.core.counters import Counters
from hub.core.limits import Limits
from hub.transports.runtime import AsyncioLoop, SystemClock
from hub.transports.server import configuration
from tests.hub.transports.harness import running
from tests.hub.transports.test_http_protocol import PATIENCE_S, WEBSOCKET, Application, masked, statuses

OFFER = b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + b"\r\n"
REQUEST = b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"


class HeldArrivals(Arrivals):
    """Nobody's turn comes before the test says so."""

    def __init__(self) -> None:
        super().__init__(AsyncioLoop(), SystemClock(), Counters(), 0.00025)
        self.held: list[Waiting] = []

    def begin(self, work: Callable[[], None]) -> Waiting | None:
        self.held.append(Waiting(work))
        return self.held[-1]

    def release(self) -> None:
        for waiting in self.held:
            if waiting.work is not None:
                waiting.work()


@asynccontextmanager
async def serving(arrivals: Arrivals) -> AsyncIterator[tuple[Application, int]]:
    app = Application()
    config: uvicorn.Config = configuration(app, Limits(), lifespan=False, arrivals=arrivals)
    config.timeout_graceful_shutdown = 1
    async with running(config) as port:
        yield app, port


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():
            await asyncio.sleep(0.005)


async def test_each_of_many_gets_its_turn() -> None:
    arrivals = Arrivals(AsyncioLoop(), SystemClock(), counters := Counters(), 0.0)  # one in a turn of the loop
    async with serving(arrivals) as (app, port):

        async def client(number: int) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            payload = b"%03d" % number
            writer.write(OFFER + masked(payload))
            async with asyncio.timeout(PATIENCE_S):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                assert (await reader.readexactly(5))[2:] == payload
            writer.close()
            return payload

        sent = await asyncio.gather(*(client(number) for number in range(50)))
        assert sorted(app.messages) == sorted(sent)
    assert counters.arrivals_held > 0
    assert len(arrivals) == 0


@pytest.mark.parametrize("ahead", [b"", REQUEST], ids=["alone", "behind a request"])
async def test_what_comes_while_it_waits_is_kept(ahead: bytes) -> None:
    arrivals = HeldArrivals()
    async with serving(arrivals) as (app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if ahead:
            writer.write(ahead)
            await asyncio.wait_for(reader.readuntil(b"/first 0"), PATIENCE_S)
        writer.write(OFFER + masked(b"one"))
        await until(lambda: arrivals.held)
        writer.write(masked(b"two"))
        await asyncio.sleep(0.05)
        assert app.messages == []
        arrivals.release()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert statuses(head) == [101]
        await asyncio.wait_for(reader.readexactly(2 * 5), PATIENCE_S)
        writer.close()
        assert app.messages == [b"one", b"two"]


async def test_a_client_that_goes_meanwhile_takes_no_turn() -> None:
    arrivals = HeldArrivals()
    async with serving(arrivals) as (app, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(OFFER)
        await until(lambda: arrivals.held)
        writer.transport.abort()
        (waiting,) = arrivals.held
        await asyncio.sleep(0.05)
        arrivals.release()  # the server reads nothing meanwhile: whether it knows is the system's matter
        await asyncio.sleep(0.05)
        assert app.messages == []
        # others are served
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.wait_for(reader.readuntil(b"/first 0"), PATIENCE_S)
        writer.close()
    assert waiting.work is None or arrivals.held == [waiting]


async def test_the_server_stops_while_one_waits() -> None:
    arrivals = HeldArrivals()
    async with serving(arrivals) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(OFFER)
        await until(lambda: arrivals.held)
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    (waiting,) = arrivals.held
    assert waiting.work is None  # it was taken from those that wait
    writer.close()


async def test_one_that_cannot_be_opened_ends_and_others_open() -> None:
    """What is no handshake is refused in its turn."""
    arrivals = HeldArrivals()
    async with serving(arrivals) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(OFFER.replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"))
        await until(lambda: arrivals.held)
        arrivals.release()
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert statuses(answer) == [400]
        writer.close()
