"""PostgreSQL stands still, for all or for the owner alone: no owner writes or is heard past its lease, and nothing taken is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.hub.cluster.owner_hub import Hub, Load, Watcher
from tests.hub.cluster.processes import QUICK, NodeProcess, inbound_calls, wait_until
from tests.hub.storage.backends import Postgres, running_postgres
from tests.support.gate import Gate
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.timeout(600)

TERM_S = float(QUICK["HUB_OWNERSHIP__TERM_S"])


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may let stand still."""
    with running_postgres() as made:
        yield made


def processes(server: Postgres) -> list[int]:
    """The server's own process, then those of its connections and of its work in the background."""
    first = int((server.socket_dir / "postmaster.pid").read_text().split()[0])
    found = [first]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            if parent == first:
                found.append(int(entry.name))
    return found


@contextmanager
def standing_still(server: Postgres) -> Iterator[None]:
    """Every process of the server stands still while the block runs."""
    stopped: list[int] = []
    try:
        for signalled in processes(server):
            os.kill(signalled, signal.SIGSTOP)
            stopped.append(signalled)
        yield
    finally:
        for signalled in stopped:
            os.kill(signalled, signal.SIGCONT)


class Way:
    """A way to PostgreSQL's socket on which a test lets nothing through. It runs in a thread."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.folder = folder
        (socket,) = server.socket_dir.glob(".s.PGSQL.*[0-9]")
        self._gate = Gate(folder / socket.name, socket)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._gate.start(), self._loop).result(30)

    def hold(self) -> None:
        self._loop.call_soon_threadsafe(self._gate.hold)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._gate.release)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._gate.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


@pytest.fixture
def hub(tmp_path: Path, server: Postgres, shared_redis: Callable[[str], RedisServer]) -> Iterator[Hub]:
    """A hub without nodes, to which a test adds some."""
    made = Hub(tmp_path, server.url(asyncio.run(server.create())), shared_redis("redis"), 0, {"HUB_OWNERSHIP__BALANCE_S": "0"})
    yield made
    made.close()


def in_turns(states: list[str]) -> bool:
    """Whether each change was told once. On a busy machine a lease of so short a term may be lost once more."""
    return len(states) >= 3 and states == [("AVAILABLE", "UNAVAILABLE")[number % 2] for number in range(len(states))]


def joined(hub: Hub, name: str, database: str = "") -> NodeProcess:
    node = hub.add(name, database=database)
    node.token = hub.token
    hub.nodes.append(node)
    return node


def test_it_stands_still_for_all(hub: Hub, server: Postgres) -> None:
    for number in range(3):
        joined(hub, f"node-{number}")
    hub.nodes[0].feed(*hub.call())
    hub.owner()
    watchers = [Watcher(node) for node in hub.nodes]
    wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
    load = Load(hub, hub.nodes)
    wait_until(lambda: load.calls > 10)
    with standing_still(server):
        # the owner stops by its own clock, and everybody is told so while the database does not answer
        wait_until(lambda: all(each.states[-1] == "UNAVAILABLE" for each in watchers))
        heard = [len(each.values) for each in watchers]
        time.sleep(2 * TERM_S)
        assert [len(each.values) for each in watchers] == heard
        for node in hub.nodes:
            assert httpx.get(f"{node.url}/livez", timeout=30).status_code == httpx.codes.OK
            assert httpx.get(f"{node.url}/readyz", timeout=30).json()["parts"]["database"]["status"] == "failing"
    wait_until(lambda: all(each.states[-1] == "AVAILABLE" for each in watchers))
    before = load.calls
    wait_until(lambda: load.calls > before + 10)
    total = load.stop() + 1
    wait_until(lambda: {inbound_calls(node) for node in hub.nodes} == {total})
    wait_until(lambda: all(node.get("/readyz").json()["status"] == "ok" for node in hub.nodes))
    for each in watchers:
        assert each.heard_of_nobody == []
        assert each.values == sorted(each.values)
        assert in_turns(each.states)
        each.close()


def test_it_stands_still_for_the_owner_alone(hub: Hub, server: Postgres, tmp_path: Path) -> None:
    """Another node takes over when the lease has ended; what the first one still has in its hands is refused."""
    way = Way(server, tmp_path)
    try:
        owner = joined(hub, "owner", hub.database.replace(str(server.socket_dir), str(way.folder)))
        owner.feed(*hub.call())
        assert hub.owner() is owner
        others = [joined(hub, f"node-{number}") for number in range(2)]
        watchers = [Watcher(node) for node in hub.nodes]
        wait_until(lambda: all(each.states == ["AVAILABLE"] for each in watchers))
        load = Load(hub, hub.nodes)
        wait_until(lambda: load.calls > 10)
        way.hold()
        wait_until(lambda: all(each.states[-2:] == ["UNAVAILABLE", "AVAILABLE"] for each in watchers[1:]))
        assert watchers[0].states[-1] == "UNAVAILABLE", "it cannot read who the owner is"
        assert httpx.get(f"{owner.url}/livez", timeout=30).status_code == httpx.codes.OK
        load_elsewhere = Load(hub, others)
        wait_until(lambda: load_elsewhere.calls > 10)
        way.release()
        wait_until(lambda: watchers[0].states[-1] == "AVAILABLE")
        wait_until(lambda: '"lease_lost"' in owner.log_path.read_text())
        before = load.calls
        wait_until(lambda: load.calls > before + 10)
        total = load.stop() + load_elsewhere.stop() + 1
        wait_until(lambda: {inbound_calls(node) for node in hub.nodes} == {total})
        for each in watchers:
            assert each.heard_of_nobody == []
            assert each.values == sorted(each.values)
            assert in_turns(each.states)
            each.close()
    finally:
        way.release()
        hub.close()
        way.close()
