"""HTTP connections: offers of another protocol, requests behind one another, what cannot be read, callers by HTTP/1.0."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from hub.core.frames import text_frame
from hub.core.limits import Limits
from hub.transports.http_config import HttpCounters
from hub.transports.http_protocol import HubHttpProtocol
from hub.transports.server import configuration
from hub.transports.socket import Socket
from tests.hub.transports.harness import running

PATIENCE_S = 60.0
BODY = b"sixteen byte txt"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 16\r\n"
CHUNKS = b"6\r\nsixtee\r\na\r\nn byte txt\r\n0\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
WEBSOCKET = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Application:
    """Writes down what it is asked, and answers with it. ``/held`` waits until it is let go; ``/fast`` answers without reading the body."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.messages: list[bytes] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.let_go = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            socket = Socket(scope, receive, send, max_message_bytes=1000)
            await asyncio.sleep(0.02)  # as a gate that looks something up
            await socket.accept()
            while isinstance(payload := await socket.receive(), bytes):
                self.messages.append(payload)
                socket.write(text_frame(payload))
            return
        path = scope["path"]
        self.begun.put_nowait(path)
        if path == "/held":
            waiting = asyncio.create_task(self.let_go.wait())
            while not waiting.done():
                heard = asyncio.create_task(receive())  # type: ignore[arg-type]
                await asyncio.wait([waiting, heard], return_when=asyncio.FIRST_COMPLETED)
                if heard.done() and heard.result()["type"] == "http.disconnect":
                    self.gone.set()
                    waiting.cancel()
                    return
                heard.cancel()
        try:
            body = b"" if path in {"/held", "/fast"} else await Request(scope, receive).body()
        except ClientDisconnect:
            return
        self.asked.append((scope["method"], path, body))
        self.headers.append(dict(scope["headers"]))
        answer = b"%b %d" % (path.encode(), len(body))
        headers = [] if path == "/stream" else [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer[:3], "more_body": True})
        await send({"type": "http.response.body", "body": answer[3:]})


