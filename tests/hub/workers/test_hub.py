"""``hub serve --workers 2`` as users start it: two real hubs behind one port, on PostgreSQL and the bundled Valkey."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.hub.storage.backends import Postgres
from tests.hub.workers.parents import WITHIN_S, children, kill, until
from tests.support.hub_process import HubProcess, free_port

QUICK = {
    "HUB_SUPERVISION__RESTART_MIN_S": "0.02",
    "HUB_DRAIN_SECONDS": "1",
    "HUB_LOG_FORMAT": "json",
}

pytestmark = pytest.mark.timeout(300)  # the first test starts PostgreSQL, two hubs and Valkey

HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}


class WorkersHub:
    """A hub with two workers, its metrics, and its settings file."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.metrics_port = free_port()
        self.file = folder / "hub.toml"  # of the folder in which the hub is started
        self.configure()
        flags = ("--open", "--workers", "2", "--database-url", database_url, "--metrics-port", str(self.metrics_port))
        self.process = HubProcess(folder, flags, QUICK)

    def configure(self, text: str = "") -> None:
        self.file.write_text(text)

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

    def program(self, name: str) -> list[int]:
        """The processes of the parent whose command has this word."""
        return [pid for pid in children(self.pid) if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture(scope="module")
def hub(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkersHub]:
    """One hub for all tests: they leave two workers that serve."""
    url = postgres.url(asyncio.run(postgres.create()))
    made = WorkersHub(tmp_path_factory.mktemp("hub"), url)
    made.process.start()
    made.process.wait_logged('"listening"')
    yield made
    made.process.close()


async def _next(socket: ClientConnection) -> dict[str, Any]:
    """The next message; there is one in each frame, since nothing else goes on."""
    (message,) = json.loads(await socket.recv())
    found: dict[str, Any] = message
    return found


async def _closed(socket: ClientConnection) -> int | None:
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
            welcome, subscribed = await _next(socket), await _next(socket)
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
                event = await _next(socket)
                if event["type"] == "event" and event["data"] == data:
                    return event["data"]


async def test_a_message_reaches_the_clients_of_every_worker_and_metrics_tell_of_all(hub: WorkersHub) -> None:
    async with Clients(hub) as clients:
        assert await clients.tell({"n": 1}) == [{"n": 1}, {"n": 1}]
        metrics = await asyncio.to_thread(hub.metrics)
        assert metrics["hub_worker_up", "0"] == metrics["hub_worker_up", "1"] == 1
        assert metrics["hub_sessions", "0"] > 0
        assert metrics["hub_sessions", "1"] > 0
        assert metrics["process_resident_memory_bytes", "1"] > 0
    ready = httpx.get(f"{hub.process.url}/readyz").json()
    assert ready["parts"]["bus"] == {"status": "ok"}
    (listening,) = hub.logged("listening")
    assert (listening["workers"], "worker" in listening) == (2, False)
    assert len(hub.logged("starting")) == 1  # the workers say it in debug alone


async def test_when_valkey_dies_the_hub_heals(hub: WorkersHub) -> None:
    async with Clients(hub) as clients:
        (valkey,) = hub.program("valkey")
        kill(valkey)
        await asyncio.to_thread(until, lambda: hub.logged("valkey_restarted"), "the new Valkey")
        for number in range(30):  # events between the workers are lost until they have connected again
            try:
                async with asyncio.timeout(2):
                    assert await clients.tell({"again": number}) == [{"again": number}] * 2
                break
            except TimeoutError:
                continue
        else:
            raise AssertionError("no message crosses")


async def test_settings_that_cannot_be_used_leave_the_old_workers_and_right_ones_replace_them(hub: WorkersHub) -> None:
    async with Clients(hub) as clients:
        hub.configure("[limits]\nmax_batch = -1\n")
        hub.process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: hub.logged("worker_not_replaced"), "the refusal")
        assert "limits.max_batch" in hub.logged("worker_not_replaced")[-1]["why"]
        assert await clients.tell({"still": 1}) == [{"still": 1}] * 2
        hub.configure("[limits]\nmax_batch = 77\n")
        hub.process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: hub.logged("replaced"), "the new workers")
        for socket in clients.sockets.values():
            assert await _closed(socket) == 1012
    async with Clients(hub) as new:
        assert not new.sockets.keys() & clients.sockets.keys()
        assert await new.tell({"n": 2}) == [{"n": 2}] * 2
    assert (await asyncio.to_thread(hub.metrics))["hub_worker_life", "1"] > 1
