"""HTTP/1.1 by hand: a request that says exactly what a test wants said, and a response that hides nothing (RFC 9112)."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 15.0
"""How long anything may take that a server does at once; only a server that does not do it at all makes a test wait for so long."""

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The Bayeux endpoint of a server: ``http://localhost:8080`` and ``/cometd``."""

    url: str
    path: str

    @property
    def host(self) -> str:
        """Host and port as a request names them."""
        return urlsplit(self.url).netloc

    @property
    def websocket_url(self) -> str:
        """The address for a WebSocket: the same with ws for http (docs/protocol/bayeux.md#websocket)."""
        return "ws" + self.url.removeprefix("http").rstrip("/") + self.path

    def target(self, suffix: str = "") -> str:
        """The target of a request to the endpoint, with ``suffix`` behind its path."""
        return urlsplit(self.url).path.rstrip("/") + self.path + suffix

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        parts = urlsplit(self.url)
        context = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if context else 80)
        return await asyncio.open_connection(parts.hostname, port, ssl=context, limit=16 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of every header of a name, in any case of its letters."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        """The one value of a header; empty when there is none."""
        return ", ".join(self.all(name))

    def json(self) -> Any:
        """The body, which must be JSON of a response that succeeded.

        Raises:
            AssertionError: another status than 200.
        """
        assert self.status == 200, f"expected status 200, got {self.status}: {self.body[:300]!r}"
        return json.loads(self.body)


class Request:
    """One request on a connection of its own. ``async with`` ends the connection, answered or not, as a client does that goes away."""

    def __init__(self, endpoint: Endpoint, method: str, target: str, headers: Headers = (), body: bytes | Sequence[bytes] = b"") -> None:
        """``body``: bytes go with ``Content-Length``, a list of bytes as chunks (RFC 9112 section 7.1)."""
        self._endpoint = endpoint
        lines = [f"{method} {target} HTTP/1.1", f"Host: {endpoint.host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if isinstance(body, bytes):
            content = body
            if body or method == "POST":
                lines.append(f"Content-Length: {len(body)}")
        else:
            content = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in body) + b"0\r\n\r\n"
            lines.append("Transfer-Encoding: chunked")
        self._bytes = "\r\n".join([*lines, "", ""]).encode("latin-1") + content
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self) -> None:
        """Write the whole request."""
        self._reader, self._writer = await self._endpoint.open()
        self._writer.write(self._bytes)
        await self._writer.drain()

    async def response(self) -> Response:
        """Read the response, however long it takes.

        Raises:
            AssertionError: the connection ended without one.
        """
        assert self._reader is not None, "the request was not sent"
        try:
            status, headers = await self._head()
            while status == 100:
                status, headers = await self._head()
            return Response(status, tuple(headers), await self._body(status, headers))
        except (asyncio.IncompleteReadError, ConnectionError) as fault:
            raise AssertionError(f"the connection ended without a whole response: {fault!r}") from None

    async def _head(self) -> tuple[int, list[tuple[str, str]]]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return int(status.split(" ")[1]), [(name.strip(), value.strip()) for name, value in pairs]

    async def _body(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        assert self._reader is not None
        found = {name.lower(): value for name, value in headers}
        if status in {204, 304}:
            return b""
        if found.get("transfer-encoding", "").lower() == "chunked":
            content = b""
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                content += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            return content
        if "content-length" in found:
            return await self._reader.readexactly(int(found["content-length"]))
        return await self._reader.read()

    async def close(self) -> None:
        """End the connection. Idempotent."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.close()
        try:
            await writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # the server was first: all that mattered was read

    async def __aenter__(self) -> Request:
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self.close()


async def request(
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: Headers = (),
    body: bytes | Sequence[bytes] = b"",
    *,
    patience_s: float = PATIENCE_S,
) -> Response:
    """Send one request and read its response.

    Raises:
        TimeoutError: there was none within ``patience_s``.
    """
    async with Request(endpoint, method, target, headers, body) as one, asyncio.timeout(patience_s):
        await one.send()
        return await one.response()
