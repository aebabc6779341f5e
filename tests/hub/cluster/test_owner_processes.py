"""Owners of tenants among real processes: killed, frozen, without a database, and stopped as an upgrade stops them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.hub.cluster.processes import WITHIN_S, NodeProcess, add_tenant, cloud_event, inbound_calls, wait_until
from tests.hub.storage.backends import Postgres, running_postgres
from tests.support.hub_process import clean_environment, run_hub
from tests.support.redis_server import RedisServer

SERVICE = "/statistics/v3/service"
VALUE = "/statistics/v3/values/Agent/ana/InboundCalls"

pytestmark = pytest.mark.timeout(600)

_tenants = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop."""
    with running_postgres() as made:
        yield made


class Hub:
    """Some nodes that are one hub, and a tenant of the test's own."""

    def __init__(self, folder: Path, database: str, redis: RedisServer, count: int, environment: dict[str, str]) -> None:
        self.folder = folder
        self.database = database
        self.tenant = f"acme-{next(_tenants)}"
        self.environment = {"HUB_REDIS_PREFIX": secrets.token_hex(6), **environment}
        self._redis = redis.url
        self.nodes = [self.add(f"node-{number}") for number in range(count)]
        token = add_tenant(folder, database, self.tenant)
        for node in self.nodes:
            node.token = token
        self._numbers = itertools.count(1)

    def add(self, name: str, **environment: str) -> NodeProcess:
        node = NodeProcess(self.folder / name, self.database, self._redis, environment=self.environment | environment)
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


@pytest.fixture
def make(tmp_path: Path, server: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def build(count: int = 2, **environment: str) -> Hub:
        name = asyncio.run(server.create())
        made.append(Hub(tmp_path, server.url(name), shared_redis("redis"), count, environment))
        return made[-1]

    yield build
    for hub in made:
        for node in hub.nodes:
            if node._process is not None and node.process.poll() is None:
                node.thaw()
        hub.close()


class Watcher:
    """A client of ``/ws`` that keeps what it hears of the service state and a value."""

    def __init__(self, node: NodeProcess) -> None:
        self.states: list[str] = []
        self.values: list[int] = []
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
                    if message.get("channel") == VALUE and message["type"] == "event":
                        self.values.append(message["data"]["value"]["intValue"])

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


def test_any_node_answers_and_the_totals_are_those_of_one(make: Callable[..., Hub]) -> None:
    hub = make(2)
    one, two = hub.nodes
    for node in (one, two, one):
        node.feed(*hub.call())
    owner = hub.owner()
    (other,) = hub.others(owner)
    assert inbound_calls(one) == inbound_calls(two) == 3
    opened = other.post(
        "/statistics/v3/subscriptions",
        {
            "operationId": "op",
            "data": {"statistics": [{"statisticId": "s", "name": "InboundCalls", "objectId": "ana", "objectType": "Agent"}]},
        },
    )
    assert opened.status_code == httpx.codes.OK, opened.text
    values = [node.get("/statistics/v3/subscriptions/op/statistic-values").json()["data"]["statistics"] for node in (one, two)]
    assert [found[0]["value"]["intValue"] for found in values] == [3, 3]
    assert other.get("/api/v1/stat-server").json()["data"]["position"] == 6
    assert owner.get("/readyz").json()["status"] == "ok"


def test_an_owner_that_is_killed_is_followed_by_another_that_has_everything(make: Callable[..., Hub]) -> None:
    hub = make(3)
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    edges = hub.others(owner)
    watchers = [Watcher(node) for node in edges]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, edges)
    wait_until(lambda: load.calls > 20)
    owner.kill9()
    wait_until(lambda: all("UNAVAILABLE" in each.states for each in watchers))
    wait_until(lambda: all(each.states[-1] == "AVAILABLE" for each in watchers))
    before = load.calls
    wait_until(lambda: load.calls > before + 20)
    total = load.stop() + 1
    assert [each.states for each in watchers] == [["AVAILABLE", "UNAVAILABLE", "AVAILABLE"]] * 2
    assert {inbound_calls(node) for node in edges} == {total}
    assert load.refused > 0
    for each in watchers:
        each.close()


