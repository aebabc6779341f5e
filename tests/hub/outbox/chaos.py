"""A receiver that misbehaves in a way of its own on each path: raw sockets, so that it can break every rule of HTTP."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Behaviour = Callable[[Reader, Writer], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


def status(code: int, *headers: str, body: bytes = b"") -> Behaviour:
    async def behave(_reader: Reader, writer: Writer) -> None:
        lines = [f"HTTP/1.1 {code} Whatever", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return behave


def says(data: bytes) -> Behaviour:
    async def behave(_reader: Reader, writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return behave


def drips(first: bytes, more: bytes, every_s: float) -> Behaviour:
    """Never ends by itself."""

    async def behave(_reader: Reader, writer: Writer) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(every_s)

    return behave


async def reset(_reader: Reader, writer: Writer) -> None:
    writer.transport.abort()


async def reset_amid(_reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.transport.abort()


async def never(_reader: Reader, writer: Writer) -> None:
    await asyncio.sleep(3600)


async def once(_reader: Reader, writer: Writer) -> None:
    """Answers, says that it keeps the connection, and closes it."""
    writer.write(OK)
    await writer.drain()
    writer.close()


BEHAVIOURS: dict[str, Behaviour] = {
    "/200": status(200, body=b"thanks"),
    "/204": says(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "/500": status(500, body=b"oh"),
    "/429": status(429),
    "/429-seconds": status(429, "Retry-After: 120"),
    "/429-date": status(429, f"Retry-After: {formatdate(4_102_444_800, usegmt=True)}"),
    "/429-nonsense": status(429, "Retry-After: soon"),
    "/301": status(301, "Location: /200"),
    "/307": status(307, "Location: /200"),
    "/slow-headers": drips(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n", 0.05),
    "/slow-body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", 0.05),
    "/endless-body": drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2000\r\n" + b"x" * 0x2000 + b"\r\n", 0),
    "/endless-body-500": drips(b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\n", b"x" * 0x2000, 0),
    "/endless-headers": drips(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 5_000 + b"\r\n", 0),
    "/endless-line": drips(b"HTTP/1.1 200 ", b"x" * 5_000, 0),
    "/continues": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.001),
    "/reset": reset,
    "/reset-amid": reset_amid,
    "/closes": says(b""),
    "/garbage": says(b"\x00\xff\x16\x03 what?\r\n\r\n"),
    "/http-0.9": says(b"<html>hello</html>"),
    "/bad-length": says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "/two-lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nOK"),
    "/bad-chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "/gzip-bomb": status(200, "Content-Encoding: gzip", body=gzip.compress(bytes(10_000_000))),
    "/cookies": status(200, "Set-Cookie: a=1; Path=/"),
    "/never": never,
    "/once": once,
}


class Chaos:
    """Listens on loopback."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: Counter[str] = Counter()
        self.headers: list[bytes] = []
        self.connections = 0

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
                await reader.readexactly(length)
                path = head.split(b" ")[1].decode().partition("?")[0]
                self.seen[path] += 1
                self.headers.append(head)
                await BEHAVIOURS[path](reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side has gone, as it does after most of these
        finally:
            writer.close()


@asynccontextmanager
async def chaos(tls: ssl.SSLContext | None = None) -> AsyncIterator[Chaos]:
    """A receiver for as long as the block runs."""
    made = Chaos()
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: Reader, writer: Writer) -> None:
        task = asyncio.ensure_future(made.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
