"""Files that the operating system sends: the same bytes on the wire as those of ASGI, in their order, and nothing left open at any end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from starlette.types import Receive, Scope, Send

from hub.objects.standstill import unsent
from hub.transports import file_sending
from hub.transports.file_sending import ZERO_COPY
from tests.hub.transports.harness import listening

SIZE = 10 * 1024 * 1024
"""More than the buffers of two sockets take."""

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


def large() -> bytes:
    """The content of the file: made when it is compared, so that no test process keeps it."""
    return random.Random(1).randbytes(SIZE // 10) * 10


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "file"
    path.write_bytes(large())
    with path.open("rb") as opened:
        yield opened


def answering(file: BinaryIO, length: int = SIZE, **message: Any) -> Answer:
    """An application that answers with a file."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % length)]})
        await send({"type": ZERO_COPY, "file": file, **message})

    return app


async def talk(app: Answer, requests: bytes) -> list[bytes]:
    """The bodies of what the server says to some bytes until it closes."""
    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(requests)
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
    bodies = []
    while answer:
        head, _, answer = answer.partition(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        bodies.append(answer[:size])
        answer = answer[size:]
    return bodies


def descriptors() -> list[str]:
    """What the open descriptors of this process lead to: sockets and the file."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(each.readlink()))
    return sorted(each for each in found if each.startswith("socket:") or each.endswith("/file"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_file_is_a_body(file: BinaryIO) -> None:
    before = descriptors()
    assert await talk(answering(file), LAST) == [large()]
    await until(lambda: descriptors() == before)


async def test_several_come_in_turn_on_one_connection(file: BinaryIO) -> None:
    assert await talk(answering(file, offset=0), GET + GET + LAST) == [large()] * 3


@pytest.mark.parametrize(("offset", "count"), [(0, 1), (5, 100), (SIZE - 1, 1), (1_000_000, 9_000_000), (7, 0)])
async def test_a_part_of_a_file(file: BinaryIO, offset: int, count: int) -> None:
    assert await talk(answering(file, length=count, offset=offset, count=count), LAST) == [large()[offset : offset + count]]


async def test_without_an_offset_it_begins_where_the_file_stands(file: BinaryIO) -> None:
    file.seek(10)
    assert await talk(answering(file, length=SIZE - 10), LAST) == [large()[10:]]
    assert file.tell() == 10


async def test_it_stands_between_other_pieces(file: BinaryIO) -> None:
    """What was written before it and waits in the process comes first."""
    before, behind = os.urandom(12_000_000), b"behind"

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        size = len(before) + SIZE + len(behind)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": before, "more_body": True})
        await send({"type": ZERO_COPY, "file": file, "more_body": True})
        await send({"type": "http.response.body", "body": behind})

    assert await talk(app, LAST) == [before + large() + behind]


async def test_of_head_only_the_head_is_sent(file: BinaryIO) -> None:
    async with listening(answering(file)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % SIZE in answer


@pytest.mark.parametrize(
    ("length", "message", "error"),
    [
        (10, {"offset": 0, "count": 11}, "longer than Content-Length"),
        (10, {"offset": 0, "count": 9}, "shorter than Content-Length"),
        (10, {"offset": SIZE - 9, "count": 10}, "shorter than Content-Length"),
    ],
)
async def test_what_does_not_fit_its_length_ends_the_connection(
    file: BinaryIO, length: int, message: dict[str, int], error: str, caplog: pytest.LogCaptureFixture
) -> None:
    (body,) = await talk(answering(file, length, **message), LAST)
    assert len(body) < 10
    (logged,) = [each for each in caplog.records if each.name == "uvicorn.error" and each.levelname == "ERROR"]
    assert logged.exc_info is not None
    assert error in str(logged.exc_info[1])


@pytest.mark.parametrize("headers", [[], [(b"transfer-encoding", b"chunked")]])
async def test_an_answer_without_a_length_cannot_have_a_file(file: BinaryIO, headers: list[tuple[bytes, bytes]]) -> None:
    raised: list[str] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            await send({"type": ZERO_COPY, "file": file})
        except RuntimeError as error:
            raised.append(str(error))
        await send({"type": "http.response.body", "body": b""})

    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(LAST)
        await reader.read()
        writer.close()
    assert raised == ["Expected a response with Content-Length that has begun, but got 'http.response.zerocopysend'."]


async def test_it_is_offered_by_http_1_1_alone() -> None:
    """Over TLS files come as any other body: tests/hub/test_tls.py."""
    offered: list[bool] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        offered.append(ZERO_COPY in scope.get("extensions", {}))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(app) as port:
        for version in (b"1.1", b"1.0"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/%b\r\nhost: x\r\nconnection: close\r\n\r\n" % version)
            await reader.read()
            writer.close()
    assert offered == [hasattr(os, "sendfile"), False]


class Slow:
    """A client that reads when it is told, through a small window."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        self.socket.setblocking(False)
        self.port = port

    async def asks(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        await loop.sock_sendall(self.socket, LAST)

    async def reads(self, size: int) -> bytes:
        async with asyncio.timeout(60):
            return await asyncio.get_running_loop().sock_recv(self.socket, size)


class Watched:
    """An application that answers with a file, and shows how far that has come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.cycle: Any = None
        self.transport: Any = None
        self.task: asyncio.Task[None] | None = None
        self.ended: BaseException | str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Any) -> None:
        self.cycle, self.transport, self.task = send.__self__, send.__self__.transport, asyncio.current_task()
        try:
            await answering(self._file)(scope, receive, send)
            self.ended = "whole"
        except BaseException as error:
            self.ended = error
            raise

    @property
    def full(self) -> bool:
        """Whether the file waits for its client."""
        return self.cycle is not None and self.cycle.flow.write_paused

    @property
    def left(self) -> int:
        """Bytes that the client has not got."""
        return int(self.cycle.file_left) + unsent(self.transport)


async def test_a_slow_client_gets_all_of_it_and_each_read_is_progress(file: BinaryIO) -> None:
    app = Watched(file)
    async with listening(app) as port:
        client = Slow(port)
        await client.asks()
        await until(lambda: app.full)
        got = b""
        for _ in range(5):
            before = app.left
            assert before > 0
            while app.left == before:
                got += await client.reads(200_000)
            assert app.left < before
        while piece := await client.reads(1_000_000):
            got += piece
        client.socket.close()
        await until(lambda: app.ended is not None)
    assert got.partition(b"\r\n\r\n")[2] == large()
    assert app.ended == "whole"


async def test_a_client_that_goes_while_it_is_waited_for(file: BinaryIO) -> None:
    app = Watched(file)
    before = descriptors()
    async with listening(app) as port:
        client = Slow(port)
        await client.asks()
        await until(lambda: app.full)
        client.socket.close()
        await until(lambda: app.ended is not None)
    assert isinstance(app.ended, ConnectionError)
    await until(lambda: descriptors() == before)


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_connection_that_the_server_ends_while_it_waits(file: BinaryIO, how: str) -> None:
    app = Watched(file)
    before = descriptors()
    async with listening(app) as port:
        client = Slow(port)
        await client.asks()
        await until(lambda: app.full)
        protocol = app.transport.get_protocol()
        assert protocol.stalled, "its client does not read"
        getattr(app.transport, how)()
        await until(lambda: app.ended is not None)
        client.socket.close()
    assert isinstance(app.ended, ConnectionError)
    await until(lambda: descriptors() == before)


async def test_a_stalled_one_gives_way_to_other_connections(file: BinaryIO) -> None:
    app = Watched(file)
    async with listening(app) as port:
        client = Slow(port)
        await client.asks()
        await until(lambda: app.full)
        app.transport.get_protocol().give_way()
        await until(lambda: app.ended is not None)
        client.socket.close()
    assert isinstance(app.ended, ConnectionError)


async def test_an_application_that_is_cancelled_while_a_thread_sends(file: BinaryIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on to the end of its turn: until then its descriptors are nobody else's."""
    begun, may_end, kept = threading.Event(), threading.Event(), []
    real = file_sending._send

    def held(out: int, source: int, at: int, size: int) -> tuple[int, bool]:
        begun.set()
        assert may_end.wait(60)
        kept.append((os.fstat(out), os.fstat(source)))
        return real(out, source, at, 1000)

    monkeypatch.setattr(file_sending, "_send", held)
    app = Watched(file)
    before = descriptors()
    async with listening(app) as port:
        client = Slow(port)
        await client.asks()
        await until(begun.is_set)
        assert app.task is not None
        app.task.cancel()
        await until(lambda: app.ended is not None)
        may_end.set()
        await until(lambda: bool(kept))
        client.socket.close()
    await until(lambda: descriptors() == before)
    assert isinstance(app.ended, asyncio.CancelledError)
    assert kept[0][1].st_size == SIZE
