"""`/readyz` of a hub in a process of its own, while its disk, its files and its PostgreSQL fail, and when they are well again."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import HubFactory
from tests.hub.storage.backends import running_postgres
from tests.support.hub_process import HubProcess, clean_environment, run_hub

WITHIN_S = 60.0
OFTEN = {"HUB_READINESS__LOOK_S": "0.1"}


def readiness(hub: HubProcess) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{hub.url}/readyz", timeout=10)
    return answer.status_code, answer.json()


def until(hub: HubProcess, condition: Callable[[int, dict[str, Any]], object]) -> dict[str, Any]:
    """Wait for an answer of ``/readyz``; returns its parts."""
    end = time.monotonic() + WITHIN_S
    while True:
        status, body = readiness(hub)
        if condition(status, body):
            parts: dict[str, Any] = body["parts"]
            return parts
        assert time.monotonic() < end, (status, body)
        time.sleep(0.05)


def ready(status: int, body: dict[str, Any]) -> bool:
    return status == 200 and body["status"] == "ok"


def failing(status: int, body: dict[str, Any]) -> bool:
    return status == 503 and body["status"] == "failing"


def event(number: int) -> dict[str, Any]:
    data = {"interactionId": f"i{number}", "queue": "q"}
    return {"specversion": "1.0", "source": "test", "id": str(number), "type": "cx.interaction.queued", "data": data}


def ingest(hub: HubProcess, number: int) -> httpx.Response:
    headers = {**hub.headers, "Content-Type": "application/cloudevents+json"}
    return httpx.post(f"{hub.url}/ingest/v1/events", content=json.dumps(event(number)), headers=headers, timeout=30)


def test_a_disk_that_takes_nothing_more_is_told_and_is_over_by_itself(hub_process: HubFactory) -> None:
    """The process may write no file beyond its first kilobyte, as under a quota; then it may again."""
    hub = hub_process("--demo", environment=OFTEN)
    before = resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (1024, before[1]))
    statuses = {ingest(hub, number).status_code for number in range(20)}
    assert statuses == {503}
    parts = until(hub, failing)
    assert parts["events"] == {"status": "failing", "message": "the disk reports an error"}
    resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, before)
    until(hub, ready)
    assert ingest(hub, 100).status_code == 200


@pytest.mark.parametrize("name", ["hub.db", "events.db", "channels.db"])
def test_a_file_that_is_deleted_under_an_idle_hub_is_noticed(hub_process: HubFactory, name: str) -> None:
    hub = hub_process("--open", environment=OFTEN)
    (hub.data_dir / name).rename(hub.data_dir / "aside")
    parts = until(hub, failing)
    part = {"hub.db": "database", "events.db": "events", "channels.db": "channels"}[name]
    assert parts[part]["message"].startswith("the file was deleted, replaced or overwritten")
    assert [other for other, health in parts.items() if health["status"] != "ok"] == [part]
    assert not (hub.data_dir / name).exists()
    (hub.data_dir / "aside").rename(hub.data_dir / name)
    until(hub, ready)


@pytest.mark.parametrize("name", ["hub.db", "events.db", "channels.db"])
def test_a_file_that_another_process_locks_is_told_by_the_next_probe(hub_process: HubFactory, name: str) -> None:
    """Not when the first operation has waited for the lock as long as it may, after 5 s."""
    hub = hub_process("--open", environment=OFTEN)
    until(hub, ready)
    part = {"hub.db": "database", "events.db": "events", "channels.db": "channels"}[name]
    with closing(sqlite3.connect(hub.data_dir / name, isolation_level=None, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        status, body = readiness(hub)
        assert (status, body["status"]) == (503, "failing")
        assert body["parts"][part] == {"status": "failing", "message": "the file is locked by another process"}
        assert [each for each, health in body["parts"].items() if health["status"] != "ok"] == [part]
        other.execute("ROLLBACK")
    until(hub, ready)


async def test_a_postgresql_that_stops_and_comes_back(hub_process: HubFactory) -> None:
    with running_postgres() as server:
        name = await server.create()
        url = server.url(name)
        hub = hub_process("--open", "--database-url", url, environment={**OFTEN, "HUB_LOG_LEVEL": "info", "HUB_LOG_FORMAT": "json"})
        added = run_hub(
            ["token", "add", "a", "-t", "demo", "-r", "admin", "--json", "--database-url", url], hub.folder, clean_environment()
        )
        assert added.returncode == 0, added.stderr
        hub.token = json.loads(added.stdout)["token"]
        await asyncio.to_thread(server.halt)
        parts = await asyncio.to_thread(until, hub, lambda status, body: (status, body["status"]) == (200, "degraded"))
        assert parts["database"]["status"] == "failing"
        assert "/" not in parts["database"]["message"]  # no address: anybody may ask
        async with httpx.AsyncClient(base_url=hub.url, timeout=30) as client:
            for number in range(5):
                stranger = {"Authorization": f"Bearer hubt_{number:043}"}
                assert (await client.get("/api/v1/me", headers=stranger)).status_code == 503
                handshake = [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}]
                assert (await client.post("/cometd", json=handshake, headers=stranger)).status_code == 503
                handshake[0]["ext"] = {"authentication": {"token": f"hubt_{number:043}"}}  # type: ignore[assignment]
                assert (await client.post("/cometd", json=handshake)).json()[0]["error"] == "503::unavailable"
                assert (await client.get("/events?channel=/a", headers=stranger)).status_code == 503
                body = {"tenant": "demo", "username": "a", "password": "b"}
                assert (await client.post("/api/v1/sign-in", json=body)).status_code == 503
            for path in ("/ws", "/cometd"):
                with pytest.raises(ConnectionClosed) as closed:
                    async with connect(f"{hub.ws_url}{path}", additional_headers=stranger) as socket:
                        await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
        await asyncio.to_thread(server.resume)
        await asyncio.to_thread(until, hub, ready)
        assert hub.get("/api/v1/me").status_code == 200
        log = [json.loads(line) for line in hub.log_path.read_text().splitlines() if line.startswith("{")]
        tracebacks = Counter(line["event"] for line in log if "exception" in line)
        # one for the connection that was ended, one for those that could not be made
        assert max(tracebacks.values()) <= 2, tracebacks


async def test_strict_readiness_takes_a_node_out_without_postgresql(hub_process: HubFactory) -> None:
    with running_postgres() as server:
        url = server.url(await server.create())
        hub = hub_process("--open", "--database-url", url, environment={**OFTEN, "HUB_READINESS__STRICT": "true"})
        await asyncio.to_thread(server.halt)
        await asyncio.to_thread(until, hub, lambda status, body: (status, body["status"]) == (503, "degraded"))
        await asyncio.to_thread(server.resume)
        await asyncio.to_thread(until, hub, ready)
