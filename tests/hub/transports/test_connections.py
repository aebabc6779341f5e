"""Limits on connections at a real server, and the word of proxies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest
from starlette.types import Receive, Scope, Send

from hub.core.frames import text_frame
from hub.core.limits import Limits
from hub.security.connections import LOOPBACK, Connections, admit, connection_of
from hub.transports.http_config import HubConfig
from hub.transports.server import configuration
from hub.transports.socket import Socket
from tests.hub.transports.harness import RawClient, running

PATIENCE_S = 10.0
GET = "GET / HTTP/1.1\r\nHost: x\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Says whom it sees. ``x-token`` is a credential; ``/held`` answers when the client has gone."""
    if any(name == b"x-token" for name, _ in scope["headers"]):
        admit(scope)
    if scope["type"] == "websocket":
        socket = Socket(scope, receive, send, max_message_bytes=1000)
        await socket.accept()
        while isinstance(payload := await socket.receive(), bytes):
            connection = connection_of(scope)
            assert connection is not None
            connection.admit(anonymous=payload == b"anonymous")
            socket.write(text_frame(b"welcome"))
        return
    if scope["path"] == "/held":
        while (await receive())["type"] != "http.disconnect":
            pass
    body = json.dumps([scope["client"][0], scope["scheme"]]).encode() if scope["path"] != "/large" else bytes(16 * 1024 * 1024)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class House:
    def __init__(self, connections: Connections, config: HubConfig, port: int) -> None:
        self.connections = connections
        self.config = config
        self.port = port
        self.opened: list[asyncio.StreamWriter] = []

    async def open(self, head: str = "") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        if head:
            writer.write((head + "\r\n").encode())
        return reader

    async def websocket(self) -> RawClient:
        client = await RawClient.connect(self.port)
        self.opened.append(client.writer)
        return client

    async def ask(self, *headers: str) -> bytes:
        reader = await self.open(GET + "".join(f"{header}\r\n" for header in (*headers, "Connection: close")))
        return await asyncio.wait_for(reader.read(), PATIENCE_S)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.connections.count != count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def house(limits: Limits, proxies: tuple[str, ...] = ()) -> AsyncIterator[House]:
    connections = Connections(limits, tuple(ip_network(each) for each in proxies) or LOOPBACK)
    config = configuration(application, limits, lifespan=False, connections=connections)
    config.timeout_graceful_shutdown = 1
    async with running(config) as port:
        assert isinstance(config, HubConfig)
        made = House(connections, config, port)
        yield made
        for writer in made.opened:
            writer.transport.abort()


LIMITS = Limits(max_connections=8, max_unidentified=6, max_unidentified_per_address=3)
HELD = "GET /held HTTP/1.1\r\nHost: x\r\n"


async def test_an_address_over_its_limit_is_told_so_and_when_to_come_back() -> None:
    async with house(LIMITS) as server:
        for _ in range(3):
            await server.open(HELD)
        await server.until(3)
        answer = await server.ask()
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 5\r\n" in answer
        assert b"max_unidentified_per_address" in answer
        assert b"x-content-type-options: nosniff" in answer
        server.opened[0].close()
        await server.until(2)
        assert (await server.ask()).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_waits_gives_way() -> None:
    async with house(LIMITS) as server:
        first = await server.open()
        await server.until(1)
        for _ in range(5):
            assert (await server.open(GET)) is not None
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(first.read(), PATIENCE_S) == b""
        assert (await server.ask()).startswith(b"HTTP/1.1 200 ")
        assert server.connections.unidentified <= 3


async def test_who_is_refused_a_connection_gets_to_read_why_though_the_request_is_on_its_way() -> None:
    async with house(LIMITS) as server:
        for _ in range(3):
            await server.open(HELD)
        await server.until(3)
        for _ in range(5):
            # it does not read before it has sent: the answer is there by then
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            server.opened.append(writer)
            await asyncio.sleep(0.05)
            for _ in range(2):
                writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000))
                await asyncio.sleep(0.02)
            answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"max_unidentified_per_address" in answer
        assert server.connections.count == 3


async def test_refused_connections_do_not_stay() -> None:
    async with house(replace(LIMITS, max_lingering=2, linger_ms=50)) as server:
        for _ in range(3):
            await server.open(HELD)
        await server.until(3)
        for _ in range(5):
            reader = await server.open()
            assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).startswith(b"HTTP/1.1 429 ")
            assert 0 <= server.config.lingering.count <= 2
        async with asyncio.timeout(PATIENCE_S):
            while server.config.lingering.count:
                await asyncio.sleep(0.005)
        assert server.config.http_counters.closed_amid_sending == 5


