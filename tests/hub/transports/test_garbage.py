"""What is over leaves no circles of references: the collector, which holds the event loop, has nothing to find."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hub.bayeux.websocket import WebSocketConnection
from hub.collector import SESSIONS_A_PIECE, ArrivalCollector
from hub.transports.http_protocol import HubHttpProtocol
from hub.transports.socket import Socket
from hub.transports.uvicorn_protocol import HubWebSocketProtocol
from tests.hub.transports.bayeux_house import HANDSHAKE, House, Json, house, talk, until

Way = Callable[[House], Awaitable[None]]


async def by_websocket(hub: House) -> None:
    async with hub.connect() as socket:
        (opened,) = await talk(socket, HANDSHAKE)
        own: Json = {"clientId": opened["clientId"]}
        await talk(socket, {**own, "channel": "/meta/subscribe", "subscription": "/a"})
        await talk(socket, {**own, "channel": "/meta/disconnect"})


async def cut_off(hub: House) -> None:
    async with hub.connect() as socket:
        await talk(socket, HANDSHAKE)
        socket.transport.abort()


async def by_polling(hub: House) -> None:
    async with hub.client() as client:
        await client.opened("/a")


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def of_connections() -> list[str]:
    """What there is of connections."""
    kinds = (HubHttpProtocol, HubWebSocketProtocol, RequestResponseCycle, Socket, WebSocketConnection)
    return [type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds)]


@pytest.mark.parametrize("way", [by_websocket, cut_off, by_polling])
async def test_a_connection_that_has_ended_is_freed_without_the_collector(way: Way, no_collector: None) -> None:
    gc.collect()
    before = of_connections()  # of another test, whose report may refer to them
    async with house(open_to_all=True) as hub:
        await way(hub)
        await until(lambda: len(of_connections()) == len(before))


async def test_objects_of_new_sessions_are_looked_at_in_small_pieces(no_collector: None) -> None:
    generations: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            generations.append(info["generation"])

    arrivals: list[Callable[[object], None]] = []
    collector = ArrivalCollector(arrivals)
    await collector.start()
    gc.callbacks.append(note)
    try:
        for count in range(2 * SESSIONS_A_PIECE):
            for arrived in arrivals:
                arrived(count)
        assert generations == []  # not within the handshake
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    finally:
        gc.callbacks.remove(note)
    assert generations == [1, 1]
    await collector.stop()
    assert arrivals == []
