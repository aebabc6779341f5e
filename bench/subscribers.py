"""The reading side of the fan-out benchmark: many WebSocket connections in one process, as cheap as Python can make them.

It opens the connections, subscribes each when it is asked to, counts what arrives, and prints one JSON line when it is ready and one when
all has come: it must cost less than what it measures, so it looks at frame headers and at the number of events, never at JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

MARK = b'"type":"event"'


def text_frame(payload: bytes) -> bytes:
    """A masked client frame (RFC 6455 section 5.3); a mask of zeros leaves the payload as it is."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class Subscriber(asyncio.Protocol):
    """One connection: the upgrade, one subscription, then counting."""

    __slots__ = ("_channel", "_counter", "_rest", "_subscribed", "_transport", "_upgraded", "_url")

    def __init__(self, url: str, channel: str, counter: Counter) -> None:
        self._url = urlsplit(url)
        self._channel = channel
        self._counter = counter
        self._rest = b""
        self._subscribed = False
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {self._url.path} HTTP/1.1", f"Host: {self._url.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        self._transport.write("\r\n".join([*lines, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            # a mark that two reads share is put together again: the tail that could begin one is kept
            data = self._rest + data
            found = data.count(MARK)
            self._rest = data[-(len(MARK) - 1) :]
            if not self._subscribed and b'"subscribed"' in data:
                self._subscribed = True
                self._counter.subscribed()
            if found:
                self._counter.add(found, len(data))
            return
        self._rest += data
        head, end, self._rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            self._rest = head
            return
        if not head.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"expected 101 Switching Protocols, got {head[:80]!r}")
        self._upgraded = True
        command = {"type": "subscribe", "id": 1, "channels": [self._channel]}
        assert self._transport is not None
        self._transport.write(text_frame(json.dumps(command).encode()))

    def connection_lost(self, exc: Exception | None) -> None:
        self._counter.lost(exc)


class Counter:
    """What all connections of the process have got together."""

    def __init__(self, connections: int, expected: int) -> None:
        self._waiting = connections
        self._expected = expected
        self._count = 0
        self._bytes = 0
        self._first = 0.0
        self.ready = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def subscribed(self) -> None:
        """One more connection is subscribed."""
        self._waiting -= 1
        if self._waiting == 0:
            self.ready.set_result(None)

    def add(self, events: int, size: int) -> None:
        """Events came."""
        if not self._count:
            self._first = time.perf_counter()
        self._count += events
        self._bytes += size
        if self._count >= self._expected and not self.done.done():
            self.done.set_result({"events": self._count, "bytes": self._bytes, "seconds": time.perf_counter() - self._first})

    def lost(self, reason: Exception | None) -> None:
        """A connection ended; before the end that spoils the figure."""
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"a connection was lost after {self._count} events: {reason}"))


async def run(url: str, channel: str, connections: int, events: int) -> None:
    """Open the connections, say so, wait for ``events`` deliveries in all, say how long they took."""
    loop = asyncio.get_running_loop()
    counter = Counter(connections, events)
    where = urlsplit(url)
    host, port = where.hostname or "localhost", where.port or 80
    for _ in range(connections):
        await loop.create_connection(lambda: Subscriber(url, channel, counter), host, port)
    await counter.ready
    sys.stdout.write('{"ready":true}\n')
    sys.stdout.flush()
    sys.stdout.write(json.dumps(await counter.done) + "\n")
    sys.stdout.flush()


def main() -> None:
    """The process's entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("channel")
    parser.add_argument("connections", type=int)
    parser.add_argument("events", type=int, help="deliveries in all, over all connections")
    given = parser.parse_args()
    uvloop.run(run(given.url, given.channel, given.connections, given.events))


if __name__ == "__main__":
    main()