BEHIND = b"a" * 100_000
"""What a client is still sending while it is answered."""
UNFINISHED = {
    "no HTTP": (b"\x00\r\n\r\n", [400]),
    "no HTTP behind a request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x00\r\n\r\n", [200, 400]),
    "a head too large": (b"GET /x HTTP/1.1\r\nX: " + b"a" * 70_000, [431]),
    "a tunnel": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    "a chunk that is none": (b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", [400]),
    "a length that is none": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1a\r\n\r\n", [400]),
    "a body that nobody waits for": (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n", [200]
    ),
    "the same by HTTP/1.0": (b"POST / HTTP/1.0\r\nContent-Length: 1000000\r\n\r\n", [200]),
    "chunks that nobody waits for": (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n", [200]
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "statuses"), UNFINISHED.values(), ids=UNFINISHED)
async def test_who_is_still_sending_gets_to_read_the_answer_that_ends_the_connection(sent: bytes, statuses: list[int]) -> None:
    """A connection that is closed while bytes come is reset, and the client drops the answer (RFC 9112 section 9.6)."""
    async with house(LIMITS) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.opened.append(writer)
        writer.write(sent)
        async with asyncio.timeout(PATIENCE_S):
            while not server.config.lingering.count and not reader.at_eof():
                await asyncio.sleep(0.005)
        for _ in range(3):  # it does not read before it has sent
            writer.write(BEHIND)
            await asyncio.sleep(0.02)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)] == statuses
        writer.close()
        await server.until(0)
        assert not server.config.lingering.count
        assert not server.config.http_counters.closed_amid_sending


async def test_who_never_stops_sending_is_cut_off() -> None:
    async with house(replace(LIMITS, max_linger_bytes=200_000, linger_ms=60_000)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.opened.append(writer)
        writer.write(b"\x00\r\n\r\n")

        async def send_for_ever() -> None:
            while True:
                writer.write(BEHIND)
                await writer.drain()
                await asyncio.sleep(0.001)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(), PATIENCE_S)
        assert reader.at_eof() or reader.exception() is not None
        await server.until(0)
        assert server.config.http_counters.closed_amid_sending == 1


