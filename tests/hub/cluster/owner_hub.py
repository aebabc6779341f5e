"""Some nodes that are one hub and keep statistics: who owns the tenant, what clients hear, and calls that go on."""

from __future__ import annotations

import contextlib
import itertools
import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.hub.cluster.processes import NodeProcess, add_tenant, cloud_event, wait_until
from tests.support.redis_server import RedisServer
from tests.support.redis_topologies import RedisCluster

SERVICE = "/statistics/v3/service"
VALUE = "/statistics/v3/values/Agent/ana/InboundCalls"

_tenants = itertools.count(1)


class Hub:
    """Some nodes that are one hub, and a tenant of the test's own."""

    def __init__(self, folder: Path, database: str, redis: RedisServer | RedisCluster, count: int, environment: dict[str, str]) -> None:
        self.folder = folder
        self.database = database
        self.tenant = f"acme-{next(_tenants)}"
        self.environment = {"HUB_REDIS_PREFIX": secrets.token_hex(6), **environment}
        self._redis = redis.url
        self.nodes = [self.add(f"node-{number}") for number in range(count)]
        self.token = add_tenant(folder, database, self.tenant)
        for node in self.nodes:
            node.token = self.token
        self._numbers = itertools.count(1)

    def add(self, name: str, *, database: str = "", **environment: str) -> NodeProcess:
        """One more node, started; ``database``: its own way there."""
        node = NodeProcess(self.folder / name, database or self.database, self._redis, environment=self.environment | environment)
        return node.start()  # type: ignore[return-value]

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def owner(self) -> NodeProcess:
        """The node that owns the tenant, as the metrics of all say."""

        def find() -> NodeProcess | None:
            for node in self.nodes:
                if node.process.poll() is None and f'"tenant": "{self.tenant}"' in taken(node):
                    return node
            return None

        return wait_until(find)  # type: ignore[no-any-return]

    def others(self, than: NodeProcess) -> list[NodeProcess]:
        return [node for node in self.nodes if node is not than]

    def call(self) -> list[dict[str, Any]]:
        """The events of one inbound call of ana."""
        number = next(self._numbers)
        data = {"interactionId": f"call-{number}", "agentId": "ana"}
        return [
            cloud_event(f"{number}-1", "cx.interaction.established", **data, callType="inbound"),
            cloud_event(f"{number}-2", "cx.interaction.released", **data),
        ]


def taken(node: NodeProcess) -> str:
    """The last lines by which a node tells that it took or lost a tenant."""
    found: dict[str, str] = {}
    for line in node.log_path.read_text(errors="replace").splitlines():
        if '"tenant_taken"' in line or '"lease_lost"' in line or '"tenant_released"' in line:
            record = json.loads(line)
            name = record.get("tenant") or record["lease"].removeprefix("stat/")
            found[name] = line if record["event"] == "tenant_taken" else ""
    return "\n".join(found.values())


class Watcher:
    """A client of ``/ws`` that keeps what it hears of the service state and a value."""

    def __init__(self, node: NodeProcess) -> None:
        self.states: list[str] = []
        self.values: list[int] = []
        self.heard: list[str | int] = []
        """Both, in order."""
        self._node = node
        self._socket: ClientConnection | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with connect(f"{self._node.ws_url}/ws", ping_interval=None) as self._socket, contextlib.suppress(ConnectionClosed):
            self._socket.send(json.dumps({"type": "hello", "token": self._node.token}))
            self._socket.send(json.dumps({"type": "subscribe", "channels": [SERVICE, VALUE]}))
            while True:
                frame = json.loads(self._socket.recv())
                for message in frame if isinstance(frame, list) else [frame]:
                    if message.get("channel") == SERVICE and message["type"] == "event":
                        self.states.append(message["data"]["data"]["serviceState"])
                        self.heard.append(self.states[-1])
                    if message.get("channel") == VALUE and message["type"] == "event":
                        self.values.append(message["data"]["value"]["intValue"])
                        self.heard.append(self.values[-1])

    @property
    def heard_of_nobody(self) -> list[int]:
        """Values that came after an UNAVAILABLE, before an AVAILABLE."""
        found: list[int] = []
        state = ""
        for each in self.heard:
            if isinstance(each, str):
                state = each
            elif state == "UNAVAILABLE":
                found.append(each)
        return found

    def close(self) -> None:
        assert self._socket is not None
        self._socket.close()
        self._thread.join(10)


class Load:
    """Sends calls to the nodes in turn, from a thread, and each again until it was taken."""

    def __init__(self, hub: Hub, nodes: list[NodeProcess]) -> None:
        self.calls = 0
        self.refused = 0
        self._hub = hub
        self._nodes = nodes
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        turn = itertools.cycle(self._nodes)
        with httpx.Client(verify=False, timeout=30) as client:
            self._send(turn, client)

    def _send(self, turn: Iterator[NodeProcess], client: httpx.Client) -> None:
        while not self._end.is_set():
            call = self._hub.call()
            while True:
                node = next(turn)
                try:
                    reply = node.ingest(*call, client=client)
                except httpx.TransportError:
                    self.refused += 1
                    time.sleep(0.05)
                    continue
                if reply.status_code == httpx.codes.OK:
                    counts = reply.json()["data"]
                    assert counts["accepted"] + counts["duplicates"] == 2, reply.text
                    break
                assert reply.status_code == httpx.codes.SERVICE_UNAVAILABLE, reply.text
                assert reply.headers["Retry-After"]
                self.refused += 1
                time.sleep(0.05)
            self.calls += 1
            time.sleep(0.01)

    def stop(self) -> int:
        """End after the present call; returns how many calls were taken."""
        self._end.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.calls
