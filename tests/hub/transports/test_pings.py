"""Pings of WebSockets: to whom, when, and what follows from none being answered."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect

from hub.core.frames import text_frame
from hub.core.limits import Limits
from hub.transports.socket import Socket
from hub.transports.uvicorn_protocol import EARLIEST_PING, HubWebSocketProtocol
from tests.hub.transports.harness import RawClient, echo, listening, socket_app


async def test_a_peer_that_answers_no_ping_is_cut_off() -> None:
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        while socket.buffered < 200_000:
            socket.write(text_frame(b"x" * 50_000))
        assert await socket.receive() is None
        ended.set()

    class Impatient(Limits):
        __slots__ = ()

    limits = Impatient(close_timeout_ms=100, pong_timeout_ms=100)
    object.__setattr__(limits, "heartbeat_s", 0.1)
    async with listening(socket_app(serve), limits=limits) as port:
        client = await RawClient.connect(port)
        await asyncio.wait_for(ended.wait(), 5)
        client.writer.transport.abort()


async def test_only_who_is_silent_is_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Bayeux client connects again and again, and so says that it is there: pings would cost thousands of them a tenth of a core."""
    made: list[HubWebSocketProtocol] = []
    start = HubWebSocketProtocol.start_keepalive

    def noted(protocol: HubWebSocketProtocol) -> None:
        start(protocol)
        made.append(protocol)

    monkeypatch.setattr(HubWebSocketProtocol, "start_keepalive", noted)
    async with listening(socket_app(echo), limits=Limits(heartbeat_s=1000)) as port, connect(f"ws://127.0.0.1:{port}/") as client:
        (protocol,) = made
        loop = asyncio.get_running_loop()
        timer = protocol.ping_timer
        assert timer is not None
        heard = protocol._heard_at
        assert heard + EARLIEST_PING * 1000 <= timer.when() <= heard + 1000
        while protocol._heard_at == heard:  # the clock has milliseconds
            await client.send("x")
            assert await client.recv() == "x"
        protocol._ping_the_silent(heard)  # as when the time has come
        assert protocol.pending_ping_payload is None
        assert protocol.ping_timer is not None
        assert protocol.ping_timer.when() >= protocol._heard_at + EARLIEST_PING * 1000
        silent_since = protocol._heard_at
        protocol._ping_the_silent(silent_since)
        assert protocol.pending_ping_payload is not None
        async with asyncio.timeout(30):
            while protocol.pending_ping_payload is not None:  # the client's library answers
                await asyncio.sleep(0.005)
        assert protocol.ping_timer is not None
        assert protocol.ping_timer.when() > loop.time()


async def test_pings_can_be_switched_off() -> None:
    async with listening(socket_app(echo), limits=Limits(heartbeat_s=0)) as port, connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send("x")
        assert await client.recv() == "x"
