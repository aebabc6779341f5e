"""One WebSocket as the endpoints use it: the fast path and the fallback behave alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from hub.core.frames import text_frame
from hub.core.limits import Limits
from hub.transports.socket import BadFrameError, Socket, TooLargeError
from hub.transports.uvicorn_protocol import BoundedServerProtocol, HubWebSocketProtocol
from tests.hub.transports.harness import RawClient, echo, listening, socket_app
from tests.world import take_turns

Start = Callable[..., Any]


@pytest.fixture(params=["frames", "asgi"])
async def start(request: pytest.FixtureRequest) -> AsyncIterator[Start]:
    """Start a server around ``serve(socket)``, of the kind that takes prebuilt frames and of the kind that does not; returns its port."""
    async with AsyncExitStack() as stack:

        async def begin(serve: Any, *, limits: Limits | None = None, **options: Any) -> int:
            app = socket_app(serve, **options)
            return await stack.enter_async_context(listening(app, frames=request.param == "frames", limits=limits))

        yield begin


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
async def test_texts_go_in_and_out(start: Start, size: int) -> None:
    port = await start(echo)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send("é" * (size // 2))
        assert await client.recv() == "é" * (size // 2)


async def test_a_fragmented_message_is_one_message(start: Start) -> None:
    port = await start(echo)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send(["a", "", "b", "", "c"])
        assert await client.recv() == "abc"


async def test_accept_adds_headers(start: Start) -> None:
    async def serve(socket: Socket) -> None:
        assert not socket.open
        assert not socket.write(text_frame(b"too early"))
        socket.close(1000)
        await socket.accept([(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
        assert socket.open

    port = await start(serve)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        assert client.response is not None
        assert client.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


async def test_messages_arrive_in_order(start: Start) -> None:
    async def serve(socket: Socket) -> None:
        await socket.accept()
        for number in range(1000):
            socket.write(text_frame(b"%d" % number))

    port = await start(serve)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        assert [await client.recv() for _ in range(1000)] == [str(number) for number in range(1000)]


async def test_close_comes_behind_what_was_written_and_only_once(start: Start) -> None:
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        socket.write(text_frame(b"last words"))
        socket.close(4408, "é" * 200)
        socket.close(4400, "another reason")
        assert not socket.open
        assert not socket.write(text_frame(b"too late"))
        assert await socket.receive() is None
        ended.set()

    port = await start(serve)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        assert await client.recv() == "last words"
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4408, "é" * 61)
    await asyncio.wait_for(ended.wait(), 5)


async def test_what_comes_after_close_is_thrown_away(start: Start) -> None:
    seen: list[bytes | None] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        seen.append(await socket.receive())
        socket.close(4400)
        seen.append(await socket.receive())

    port = await start(serve)
    client = await RawClient.connect(port)
    client.text(b"one")
    client.text(b"two")
    assert await client.close_code() == 4400
    client.text(b"three")
    client.frame(0x88, b"\x03\xe8")
    assert await client.reader.read() == b""
    assert seen == [b"one", None]
    await client.close()


async def test_a_binary_message_is_refused(start: Start) -> None:
    faults: list[str] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        with pytest.raises(BadFrameError) as fault:
            await socket.receive()
        faults.append(str(fault.value))
        assert await socket.receive() == b"text"

    port = await start(serve)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send(b"binary")
        await client.send("text")
    assert faults == ["expected a text message, got a binary one"]


async def test_a_message_above_the_sockets_limit_is_refused(start: Start) -> None:
    faults: list[str] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        assert await socket.receive() == b"x" * 10
        with pytest.raises(TooLargeError) as fault:
            await socket.receive()
        faults.append(str(fault.value))

    port = await start(serve, max_message_bytes=10)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        await client.send("x" * 10)
        await client.send("x" * 11)
    assert faults == ["expected a message of at most 10 bytes, got 11"]


async def test_the_end_of_the_peer_is_seen(start: Start) -> None:
    seen: list[object] = []
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        seen.append(await socket.receive())
        seen.append(await socket.receive())
        seen.append((socket.open, socket.write(text_frame(b"late")), socket.buffered))
        socket.close(1000)
        ended.set()

    port = await start(serve)
    async with connect(f"ws://127.0.0.1:{port}/") as client:
        await client.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert seen == [None, None, (False, False, 0)]


async def test_an_aborted_connection_ends_nothing_but_itself(start: Start) -> None:
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        while await socket.receive() is not None:
            for _ in range(100):
                socket.write(text_frame(b"x" * 10_000))
        ended.set()

    port = await start(serve)
    client = await RawClient.connect(port)
    client.text(b"go")
    await client.writer.drain()
    client.writer.transport.abort()
    await asyncio.wait_for(ended.wait(), 5)
    async with connect(f"ws://127.0.0.1:{port}/") as other:
        await other.send("go")
        assert {len(await other.recv()) for _ in range(100)} == {10_000}


async def test_a_peer_that_does_not_read_is_seen_in_buffered_and_drained_once_it_has_read(start: Start) -> None:
    drained = 0
    peak: list[int] = []

    async def serve(socket: Socket) -> None:
        def on_drain() -> None:
            nonlocal drained
            drained += 1
            assert socket.buffered == 0

        socket.on_drain(on_drain)
        await socket.accept()
        while socket.buffered < 20_000_000:  # more than the system's own buffers take
            assert socket.write(text_frame(b"x" * 50_000))
        peak.append(socket.buffered)

    port = await start(serve)
    client = await RawClient.connect(port)
    while not peak:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert drained == 0
    client.text(b"I read now")
    while not drained:
        await client.reader.read(100_000)
    assert peak[0] >= 20_000_000
    await client.close()


# -- garbage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(0x83, b"x", True)], 1002),  # a reserved opcode
        ([(0xC1, b"x", True)], 1002),  # a reserved bit
        ([(0x81, b"x", False)], 1002),  # not masked
        ([(0x80, b"x", True)], 1002),  # a continuation of nothing
        ([(0x01, b"x", True), (0x81, b"y", True)], 1002),  # a new message inside another
        ([(0x09, b"x", True)], 1002),  # a fragmented ping
        ([(0x89, b"x" * 126, True)], 1002),  # a ping that is too long
        ([(0x88, b"\x03", True)], 1002),  # half a close code
        ([(0x81, b"x" * 1001, True)], 1009),
        ([(0x01, b"x" * 600, True), (0x80, b"x" * 600, True)], 1009),
    ],
)
async def test_garbage_ends_its_own_connection_with_the_right_code(start: Start, frames: list[tuple[int, bytes, bool]], code: int) -> None:
    port = await start(echo, limits=Limits(max_request_bytes=1000))
    async with connect(f"ws://127.0.0.1:{port}/") as other:
        client = await RawClient.connect(port)
        for first, payload, masked in frames:
            client.frame(first, payload, masked=masked)
        assert await client.close_code() == code
        assert await client.reader.read() == b""
        await client.close()
        await other.send("still here")
        assert await other.recv() == "still here"


async def test_pings_are_answered_between_messages(start: Start) -> None:
    port = await start(echo)
    client = await RawClient.connect(port)
    client.frame(0x89, b"a")
    client.text(b"b")
    client.frame(0x89, b"c")
    assert sorted([await client.read_frame() for _ in range(3)]) == [(1, b"b"), (10, b"a"), (10, b"c")]
    await client.close()


async def test_closing_what_the_peer_has_closed_already_does_no_harm(start: Start) -> None:
    closed = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        await closed.wait()
        socket.close(4400)
        assert await socket.receive() is None

    port = await start(serve)
    client = await RawClient.connect(port)
    client.frame(0x88, b"\x03\xe8")
    assert await client.close_code() == 1000
    closed.set()
    await client.close()


async def test_an_application_that_knows_nothing_of_frames_is_served_as_ever() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        message = await receive()
        for _ in range(200):
            await send({"type": "websocket.send", "text": message["text"] * 100_000})

    async with listening(app) as port:
        client = await RawClient.connect(port)
        client.text(b"x")
        for _ in range(200):
            assert len((await client.read_frame())[1]) == 100_000
        await client.close()


# -- one path only ------------------------------------------------------------------------------------------------------


async def test_the_fast_path_hands_on_what_is_no_utf_8() -> None:
    seen: list[bytes | None] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        seen.append(await socket.receive())
        socket.close(4400, "not UTF-8")

    async with listening(socket_app(serve)) as port:
        client = await RawClient.connect(port)
        client.frame(0x01, b'"\xc3')
        client.frame(0x80, b'\xa9\xff"')
        assert await client.close_code() == 4400
        await client.close()
    assert seen == [b'"\xc3\xa9\xff"']


@pytest.mark.parametrize("fragment", [b"", b"x"])
async def test_a_message_in_too_many_frames_ends_its_connection(fragment: bytes) -> None:
    async with listening(socket_app(echo)) as port:
        client = await RawClient.connect(port)
        for _ in range(2):  # each message counts by itself
            client.frame(0x01, b"a")
            for _ in range(1022):
                client.frame(0x00, fragment)
            client.frame(0x80, b"b")
            assert await client.read_frame() == (1, b"a" + fragment * 1022 + b"b")
        client.frame(0x01, b"a")
        for _ in range(1024):
            client.frame(0x00, fragment)
        assert await client.close_code() == 1009
        await client.close()


def test_no_frame_is_parsed_behind_the_one_that_is_too_many() -> None:
    parser = BoundedServerProtocol(limits=Limits(), state=State.OPEN)
    parser.receive_data(b"\x01\x81\0\0\0\0x" + b"\x00\x81\0\0\0\0x" * 30_000)
    assert len(parser.events_received()) == 1024
    assert parser.close_sent is not None
    assert (parser.close_sent.code, parser.close_sent.reason) == (1009, "expected a message in at most 1024 frames, got more")


@pytest.mark.parametrize("first", [0x81, 0x89, 0x8A])  # texts, pings, pongs
async def test_too_many_frames_at_once_end_their_connection(first: int) -> None:
    async with listening(socket_app(echo), limits=Limits(max_frames_at_once=50)) as port:
        client = await RawClient.connect(port)
        client.writer.write((bytes((first, 0x80)) + bytes(4)) * 51)
        assert await asyncio.wait_for(client.close_code(), 10) == 1008
        await client.close()


async def test_of_the_pings_of_a_peer_that_does_not_read_the_last_is_answered() -> None:
    sizes: list[int] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        while socket.buffered < 200_000:
            socket.write(text_frame(b"x" * 50_000))
        for _ in range(2):
            await socket.receive()
            sizes.append(socket.buffered)
        socket.write(text_frame(b"the end"))

    async with listening(socket_app(serve)) as port:
        client = await RawClient.connect(port)
        client.text(b"before")
        for number in range(1000):
            client.frame(0x89, b"%0100d" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        client.text(b"behind")
        while len(sizes) < 2:
            await asyncio.sleep(0.005)
        assert sizes[1] <= sizes[0]
        while (frame := await client.read_frame()) != (1, b"the end"):
            assert frame[0] == 1
        assert await client.read_frame() == (10, b"%0100d" % 999)
        client.frame(0x89, b"again")
        assert await client.read_frame() == (10, b"again")
        await client.close()


async def test_a_peer_that_never_reads_is_cut_off_after_close() -> None:
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        while socket.buffered < 200_000:
            socket.write(text_frame(b"x" * 50_000))
        socket.close(4408)
        assert await socket.receive() is None
        while socket.buffered:
            await asyncio.sleep(0.01)
        ended.set()

    async with listening(socket_app(serve), limits=Limits(close_timeout_ms=100)) as port:
        client = await RawClient.connect(port)
        await asyncio.wait_for(ended.wait(), 5)
        client.writer.transport.abort()


@pytest.mark.parametrize("farewell", ["close", "garbage"])
async def test_a_peer_that_says_goodbye_and_never_reads_is_cut_off(farewell: str) -> None:
    ended = asyncio.Event()

    async def serve(socket: Socket) -> None:
        await socket.accept()
        while socket.buffered < 200_000:
            socket.write(text_frame(b"x" * 50_000))
        assert await socket.receive() is None
        while socket.buffered:
            await asyncio.sleep(0.01)
        ended.set()

    async with listening(socket_app(serve), limits=Limits(close_timeout_ms=100)) as port:
        client = await RawClient.connect(port)
        client.frame(0x88 if farewell == "close" else 0x83)
        await asyncio.wait_for(ended.wait(), 5)
        client.writer.transport.abort()


async def test_a_request_that_is_no_handshake_gets_no_frames() -> None:
    async with listening(socket_app(echo)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
        writer.close()


# -- by hand ------------------------------------------------------------------------------------------------------------


class HandMade:
    """An ASGI server of the test's own: what it gives, and what it does with what it is sent."""

    def __init__(self, *incoming: Message) -> None:
        self.incoming = list(incoming)
        self.sent: list[Message] = []
        self.fault: Exception | None = None
        self.during_send: Callable[[], Any] | None = None

    def socket(self) -> Socket:
        return Socket({"type": "websocket", "extensions": None}, self.receive, self.send, max_message_bytes=100)

    async def receive(self) -> Message:
        return self.incoming.pop(0)

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        if self.during_send is not None:
            await self.during_send()
        self.sent.append(message)


