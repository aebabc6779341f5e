"""``hub serve --workers 2`` as users start it: two real hubs behind one port, on PostgreSQL and the bundled Valkey."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.hub.storage.backends import Postgres
from tests.hub.workers.hubs import Clients, WorkersHub, closed
from tests.hub.workers.parents import kill, until

pytestmark = pytest.mark.timeout(300)  # the first test starts PostgreSQL, two hubs and Valkey


@pytest.fixture(scope="module")
def hub(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkersHub]:
    """One hub for all tests: they leave two workers that serve."""
    url = postgres.url(asyncio.run(postgres.create()))
    # the second worker starts as those of users do, from nothing; the first one is a fork, which is quicker
    made = WorkersHub(tmp_path_factory.mktemp("hub"), "--open", "--database-url", url, HUB_TEST_COLD_WORKER="1")
    made.start()
    yield made
    made.process.close()


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
        (valkey,) = hub.valkeys()
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
            assert await closed(socket) == 1012
    async with Clients(hub) as new:
        assert not new.sockets.keys() & clients.sockets.keys()
        assert await new.tell({"n": 2}) == [{"n": 2}] * 2
    assert (await asyncio.to_thread(hub.metrics))["hub_worker_life", "1"] > 1
