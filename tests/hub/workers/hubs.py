"""A real hub with two workers as a process, and clients of each worker."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.hub.workers.parents import WITHIN_S, children, listening, until
from tests.support.hub_process import HubProcess, free_port

QUICK = {
    "HUB_SUPERVISION__RESTART_MIN_S": "0.02",
    "HUB_DRAIN_SECONDS": "1",
    "HUB_LOG_FORMAT": "json",
}

HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}


class WorkersHub:
    """A hub with two workers, its metrics, and its settings file."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        self.metrics_port = free_port()
        self.file = folder / "hub.toml"  # of the folder in which the hub is started
        self.configure()
        flags = ("--workers", "2", "--metrics-port", str(self.metrics_port), *flags)
        self.process = HubProcess(folder, flags, QUICK | environment)

    def configure(self, text: str = "") -> None:
        self.file.write_text(text)

    def start(self) -> None:
        """Start it, and wait until both workers serve."""
        self.process.start()
        self.process.wait_logged('"listening"')

    @property
    def pid(self) -> int:
        """The parent's."""
        return self.process.process.pid

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = (line for line in self.process.log_path.read_text().splitlines() if line.startswith("{"))
        return [record for record in map(json.loads, lines) if record["event"] == event]

    def metrics(self) -> dict[tuple[str, str], float]:
        """The values of the metrics that have no label but the worker's, by name and worker."""
        text = httpx.get(f"http://localhost:{self.metrics_port}/metrics", timeout=WITHIN_S).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {(sample.name, sample.labels["worker"]): sample.value for sample in samples if sample.labels.keys() == {"worker"}}

    def valkeys(self) -> list[int]:
        """The Valkey of the parent, if it runs."""
        return [pid for pid in children(self.pid) if _is_valkey(pid)]

    def workers(self) -> list[int]:
        """The workers of the parent that run."""
        return [pid for pid in children(self.pid) if not _is_valkey(pid)]

    def worker(self, index: int) -> int:
        """The process that has a place, once it answers what its metrics are."""
        begin = f"metrics-{index}."  # its life follows

        def found() -> list[int]:
            return [pid for pid in self.workers() if any(name.startswith(begin) for name in listening(pid))]

        return until(found, f"worker {index}")[0]


def _is_valkey(pid: int) -> bool:
    return b"valkey" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def next_message(socket: ClientConnection) -> dict[str, Any]:
    """The next message; there is one in each frame, since nothing else goes on."""
    (message,) = json.loads(await socket.recv())
    found: dict[str, Any] = message
    return found


async def closed(socket: ClientConnection) -> int | None:
    """The code with which the hub closes a connection."""
    async with asyncio.timeout(WITHIN_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code


class Clients:
    """Clients of ``/ws`` until each worker has one."""

    def __init__(self, hub: WorkersHub) -> None:
        self.hub = hub
        self.sockets: dict[str, ClientConnection] = {}
        """One for each worker, by the worker's incarnation, with which the id of each session begins."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Clients:
        end = time.monotonic() + WITHIN_S
        while len(self.sockets) < 2 and time.monotonic() < end:
            socket = await self._stack.enter_async_context(connect(f"{self.hub.process.ws_url}/ws"))
            await socket.send('{"type":"subscribe","id":1,"channels":["/workers/test"]}')
            welcome, subscribed = await next_message(socket), await next_message(socket)
            assert subscribed["type"] == "subscribed"
            self.sockets.setdefault(welcome["session"][:12], socket)
        assert len(self.sockets) == 2
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def tell(self, data: object) -> list[object]:
        """Publish on one connection, which reaches one worker; returns what a client of each worker gets."""
        async with httpx.AsyncClient(base_url=self.hub.process.url, timeout=WITHIN_S) as publisher:
            shaken = await publisher.post("/cometd", json=[HANDSHAKE])
            message = {"channel": "/workers/test", "clientId": shaken.json()[0]["clientId"], "data": data}
            published = await publisher.post("/cometd", json=[message])
        assert published.json()[0]["successful"], published.text
        return [await self._heard(socket, data) for socket in self.sockets.values()]

    async def _heard(self, socket: ClientConnection, data: object) -> object:
        async with asyncio.timeout(WITHIN_S):
            while True:
                event = await next_message(socket)
                if event["type"] == "event" and event["data"] == data:
                    return event["data"]