class House:
    """The application behind a server."""

    def __init__(self, app: Application, counters: HttpCounters, port: int) -> None:
        self.app = app
        self.counters = counters
        self.port = port

    async def answer(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """All that the server says to these bytes, until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
            return await asyncio.wait_for(reader.read(), PATIENCE_S)
        finally:
            writer.close()


@asynccontextmanager
async def house(limits: Limits | None = None) -> AsyncIterator[House]:
    app, counters = Application(), HttpCounters()
    config: uvicorn.Config = configuration(app, limits or Limits(), lifespan=False, counters=counters)
    config.timeout_graceful_shutdown = 1
    async with running(config) as port:
        yield House(app, counters, port)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


# -- an offer that is not taken up (RFC 9110 section 7.8) ---------------------------------------------------------------

OFFERS = {
    "h2c": H2C,
    "h2c without settings": b"Upgrade: h2c\r\nConnection: upgrade\r\n",
    "keep-alive and upgrade": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n",
    "two Connection headers": b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: TLS/1.0\r\n",
    "several protocols": b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
    "two Upgrade headers": b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + WEBSOCKET,
    "a WebSocket by another method": b"Connection: Upgrade\r\n" + WEBSOCKET,
    "an unknown protocol": b"Connection: Upgrade\r\nUpgrade: foo/2\r\n",
    "asked for first": b"Expect: 100-continue\r\n" + H2C,
}


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
async def test_the_body_behind_an_offer_is_read(offer: bytes, framing: bytes) -> None:
    request = b"POST /first HTTP/1.1\r\nHost: x\r\n" + offer + framing + b"\r\n" + (BODY if framing is LENGTH else CHUNKS)
    async with house() as server:
        answer = await server.answer(request + request + NEXT)
    assert [status for status in statuses(answer) if status != 100] == [200, 200, 200]
    assert server.app.asked == [("POST", "/first", BODY)] * 2 + [("GET", "/next", b"")]
    assert server.counters.upgrades_ignored == 2


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunks"])
async def test_wherever_the_bytes_are_cut(framing: bytes) -> None:
    """A body in a later segment is no request: else whoever writes the body writes requests of his own (request smuggling)."""
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    body = hidden if framing is LENGTH else b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
    told = b"Content-Length: %d\r\n" % len(hidden) if framing is LENGTH else CHUNKED
    request = b"POST /first HTTP/1.1\r\nHost: x\r\n" + H2C + told + b"\r\n" + body
    whole = request + NEXT
    async with house() as server:
        for at in range(1, len(whole)):
            assert statuses(await server.answer(whole[:at], whole[at:])) == [200, 200], at
        assert statuses(await server.answer(*[whole[at : at + 1] for at in range(len(whole))])) == [200, 200]
    assert {path for _, path, _ in server.app.asked} == {"/first", "/next"}
    assert {body for _, path, body in server.app.asked if path == "/first"} == {hidden}


async def test_an_offer_by_http_1_0_is_ignored() -> None:
    async with house() as server:
        answer = await server.answer(b"POST /first HTTP/1.0\r\nConnection: Upgrade\r\n" + WEBSOCKET + LENGTH + b"\r\n" + BODY)
    assert statuses(answer) == [200]
    assert server.app.asked == [("POST", "/first", BODY)]


@pytest.mark.parametrize("framing", [LENGTH, CHUNKED], ids=["length", "chunks"])
async def test_a_websocket_with_a_body_is_a_request(framing: bytes) -> None:
    """What follows the head of a WebSocket is frames: a body there would be read as such."""
    request = b"GET /first HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + framing + b"\r\n"
    async with house() as server:
        answer = await server.answer(request + (BODY if framing is LENGTH else CHUNKS) + NEXT)
    assert statuses(answer) == [200, 200]
    assert server.app.asked == [("GET", "/first", BODY), ("GET", "/next", b"")]


async def test_a_websocket_behind_a_request_that_is_not_answered_is_a_request() -> None:
    offer = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + b"\r\n"
    async with house() as server:
        asking = asyncio.create_task(server.answer(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + offer + NEXT))
        await server.app.begun.get()
        server.app.let_go.set()
        assert statuses(await asking) == [200, 200, 200]
    assert [path for _, path, _ in server.app.asked] == ["/held", "/second", "/next"]


def masked(payload: bytes) -> bytes:
    return bytes((0x81, 0x80 | len(payload))) + b"\x00\x00\x00\x00" + payload


@pytest.mark.parametrize("cut", [0, 1, 3, 9, 1000], ids=str)
async def test_frames_that_do_not_wait_for_the_answer_are_kept(cut: int) -> None:
    """A client that sends frames at once loses none of them, however they are cut, and whatever stands in them."""
    offer = b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nContent-Length: 0\r\n" + WEBSOCKET + b"\r\n"
    frames = masked(b"a\r\n\r\nb") + masked(b"GET /smuggled HTTP/1.1\r\n\r\n")
    async with house() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(offer + frames[:cut])
        await asyncio.sleep(0.005)
        writer.write(frames[cut:])
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert head.startswith(b"HTTP/1.1 101 ")
        await asyncio.wait_for(reader.readexactly(2 + 6 + 2 + 26), PATIENCE_S)
        writer.close()
    assert server.app.messages == [b"a\r\n\r\nb", b"GET /smuggled HTTP/1.1\r\n\r\n"]
    assert server.app.asked == []


@pytest.mark.parametrize("early", [b"\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_frame_and_does_not_wait_ends_the_connection(early: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with house() as server:
        answer = await server.answer(b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + b"\r\n" + early)
    assert statuses(answer) == [101]
    assert caplog.records == []


async def test_a_tunnel_is_refused() -> None:
    """RFC 9110 section 9.3.6: what would follow is the tunnel's, and must not be read as requests."""
    async with house() as server:
        answer = await server.answer(b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n" + NEXT)
    assert statuses(answer) == [501]
    assert server.app.asked == []


async def test_trailers_are_no_headers() -> None:
    trailers = b"6\r\nsixtee\r\na\r\nn byte txt\r\n0\r\nAuthorization: Bearer x\r\nX-Forwarded-For: 10.0.0.1\r\nUpgrade: h2c\r\n\r\n"
    async with house() as server:
        answer = await server.answer(b"POST /first HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n" + trailers + NEXT)
    assert statuses(answer) == [200, 200]
    assert server.app.headers[0] == {b"host": b"x", b"transfer-encoding": b"chunked"}


# -- requests behind one another (RFC 9112 section 9.3.2) ---------------------------------------------------------------


@contextlib.contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HubHttpProtocol]]:
    """The connections that are made meanwhile."""
    made: list[HubHttpProtocol] = []
    connect = HubHttpProtocol.connection_made

    def note(protocol: HubHttpProtocol, transport: asyncio.Transport) -> None:
        made.append(protocol)
        connect(protocol, transport)

    with monkeypatch.context() as patch:
        patch.setattr(HubHttpProtocol, "connection_made", note)
        yield made


