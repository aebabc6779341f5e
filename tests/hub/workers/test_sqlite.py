"""Two workers on SQLite: the first one has the files and the statistics, and the other one uses them."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import QUIET_CENTRE
from tests.hub.workers.hubs import Clients, WorkersHub
from tests.hub.workers.parents import kill, until

pytestmark = pytest.mark.timeout(300)  # two hubs and Valkey start, three times


def event(number: int) -> dict[str, Any]:
    return {"id": f"login-{number}", "type": "cx.agent.login", "data": {"agentId": f"agent-{number}"}}


def fed(hub: WorkersHub, number: int) -> bool:
    """Whether an event is accepted, by whichever worker a new connection reaches."""
    try:
        hub.process.feed(event(number))
    except (AssertionError, httpx.TransportError):
        return False
    return True


def all_know_the_owner(hub: WorkersHub, numbers: Iterator[int]) -> bool:
    """Whether events are accepted on twenty connections one after the other, so that both workers know which one takes them."""
    return all(fed(hub, next(numbers)) for _ in range(20))


async def ask_both(hub: WorkersHub, first: int) -> None:
    """Requests that read and write the database, and events, on as many connections as it takes to reach both workers."""
    before = hub.metrics()
    number = first
    while True:
        assert hub.process.post("/api/v1/publish", {"channel": "/workers/test", "data": number}).status_code == 200
        assert hub.process.get("/api/v1/endpoints").status_code == 200
        hub.process.feed(event(number))
        number += 1
        now = hub.metrics()
        if all(now["hub_connections_opened_total", worker] > before["hub_connections_opened_total", worker] + 6 for worker in "01"):
            return


async def test_both_workers_take_every_request_and_the_first_keeps_the_statistics(tmp_path: Path) -> None:
    hub = WorkersHub(tmp_path, "--demo", "--open", **QUIET_CENTRE)
    hub.start()
    numbers = itertools.count(10_000)  # a second event with one id would not be counted as accepted
    try:
        async with Clients(hub) as clients:
            assert await clients.tell({"n": 1}) == [{"n": 1}] * 2
        await ask_both(hub, 0)
        first = next(record for record in hub.logged("simulating"))
        (zero,) = [pid for pid in hub.workers() if "events.db" in _files(pid)]
        kill(zero)
        until(lambda: hub.logged("worker_restarted"), "the successor of the first worker")
        until(lambda: all_know_the_owner(hub, numbers), "an owner of the tenant")
        await ask_both(hub, 2_000)
        hub.process.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: hub.logged("replaced"), "the new workers")
        until(lambda: all_know_the_owner(hub, numbers), "an owner of the tenant")
        await ask_both(hub, 4_000)
        assert first["worker"] == 0
        assert {record["worker"] for record in hub.logged("simulating")} == {0}
        assert hub.logged("database_in_trouble") == []
    finally:
        hub.process.close()


def _files(pid: int) -> str:
    """The names of the files that a process has open."""
    return " ".join(str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink())