async def test_who_lingers_gives_way_to_another_connection() -> None:
    async with house(replace(LIMITS, max_unidentified=1, linger_ms=60_000)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        server.opened.append(writer)
        writer.write(b"POST /held HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S)).startswith(b"HTTP/1.1 400 ")
        assert server.config.lingering.count == 1
        assert (await server.ask()).startswith(b"HTTP/1.1 200 ")
        assert not server.config.lingering.count


LARGE = "GET /large HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n"
BODY = "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"


@pytest.mark.parametrize("headers", ["", "X-Forwarded-For: 192.0.2.1\r\n"])
async def test_bodies_that_do_not_come_shut_out_nobody(headers: str) -> None:
    """Of one address, and of one that is exempt, for it says that it forwards for others."""
    async with house(LIMITS, ("10.0.0.0/8",)) as server:
        first = await server.open(BODY + headers)
        for _ in range(8):
            await server.open(BODY + headers)
            await asyncio.sleep(0.02)
        answer = await server.ask()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert (await asyncio.wait_for(first.read(), PATIENCE_S)).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("requests", [1, 2])
async def test_answers_that_nobody_reads_shut_out_nobody(requests: int) -> None:
    async with house(LIMITS, ("10.0.0.0/8",)) as server:
        for _ in range(8):
            await server.open("\r\n".join([LARGE] * requests))
            await asyncio.sleep(0.02)
        assert (await server.ask()).startswith(b"HTTP/1.1 200 ")
        assert server.connections.counters.evicted >= 2


async def test_with_a_credential_an_address_has_as_many_as_there_are() -> None:
    async with house(LIMITS) as server:
        for number in range(8):
            await server.open(HELD + "X-Token: good\r\n")
            await server.until(number + 1)
            async with asyncio.timeout(PATIENCE_S):
                while server.connections.unidentified:
                    await asyncio.sleep(0.005)
        answer = await server.ask()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"max_connections" in answer
        assert b"\r\nretry-after: 5\r\n" in answer


async def test_websockets_count_until_they_say_who_they_are_and_again_when_they_end() -> None:
    async with house(LIMITS) as server:
        first, second = await server.websocket(), await server.websocket()
        assert (server.connections.count, server.connections.unidentified) == (2, 2)
        first.text(b"token")
        await first.read_frame()
        assert (server.connections.count, server.connections.unidentified) == (2, 1)
        first.writer.close()
        await server.until(1)
        await server.websocket()
        await server.websocket()
        await server.ask()
        assert await asyncio.wait_for(second.close_code(), PATIENCE_S) == 4429


@pytest.mark.parametrize("shape", ["one frame", "fragments"])
async def test_a_websocket_takes_little_from_who_has_not_said_who_he_is(shape: str) -> None:
    async with house(Limits(max_message_bytes=500)) as server:
        stranger = await server.websocket()
        if shape == "one frame":
            stranger.text(b"x" * 501)
        else:
            stranger.frame(0x01, b"x" * 300)
            stranger.frame(0x80, b"x" * 300)
        assert await asyncio.wait_for(stranger.close_code(), PATIENCE_S) == 1009


@pytest.mark.parametrize("who", [b"token", b"anonymous"])
async def test_a_websocket_takes_more_from_who_was_let_in(who: bytes) -> None:
    async with house(Limits(max_message_bytes=500)) as server:
        known = await server.websocket()
        for payload in (who, b"x" * 501):
            known.text(payload)
            assert await asyncio.wait_for(known.read_frame(), PATIENCE_S) == (1, b"welcome")


async def test_frames_before_the_handshake_is_answered_are_bounded_for_strangers_too() -> None:
    async with house(Limits(max_message_bytes=500)) as server:
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        reader = await server.open(f"{GET}Upgrade: websocket\r\nConnection: Upgrade\r\n{key}")
        server.opened[-1].write(b"\x81\xfe\x02\x58\0\0\0\0" + b"x" * 600)
        received = await asyncio.wait_for(reader.read(), PATIENCE_S)
        assert b"welcome" not in received


async def test_a_websocket_that_was_refused_is_counted_no_more() -> None:
    async with house(LIMITS) as server:
        for _ in range(10):
            answer = await server.ask("Upgrade: websocket", "Connection: Upgrade")
            assert answer.startswith(b"HTTP/1.1 400 ")
        await server.until(0)


# -- proxies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ([], ["127.0.0.1", "http"]),
        (["X-Forwarded-For: 192.0.2.1"], ["192.0.2.1", "http"]),
        (["X-Forwarded-For: 192.0.2.1:5555", "X-Forwarded-Proto: https"], ["192.0.2.1", "https"]),
        (["X-Forwarded-For: [2001:db8::1]:5555"], ["2001:db8::1", "http"]),
        (["X-Forwarded-For: 203.0.113.9, 192.0.2.1"], ["192.0.2.1", "http"]),
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1, 127.0.0.1"], ["192.0.2.1", "http"]),
        (["X-Forwarded-For: 127.0.0.1"], ["127.0.0.1", "http"]),
        (["X-Forwarded-For: ,", "X-Forwarded-Proto: gopher"], ["127.0.0.1", "http"]),
        (["Forwarded: for=192.0.2.1;proto=https", "X-Forwarded-Host: evil"], ["127.0.0.1", "http"]),
    ],
)
async def test_the_word_of_a_trusted_proxy(headers: list[str], seen: list[str]) -> None:
    async with house(Limits()) as server:
        answer = await server.ask(*headers)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == seen


async def test_the_word_of_anybody_else_is_not_believed() -> None:
    async with house(LIMITS, ("10.0.0.0/8",)) as server:
        answer = await server.ask("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == ["127.0.0.1", "http"]
        for _ in range(5):  # it forwards: its address says nothing
            await server.open(HELD)
        await server.until(5)


async def test_behind_a_trusted_proxy_the_clients_own_limits_hold() -> None:
    async with house(LIMITS) as server:
        for _ in range(3):
            await server.open(HELD + "X-Forwarded-For: 192.0.2.1\r\n")
            await asyncio.sleep(0.02)
        await server.until(3)
        refused = await server.ask("X-Forwarded-For: 192.0.2.1")
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 5\r\n" in refused
        assert (await server.ask("X-Forwarded-For: 192.0.2.2")).startswith(b"HTTP/1.1 200 ")
        assert (await server.ask()).startswith(b"HTTP/1.1 200 ")