@pytest.mark.parametrize("ahead", [1, 3, 8])
async def test_no_more_requests_are_read_ahead_than_the_limit(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 5_000
    with watched(monkeypatch) as made:
        async with house(Limits(max_requests_ahead=ahead)) as server:
            many = b"GET /x HTTP/1.1\r\n\r\n" * count
            asking = asyncio.create_task(server.answer(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n", many, NEXT))
            await server.app.begun.get()
            while not made[0].flow.held:
                await asyncio.sleep(0)
            assert len(made[0].pipeline) == ahead
            most = 0
            server.app.let_go.set()
            while not asking.done():
                most = max(most, len(made[0].pipeline))
                await asyncio.sleep(0)
            assert statuses(await asking) == [200] * (count + 2)
    assert most <= ahead
    assert server.counters.reading_paused > 0
    assert [path for _, path, _ in server.app.asked] == ["/held", *["/x"] * count, "/next"]


async def test_bodies_behind_one_another_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight requests may wait, but not eight large bodies."""
    size = 200_000
    post = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + b"\r\n\r\n" * (size // 4)
    with watched(monkeypatch) as made:
        async with house() as server:
            asking = asyncio.create_task(server.answer(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n", post * 6 + NEXT))
            await server.app.begun.get()
            while not made[0].flow.held:
                await asyncio.sleep(0)
            kept = len(made[0]._unread) + sum(len(cycle.body) for cycle, _ in made[0].pipeline)
            server.app.let_go.set()
            assert statuses(await asking) == [200] * 8
    assert 0 < kept < 3 * size
    assert [len(body) for _, path, body in server.app.asked if path == "/x"] == [size] * 6


async def test_any_cut_of_any_conversation_is_read_the_same() -> None:
    """Random requests behind one another, cut at random: each arrives whole, in order."""
    chance = random.Random(13)
    async with house(Limits(max_requests_ahead=2)) as server:
        for _ in range(60):
            told: list[tuple[str, str, bytes]] = []
            sent = b""
            for number in range(chance.randrange(1, 12)):
                body = chance.choice([b"", b"\r\n\r\n", b"\r\n" * 300, b"GET /no HTTP/1.1\r\n\r\n" * 5, BODY])
                path = chance.choice([f"/{number}", "/fast"])
                offer = chance.choice([b"", b"", H2C, b"Connection: Upgrade\r\n" + WEBSOCKET])
                head = b"PUT %b HTTP/1.1\r\nHost: x\r\n%b" % (path.encode(), offer)
                if chance.random() < 0.5:
                    sent += head + b"Content-Length: %d\r\n\r\n" % len(body) + body
                else:
                    chunks = [body[at : at + 7] for at in range(0, len(body), 7)]
                    sent += head + CHUNKED + b"\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in chunks) + b"0\r\n\r\n"
                told.append(("PUT", path, b"" if path == "/fast" else body))
            sent += NEXT
            cuts = sorted(chance.randrange(len(sent)) for _ in range(chance.randrange(6)))
            pieces = [sent[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
            server.app.asked.clear()
            assert statuses(await server.answer(*pieces)) == [200] * (len(told) + 1)
            assert server.app.asked == [*told, ("GET", "/next", b"")]


@pytest.mark.parametrize("headers", [[b"Cookie: " + b"a" * 10_000], [b"X-%d: a" % number for number in range(150)]], ids=["long", "many"])
async def test_a_websocket_is_opened_by_a_head_as_large_as_others(headers: list[bytes]) -> None:
    async with house() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + b"\r\n".join(headers) + b"\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert statuses(head) == [101]
        writer.close()


async def test_others_are_served_while_one_sends_as_much_as_it_can() -> None:
    async with house() as server:
        flood = [asyncio.create_task(server.answer(b"GET /x HTTP/1.1\r\n\r\n" * 3_000 + NEXT)) for _ in range(4)]
        for _ in range(20):
            assert statuses(await server.answer(NEXT)) == [200]
        assert not any(task.done() for task in flood)
        for task in flood:
            assert len(statuses(await task)) == 3_001


async def test_a_client_that_goes_is_noticed_by_the_request_that_waits() -> None:
    """Not by the one behind it alone: what is held would else be answered to nobody, and count as delivered."""
    async with house() as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT)
        await server.app.begun.get()
        writer.close()
        await asyncio.wait_for(server.app.gone.wait(), PATIENCE_S)


# -- what cannot be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
async def test_a_refusal_waits_for_the_answers_before_it(garbage: bytes) -> None:
    async with house() as server:
        asking = asyncio.create_task(server.answer(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT[:25] + b"\r\n\r\n" + garbage))
        await server.app.begun.get()
        await asyncio.sleep(0.05)
        server.app.let_go.set()
        answer = await asking
    assert statuses(answer) == [200, 200, 400]
    assert answer.endswith(b"Invalid HTTP request received.")


async def test_a_body_that_cannot_be_read_is_refused_in_its_turn() -> None:
    broken = b"POST /broken HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\nxyz\r\n"
    async with house() as server:
        asking = asyncio.create_task(server.answer(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n" + broken + NEXT))
        await server.app.begun.get()
        server.app.let_go.set()
        assert statuses(await asking) == [200, 400]
        assert statuses(await server.answer(broken)) == [400]
        await asyncio.sleep(0.01)
    assert [path for _, path, _ in server.app.asked] == ["/held"]
    assert server.counters.requests_unreadable == 2


async def test_a_head_too_large_that_comes_in_one_piece_is_refused() -> None:
    large = b"GET /x HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n"
    async with house() as server:
        assert statuses(await server.answer(large)) == [431]
        many = b"".join(b"X-%d: a\r\n" % number for number in range(9_000))
        assert statuses(await server.answer(b"GET /x HTTP/1.1\r\n" + many + b"\r\n")) == [431]
    assert server.app.asked == []


# -- every answer -------------------------------------------------------------------------------------------------------

BAD_VERSION = b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET.replace(b": 13", b": 12") + b"\r\n"
ANSWERS = {
    "an answer": (NEXT, 200),
    "no HTTP": (b"\x00\r\n\r\n", 400),
    "a head too large": (b"GET /x HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    "a tunnel": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    "another version of WebSockets": (BAD_VERSION, 400),
    "a WebSocket": (b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n" + WEBSOCKET + b"\r\n\x88\x80\x00\x00\x00\x00", 101),
}


@pytest.mark.parametrize(("sent", "status"), ANSWERS.values(), ids=ANSWERS)
async def test_no_answer_is_to_be_guessed_at(sent: bytes, status: int) -> None:
    async with house() as server:
        answer = await server.answer(sent)
    assert statuses(answer) == [status]
    assert answer.lower().count(b"x-content-type-options: nosniff\r\n") == 1


async def test_a_refused_version_of_websockets_is_told_the_right_one() -> None:
    async with house() as server:
        answer = await server.answer(BAD_VERSION)
    assert b"\r\nsec-websocket-version: 13\r\n" in answer.lower()


# -- HTTP/1.0 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
async def test_http_1_0_gets_no_chunks(headers: bytes) -> None:
    async with house() as server:
        head, _, body = (await server.answer(b"GET /stream HTTP/1.0\r\n" + headers + b"\r\n")).partition(b"\r\n\r\n")
        with_length = await server.answer(b"GET /x HTTP/1.0\r\n" + headers + b"\r\n")
    assert body == b"/stream 0"
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert b"content-length: 4" in with_length.lower()
    assert with_length.endswith(b"\r\n\r\n/x 0")
