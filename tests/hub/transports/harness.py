"""A real server on a free port, in the test's own loop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from hub.core.frames import text_frame
from hub.core.limits import Limits
from hub.security.connections import admit
from hub.transports.listener import bind
from hub.transports.server import HubServer, configuration
from hub.transports.socket import Socket

Serve = Callable[[Socket], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, *, frames: bool = True, limits: Limits | None = None, lifespan: bool = False) -> AsyncIterator[int]:
    """The port of a server of the hub's own kind, or without ``frames`` one that knows nothing of prebuilt frames."""
    config = configuration(app, limits or Limits(), lifespan=lifespan)
    config.timeout_graceful_shutdown = 1
    if not frames:
        config.ws = "websockets-sansio"
    async with running(config) as port:
        yield port


@contextlib.asynccontextmanager
async def running(config: uvicorn.Config) -> AsyncIterator[int]:
    server = HubServer(config)
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    run = asyncio.create_task(server.serve([listener]))
    while not server.started:
        assert not run.done(), run.exception()
        await asyncio.sleep(0.005)
    try:
        yield port
    finally:
        server.should_exit = True
        await run


async def echo(socket: Socket) -> None:
    """Send back what comes."""
    await socket.accept()
    while (payload := await socket.receive()) is not None:
        assert socket.write(text_frame(payload))


def socket_app(serve: Serve, *, max_message_bytes: int = 1024 * 1024) -> ASGIApp:
    """An application that does with each WebSocket what ``serve`` says, and then waits for its end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        admit(scope)  # a stranger's messages are bounded more tightly: test_connections.py
        socket = Socket(scope, receive, send, max_message_bytes=max_message_bytes)
        await serve(socket)
        while await socket.receive() is not None:
            pass

    return app


class RawClient:
    """A WebSocket client that sends what it is told, byte by byte, and reads only when it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, path: str = "/", *, headers: str = "") -> RawClient:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return cls(reader, writer)

    def frame(self, first: int, payload: bytes = b"", *, masked: bool = True) -> None:
        """Send one frame; ``first`` is the byte of FIN and opcode."""
        mask = os.urandom(4)
        size = len(payload)
        bit = 0x80 if masked else 0
        if size < 126:
            head = bytes((first, bit | size))
        elif size < 65536:
            head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
        if masked:
            key = (mask * (size // 4 + 1))[:size]
            payload = mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
        self.writer.write(head + payload)

    def text(self, payload: bytes) -> None:
        self.frame(0x81, payload)

    async def read_frame(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """The code of the close frame that ends the connection; what comes before it is passed over."""
        while True:
            opcode, payload = await self.read_frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
