"""A hub that was alone becomes one of several nodes, as docs/scaling.md#from-one-node-to-several says: real processes, step by step."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.hub.cluster.processes import SECRET, NodeProcess, cloud_event, wait_until
from tests.hub.storage.backends import Postgres, postgres
from tests.support.hub_process import HubProcess, clean_environment, run_hub
from tests.support.redis_server import RedisServer

__all__ = ["postgres"]

pytestmark = pytest.mark.timeout(600)

CALLS = 40
KEPT = "/orders/new"


class House:
    """A hub that is alone, with a tenant ``acme``, and the nodes that it becomes."""

    def __init__(self, folder: Path, database: str, redis: RedisServer) -> None:
        self.folder = folder
        self.database = database
        self._redis = redis.url
        self._common = {"HUB_REPLAY__CHANNELS": "/orders/**", "HUB_LOG_LEVEL": "info", "HUB_DRAIN_SECONDS": "1"}
        self._cluster = {"HUB_REDIS_PREFIX": secrets.token_hex(6), **self._common}
        self.single = HubProcess(folder, (), {"HUB_SECRET": SECRET, **self._common})
        self.nodes: list[NodeProcess] = []
        self.token = ""

    def start_single(self) -> HubProcess:
        self.single.start()
        if not self.token:
            self.single.command("tenant", "add", "acme")
            self.token = json.loads(self.single.command("token", "add", "ana", "--tenant", "acme", "--role", "admin", "--json"))["token"]
            self.single.token = self.token  # type: ignore[misc]
        return self.single

    def migrate(self) -> str:
        environment = clean_environment({"HUB_DATA_DIR": str(self.single.data_dir)})
        done = run_hub(("migrate", "--to-postgresql", self.database), self.folder, environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def node(self, name: str, data_dir: Path | None = None) -> NodeProcess:
        """A node that is not started; ``data_dir``: of the hub that was alone, or of another one."""
        node = NodeProcess(self.folder / name, self.database, self._redis, environment=self._cluster)
        if data_dir is not None:
            node.data_dir = data_dir
        node.token = self.token  # type: ignore[misc]
        self.nodes.append(node)
        return node

    def close(self) -> None:
        for hub in (*self.nodes, self.single):
            hub.close()


@pytest.fixture
def house(tmp_path: Path, postgres: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[House]:
    made = House(tmp_path, postgres.url(asyncio.run(postgres.create())), shared_redis("redis"))
    try:
        yield made
    finally:
        made.close()


def call(number: int) -> list[dict[str, Any]]:
    """An inbound call to one of three agents, by way of one of two queues; every fifth one is abandoned in the queue."""
    data = {"interactionId": f"call-{number}", "queue": f"q{number % 2}"}
    agent = {"interactionId": f"call-{number}", "agentId": f"agent-{number % 3}"}
    queued = cloud_event(f"{number}-1", "cx.interaction.queued", **data)
    if number % 5 == 0:
        return [queued, cloud_event(f"{number}-2", "cx.interaction.abandoned", **data)]
    return [
        queued,
        cloud_event(f"{number}-3", "cx.interaction.established", **agent, callType="inbound"),
        cloud_event(f"{number}-4", "cx.interaction.released", **agent),
    ]


def feed(hub: HubProcess, *events: dict[str, Any]) -> dict[str, int]:
    """What became of the events, as the hub answers."""
    body = "\n".join(json.dumps({"specversion": "1.0", "source": "switch", **event}) for event in events)
    headers = {**hub.headers, "Content-Type": "application/x-ndjson"}
    reply = httpx.post(f"{hub.url}/ingest/v1/events", content=body, headers=headers, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    counts: dict[str, int] = reply.json()["data"]
    return counts


def totals(hub: HubProcess) -> dict[str, Any]:
    """What the calls have made of every statistic that stands still between them."""
    wanted = [{"name": "InboundCalls", "objectId": f"agent-{number}", "objectType": "Agent"} for number in range(3)]
    wanted += [
        {"name": name, "objectId": f"q{number}", "objectType": "Queue"}
        for number in range(2)
        for name in ("CallsEntered", "TotalAbandoned", "CurrentInQueue")
    ]
    url = f"{hub.url}/statistics/v3/operations/get-statistic-ex"
    reply = httpx.post(url, json={"data": {"statistics": wanted}}, headers=hub.headers, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    found = reply.json()["data"]["statistics"]
    assert len(found) == len(wanted)
    return {f"{each['objectId']} {each['name']}": each["value"]["intValue"] for each in found}


def position(hub: HubProcess) -> int:
    """Of the event log."""
    return int(httpx.get(f"{hub.url}/api/v1/stat-server", headers=hub.headers, timeout=60).json()["data"]["position"])


def publish(hub: HubProcess, data: object) -> int:
    """The position of a message on a log channel."""
    reply = httpx.post(f"{hub.url}/api/v1/publish", json={"channel": KEPT, "data": data}, headers=hub.headers, timeout=60)
    assert reply.status_code == httpx.codes.OK, reply.text
    return int(reply.json()["data"]["position"])


def recovered(hub: HubProcess, channel: str, since: int) -> bool:
    """What a client of ``/ws`` is told that comes with a position."""
    with connect(f"{hub.ws_url}/ws") as socket:
        socket.send(json.dumps({"type": "hello", "token": hub.token}))
        socket.send(json.dumps({"type": "subscribe", "channels": [channel], "since": since}))
        while True:
            frame = json.loads(socket.recv(timeout=60))
            for message in frame if isinstance(frame, list) else [frame]:
                if message["type"] == "subscribed":
                    (answer,) = message["channels"]
                    return bool(answer["recovered"])


def logged(hub: HubProcess, event: str) -> list[dict[str, Any]]:
    lines = hub.log_path.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if f'"event": "{event}"' in line]


def of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_whole_way(house: House) -> None:
    single = house.start_single()
    calls = [event for number in range(CALLS) for event in call(number)]
    assert feed(single, *calls[: len(calls) // 2])["accepted"] == len(calls) // 2
    single.restart()  # a snapshot lies behind a part of the events
    assert feed(single, *calls[len(calls) // 2 :])["accepted"] == len(calls) - len(calls) // 2
    before, events = totals(single), position(single)
    assert before["q0 CallsEntered"] == CALLS // 2
    kept = [publish(single, number) for number in range(3)]
    assert recovered(single, KEPT, kept[0])
    single.stop()
    files = {name: of_file(single.data_dir / name) for name in ("hub.db", "events.db", "channels.db")}

    house.migrate()
    one = house.node("one", single.data_dir)
    one.start()
    two = house.node("two")
    two.start()

    # statistics go on where they were, and an event that came before counts once, on whichever node it comes again
    assert totals(one) == totals(two) == before
    assert position(two) == events
    assert feed(two, *calls[-3:])["duplicates"] == 3
    assert feed(two, *call(CALLS))["accepted"] == len(call(CALLS))
    after = {**before, "q0 CallsEntered": before["q0 CallsEntered"] + 1, "q0 TotalAbandoned": before["q0 TotalAbandoned"] + 1}
    assert wait_until(lambda: totals(one) == totals(two) == after)
    (imported,) = logged(one, "events_imported")
    assert (imported["tenant"], imported["position"]) == ("acme", events)

    # the log of the channels is another one: nobody who comes with a position of the old one has recovered
    new = publish(two, "new")
    assert new > kept[-1]
    for node in (one, two):
        for channel in (KEPT, "/orders/**"):
            assert [recovered(node, channel, since) for since in (*kept, kept[-1] + 1)] == [False] * 4
        assert recovered(node, KEPT, new)

    # the files are as they were, and a second start imports nothing
    one.restart()
    assert wait_until(lambda: totals(one) == totals(two) == after)
    assert len(logged(one, "events_imported")) == 1
    assert not logged(one, "events_not_imported")
    assert one.get("/readyz").json()["status"] == "ok"
    assert {name: of_file(single.data_dir / name) for name in ("hub.db",)} == {"hub.db": files["hub.db"]}
    with sqlite3.connect(f"file:{single.data_dir / 'events.db'}?mode=ro", uri=True) as file:
        assert file.execute("SELECT last FROM streams WHERE tenant = 'acme'").fetchone()[0] == events


def test_nodes_that_start_at_once_import_once_whoever_is_first(house: House) -> None:
    """One of three has the file."""
    single = house.start_single()
    assert feed(single, *(event for number in range(CALLS) for event in call(number)))["accepted"] > 0
    before, events = totals(single), position(single)
    single.stop()
    house.migrate()
    nodes = [house.node("without"), house.node("with", single.data_dir), house.node("another")]
    starting = [threading.Thread(target=node.start) for node in nodes]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    for node in nodes:
        assert wait_until(lambda node=node: totals(node) == before)
        assert position(node) == events
    assert sum(len(logged(node, "events_imported")) for node in nodes) == 1


def test_a_node_without_the_file_that_came_first_hands_the_tenant_over(house: House) -> None:
    """Nobody has sent events yet: nothing is in the way of the import."""
    single = house.start_single()
    assert feed(single, *(event for number in range(CALLS) for event in call(number)))["accepted"] > 0
    before = totals(single)
    single.stop()
    house.migrate()
    first = house.node("first")
    first.start()
    assert set(totals(first).values()) == {0}  # it owns the tenant, and knows nothing
    second = house.node("second", single.data_dir)
    second.start()
    for node in (first, second):
        assert wait_until(lambda node=node: totals(node) == before)
    assert len(logged(second, "events_imported")) == 1


def test_events_that_cannot_be_imported_any_more_are_told(house: House) -> None:
    """Other nodes have taken more events than the file has, so positions tell nothing."""
    single = house.start_single()
    assert feed(single, *call(1))["accepted"] == 3
    single.stop()
    house.migrate()
    first = house.node("first")
    first.start()
    assert feed(first, *(event for number in range(100, 110) for event in call(number)))["accepted"] > 3
    taken = totals(first)
    second = house.node("second", single.data_dir)
    second.start()
    (told,) = logged(second, "events_not_imported")
    assert (told["tenant"], told["events"]) == ("acme", 3)
    ready = second.get("/readyz").json()
    assert (ready["status"], ready["parts"]["import"]["status"]) == ("degraded", "failing")
    assert "acme" not in json.dumps(ready), "anybody may ask"
    assert totals(first) == totals(second) == taken
    assert "hub_event_import_refused 1.0" in second.get("/metrics").text
