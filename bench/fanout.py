"""Deliveries a second from one hub process over /ws to many local subscribers, beside what the machine can do without a hub.

The limit is a bare uvloop server that writes the same bytes to as many connections, read by the same client; both share this machine's
cores with that client, so a hub on a machine of its own does more than either.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import uvloop

from tests.clients.raw import RawSession
from tests.support.hub_process import HubProcess, free_port

CHANNEL = "/bench/fanout"
BATCH = 100
"""Messages in one request of the publisher: as many as the hub takes."""

DATA = {"agentId": "ana.lopez", "state": "NotReadyForNextCall", "since": 1792300000, "reason": "lunch"}

Figures = dict[str, Any]


class Readers:
    """The process that subscribes and counts."""

    def __init__(self, url: str, connections: int, events: int) -> None:
        command = [sys.executable, "-m", "bench.subscribers", url, CHANNEL, str(connections), str(events)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
        self._line()

    def _line(self) -> Figures:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the subscribers' process ended early; its message stands above")
        figures: Figures = json.loads(line)
        return figures

    def figures(self) -> Figures:
        """Wait until all has come."""
        found = self._line()
        self._process.wait()
        return found


def through_hub(connections: int, messages: int) -> Figures:
    """Publish ``messages`` to ``connections`` subscribers of a hub."""
    with tempfile.TemporaryDirectory() as folder:
        hub = HubProcess(Path(folder), ("--open",), {"HUB_LOG_LEVEL": "warning", "HUB_LIMITS__MAX_QUEUE_BYTES": str(64 * 1024 * 1024)})
        hub.start()
        try:
            readers = Readers(f"{hub.ws_url}/ws", connections, connections * messages)
            with RawSession(hub, headers={}) as publisher:
                batch = [{"channel": CHANNEL, "clientId": publisher.client_id, "data": DATA}] * BATCH
                for _ in range(messages // BATCH):
                    publisher.send(*batch)
                return readers.figures()
        finally:
            hub.close()


class BareServer(asyncio.Protocol):
    """The machine's limit: upgrade, say subscribed, then write one prebuilt frame after another."""

    def __init__(self, frame: bytes, frames: int, connections: int, everyone: list[BareServer]) -> None:
        self._frame, self._frames, self._connections, self._everyone = frame, frames, connections, everyone
        self._transport: asyncio.Transport | None = None
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is none of asyncio's

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._upgraded:
            self._upgraded = True
            key = next(line.split(b": ")[1] for line in data.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            self._transport.write(head + accept + b"\r\n\r\n")
            return
        self._transport.write(server_frame(b'[{"type":"subscribed","id":1}]'))
        self._everyone.append(self)
        if len(self._everyone) == self._connections:
            self._round(self._frames)

    def _round(self, left: int) -> None:
        for connection in self._everyone:
            assert connection._transport is not None
            connection._transport.write(self._frame)
        if left > 1:
            asyncio.get_running_loop().call_soon(self._round, left - 1)


def server_frame(payload: bytes) -> bytes:
    """An unmasked text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + payload


def machine_limit(connections: int, messages: int, per_frame: int) -> Figures:
    """The same deliveries, ``per_frame`` events a frame, from a server that does nothing else."""
    event = json.dumps({"type": "event", "channel": CHANNEL, "data": DATA}, separators=(",", ":")).encode()
    frame = server_frame(b"[" + b",".join([event] * per_frame) + b"]")
    frames = messages // per_frame
    port = free_port()
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        everyone: list[BareServer] = []
        server = await asyncio.get_running_loop().create_server(lambda: BareServer(frame, frames, connections, everyone), "127.0.0.1", port)
        started.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    started.wait()
    try:
        return Readers(f"ws://127.0.0.1:{port}/ws", connections, connections * frames * per_frame).figures()
    finally:
        stop.set()
        thread.join()


def rate(figures: Figures) -> float:
    """Deliveries a second."""
    result: float = figures["events"] / figures["seconds"]
    return result


def main() -> None:
    """Run both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--messages", type=int, default=5_000, help=f"published messages, a multiple of {BATCH}")
    given = parser.parse_args()
    messages = max(given.messages // BATCH, 1) * BATCH
    hub = through_hub(given.connections, messages)
    limit = machine_limit(given.connections, messages, BATCH)
    print(f"fan-out over /ws: {messages:,} messages to {given.connections} local subscribers, {BATCH} a request")
    print(f"  hub              {rate(hub):>12,.0f} deliveries/s   {hub['bytes'] / hub['seconds'] / 1e6:8.1f} MB/s")
    print(f"  machine's limit  {rate(limit):>12,.0f} deliveries/s   {limit['bytes'] / limit['seconds'] / 1e6:8.1f} MB/s")


if __name__ == "__main__":
    main()