CONNECT = {"type": "websocket.connect"}
DISCONNECT = {"type": "websocket.disconnect", "code": 1006}


async def test_a_peer_that_goes_before_it_is_accepted() -> None:
    server = HandMade(DISCONNECT)
    socket = server.socket()
    await socket.accept()
    assert not socket.open
    assert await socket.receive() is None
    assert server.sent == []


async def test_a_peer_that_goes_while_it_is_accepted() -> None:
    server = HandMade(CONNECT)
    server.fault = OSError("gone")
    socket = server.socket()
    await socket.accept()
    assert not socket.open


@pytest.mark.parametrize("fault", [OSError("gone"), RuntimeError("after close")])
async def test_a_send_that_fails_ends_the_socket_and_raises_nothing(fault: Exception) -> None:
    server = HandMade(CONNECT)
    socket = server.socket()
    await socket.accept()
    server.fault = fault
    assert socket.write(text_frame(b"x"))
    await take_turns()
    assert not socket.open
    assert socket.buffered == 0
    assert not socket.write(text_frame(b"y"))


async def test_a_peer_that_goes_while_something_is_sent() -> None:
    server = HandMade(CONNECT, DISCONNECT)
    socket = server.socket()
    await socket.accept()
    server.during_send = socket.receive
    socket.write(text_frame(b"x"))
    socket.write(text_frame(b"y"))
    await take_turns()
    assert [message.get("text") for message in server.sent] == [None, "x"]
    assert socket.buffered == 0


