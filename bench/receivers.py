"""Webhook receivers for benchmarks: one port with a receiver for each path, as cheap as Python allows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import cast

import orjson

_ANSWER = b'{"status":{"code":0}}'
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)

HANG = "/hang/"
"""Requests to paths below this one are never answered."""


class Receivers:
    """The received requests by path, and when each event of an interaction came first, by (id, event), in monotonic seconds."""

    def __init__(self) -> None:
        self.by_path: Counter[str] = Counter()
        self.first: dict[tuple[str, str], float] = {}
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def total(self) -> int:
        """The number of answered requests."""
        return sum(count for path, count in self.by_path.items() if not path.startswith(HANG))

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def take(self, path: str, body: bytes) -> bool:
        """Take one request. Returns whether it is answered."""
        self.by_path[path] += 1
        if path.startswith(HANG):
            return False
        now = time.monotonic()
        for entity in orjson.loads(body)["data"]["entities"]:
            self.first.setdefault((entity["entity"]["id"], entity["event"]), now)
        return True


class _Connection(asyncio.Protocol):
    """The HTTP/1.1 of the hub: requests with Content-Length on kept connections."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            lines = self._data[:end].split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length"))
            if len(self._data) < end + 4 + length:
                return
            body = self._data[end + 4 : end + 4 + length]
            self._data = self._data[end + 4 + length :]
            if self._receivers.take(lines[0].split(b" ")[1].decode(), body):
                self._transport.write(_OK)