def test_a_frozen_owner_that_wakes_can_neither_write_nor_be_heard(make: Callable[..., Hub]) -> None:
    hub = make(3)
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    edges = hub.others(owner)
    watchers = [Watcher(node) for node in edges]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, edges)
    wait_until(lambda: load.calls > 10)
    owner.freeze()
    wait_until(lambda: all(each.states[-2:] == ["UNAVAILABLE", "AVAILABLE"] for each in watchers))
    before = load.calls
    wait_until(lambda: load.calls > before + 10)
    owner.thaw()
    wait_until(lambda: '"lease_lost"' in owner.log_path.read_text())
    # it asks the new owner now, as an edge does
    wait_until(lambda: owner.get("/livez").status_code == httpx.codes.OK)
    total = load.stop() + 1
    assert [each.states for each in watchers] == [["AVAILABLE", "UNAVAILABLE", "AVAILABLE"]] * 2
    assert wait_until(lambda: inbound_calls(owner) == total)
    assert {inbound_calls(node) for node in edges} == {total}
    assert all(values == sorted(values) for values in (each.values for each in watchers))
    for each in watchers:
        each.close()


def test_a_database_that_restarts_refuses_events_and_loses_none(make: Callable[..., Hub], server: Postgres) -> None:
    hub = make(2)
    hub.nodes[0].feed(*hub.call())
    hub.owner()
    load = Load(hub, hub.nodes)
    wait_until(lambda: load.calls > 10)
    server.halt()
    try:
        wait_until(lambda: load.refused > 0)
        time.sleep(3)  # longer than an owner goes on without its lease
    finally:
        server.resume()
    before = load.calls
    wait_until(lambda: load.calls > before + 10)
    total = load.stop() + 1
    assert {inbound_calls(node) for node in hub.nodes} == {total}


def test_a_node_that_stops_hands_its_tenants_over_at_once(make: Callable[..., Hub]) -> None:
    hub = make(2, HUB_OWNERSHIP__TERM_S="60", HUB_OWNERSHIP__GIVE_UP_S="50", HUB_OWNERSHIP__LOOK_S="30")
    hub.nodes[0].feed(*hub.call())
    owner = hub.owner()
    (other,) = hub.others(owner)
    watcher = Watcher(other)
    wait_until(lambda: watcher.states == ["AVAILABLE"])
    began = time.monotonic()
    stopping = threading.Thread(target=owner.stop)
    stopping.start()
    wait_until(lambda: watcher.states == ["AVAILABLE", "UNAVAILABLE", "AVAILABLE"], within_s=20)
    assert inbound_calls(other) == 1
    stopping.join(WITHIN_S)
    assert time.monotonic() - began < 25, "nobody waited for a lease of 60 s, or 30 s for the next look"
    other.feed(*hub.call())
    assert inbound_calls(other) == 2
    watcher.close()


def test_roles(make: Callable[..., Hub]) -> None:
    hub = make(0)
    token = add_tenant(hub.folder, hub.database, "roles")
    edge = hub.add("edge", HUB_ROLE="edge")
    stat = hub.add("stat", HUB_ROLE="stat-server")
    hub.nodes += [edge, stat]
    for node in hub.nodes:
        node.token = token
    edge.feed(*hub.call())
    hub.tenant = "roles"
    assert hub.owner() is stat
    assert inbound_calls(edge) == 1
    assert stat.get("/livez").status_code == httpx.codes.OK
    # clients have nothing to look for at a stat server
    assert stat.post("/cometd", []).status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"HUB_ROLE": "edge"},
            r"database_url: expected the PostgreSQL of the hub, which the role edge needs to work with other nodes, got SQLite",
        ),
        ({"HUB_ROLE": "stat-server"}, r"redis_url: expected the Redis of the hub, which the role stat-server needs"),
        ({"HUB_ROLE": "edge"}, r"link_listen: expected where this node takes links, which the role edge needs"),
    ],
)
def test_a_role_without_what_it_needs_is_refused(tmp_path: Path, environment: dict[str, str], expected: str) -> None:
    done = run_hub(("serve", "--port", "0", "--data-dir", str(tmp_path / "data")), tmp_path, clean_environment(environment))
    assert done.returncode != 0
    assert re.search(expected, done.stderr + done.stdout)