async def test_the_drain_callback_may_write_again() -> None:
    server = HandMade(CONNECT)
    socket = server.socket()
    await socket.accept()
    more = [b"2", b"3"]
    socket.on_drain(lambda: more and socket.write(text_frame(more.pop(0))))
    socket.write(text_frame(b"1"))
    await take_turns()
    assert [message.get("text") for message in server.sent[1:]] == ["1", "2", "3"]


async def test_text_that_cannot_be_utf_8_is_handed_on_as_such() -> None:
    server = HandMade(CONNECT, {"type": "websocket.receive", "text": "\ud800"})
    socket = server.socket()
    await socket.accept()
    assert await socket.receive() == b"\xed\xa0\x80"


async def test_a_transport_that_fails_ends_the_socket_and_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results: list[object] = []

    async def serve(socket: Socket) -> None:
        await socket.accept()
        assert await socket.receive() == b"go"
        protocol = socket._writer
        assert isinstance(protocol, HubWebSocketProtocol)
        real = protocol.transport

        class Failing:
            def write(self, data: bytes) -> None:
                raise RuntimeError("the handler is closed")

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        protocol.transport = Failing()  # type: ignore[assignment]
        results.append(socket.write(text_frame(b"x")))
        results.append(socket.open)
        protocol.transport = real

    async with listening(socket_app(serve)) as port:
        client = await RawClient.connect(port)
        client.text(b"go")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.read_frame()
        await client.close()
    assert results == [False, False]
