"""The parent of the workers, in real processes: sockets, supervision, replacement, the end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub.workers.parents import SmallHub, alive, burst, children, kill, listening, listens, until

pytestmark = pytest.mark.timeout(300)  # longer than one wait of :data:`tests.hub.workers.parents.WITHIN_S`

Make = Callable[..., SmallHub]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallHub]:
    """One hub for the tests that leave two workers that serve."""
    made = SmallHub(tmp_path_factory.mktemp("hub"), supervision={"silent_s": 2, "kill_after_s": 5}).start()
    yield made
    made.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes hubs that a test may end as it likes."""
    made: list[SmallHub] = []

    def one(**options: Any) -> SmallHub:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(SmallHub(folder, **options))
        return made[-1]

    yield one
    for each in made:
        each.close()


async def test_connections_are_spread_over_the_workers(hub: SmallHub) -> None:
    spread = Counter(answer["worker"] for answer in await burst(hub.port, 200))
    assert sum(spread.values()) == 200
    assert min(spread[0], spread[1]) > 50


def test_a_dead_worker_has_a_successor_and_the_other_one_notices_nothing(hub: SmallHub) -> None:
    before = hub.workers()
    kill(before[1]["pid"])
    until(lambda: not alive(before[1]["pid"]), "the death")
    # the parent holds the socket: connections wait there, and none is refused
    answers = [hub.get() for _ in range(20)]
    after = hub.workers()
    assert after[0] == before[0]
    assert after[1]["life"] == before[1]["life"] + 1
    assert {answer["pid"] for answer in answers} <= {after[0]["pid"], after[1]["pid"]}
    assert hub.logged("worker_died")[-1]["why"] == "worker 1 was ended by SIGKILL"


@pytest.mark.parametrize("way", ["killed", "replaced"])
async def test_while_a_worker_has_no_successor_the_other_one_gets_the_connections(make: Make, way: str) -> None:
    hub = make()
    await asyncio.to_thread(hub.start)
    first = (await asyncio.to_thread(hub.workers))[0]["pid"]
    hub.new_code(wait=[0])
    if way == "killed":
        kill(first)
    else:
        hub.signal(signal.SIGHUP)  # on SQLite the first worker ends before its successor starts
    await asyncio.to_thread(until, lambda: not alive(first), "its end")
    await asyncio.to_thread(until, lambda: len(children(hub.parent.pid)) == 2, "the start of the successor")
    assert {answer["worker"] for answer in await burst(hub.port, 100)} == {1}
    (hub.folder / "go").touch()
    after = await asyncio.to_thread(hub.workers)
    assert after[0]["life"] == 2


async def test_a_worker_that_stands_still_gets_no_connections_until_it_goes_on(make: Make) -> None:
    hub = make(supervision={"quiet_s": 0.5, "silent_s": 600})
    await asyncio.to_thread(hub.start)
    pid = (await asyncio.to_thread(hub.workers))[0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.to_thread(until, lambda: hub.logged("worker_quiet"), "the parent to notice")
        assert {answer["worker"] for answer in await burst(hub.port, 100)} == {1}
    finally:
        os.kill(pid, signal.SIGCONT)
    await asyncio.to_thread(until, lambda: hub.logged("worker_shows_again"), "its beat")
    assert hub.logged("worker_quiet")[-1]["worker"] == hub.logged("worker_shows_again")[-1]["worker"] == 0
    assert {answer["worker"] for answer in await burst(hub.port, 100)} == {0, 1}
    assert (await asyncio.to_thread(hub.workers))[0]["pid"] == pid


async def test_connections_wait_for_no_worker_that_starts(make: Make) -> None:
    hub = make()
    hub.new_code(wait=[1])
    hub.launch()
    await asyncio.to_thread(until, lambda: listens(hub.port), "the first worker")
    assert {answer["worker"] for answer in await burst(hub.port, 100)} == {0}
    (hub.folder / "go").touch()
    assert (await asyncio.to_thread(hub.workers)).keys() == {0, 1}


async def test_where_the_kernel_takes_no_program_connections_wait_for_the_successor(make: Make) -> None:
    hub = make()
    hub.environment = {"SMALL_PARENT_DOES_NOT_STEER": "1"}
    await asyncio.to_thread(hub.start)
    assert hub.logged("connections_not_steered")
    before = await asyncio.to_thread(hub.workers)
    kill(before[0]["pid"])
    await asyncio.to_thread(until, lambda: not alive(before[0]["pid"]), "its end")
    answers = await burst(hub.port, 50)
    assert {answer["worker"] for answer in answers} == {0, 1}
    assert (await asyncio.to_thread(hub.workers))[0]["life"] == 2


async def test_replacement_refuses_no_connection(hub: SmallHub) -> None:
    before = await asyncio.to_thread(hub.workers)
    replaced = len(hub.logged("replaced"))
    hub.new_code(text="new")
    answers: list[dict[str, Any]] = []
    hub.signal(signal.SIGHUP)
    while len(hub.logged("replaced")) == replaced:
        answers += await burst(hub.port, 5)  # raises what a client would see
        await asyncio.sleep(0.02)
    after = await asyncio.to_thread(hub.workers)
    assert [after[index]["text"] for index in (0, 1)] == ["new", "new"]
    assert {answer["pid"] for answer in answers} >= {before[0]["pid"], before[1]["pid"]}
    assert not alive(before[0]["pid"])
    assert not alive(before[1]["pid"])
    assert len(children(hub.parent.pid)) == 2


def test_a_client_that_keeps_its_connection_moves_to_the_successor_with_its_next_request(make: Make) -> None:
    hub = make()
    hub.new_code(drains=True)
    hub.start()
    (hub.folder / "code.json").unlink()
    clients = [http.client.HTTPConnection("127.0.0.1", hub.port, timeout=60) for _ in range(20)]
    first = [_over(client)[0] for client in clients]
    assert {answer["worker"] for answer in first} == {0, 1}
    hub.signal(signal.SIGHUP)
    until(lambda: hub.logged("worker_replaced") and "draining" in hub.said(), "the successor of worker 1, and the old one to drain")
    for client, before in zip(clients, first, strict=True):
        answer, closes = _over(client)
        assert answer["pid"] == before["pid"]  # the old worker drains
        if before["worker"] == 1:
            assert closes
            assert _over(client)[0]["pid"] != before["pid"]  # on a new connection
    (hub.folder / "drained").touch()
    until(lambda: hub.logged("replaced"), "the replacement")
    for client in clients:
        client.close()


def _over(client: http.client.HTTPConnection) -> tuple[dict[str, Any], bool]:
    """The answer on a connection, which is made anew if it was closed, and whether the answer closes it."""
    client.request("GET", "/")
    response = client.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    return answer, response.getheader("connection") == "close"


def test_a_successor_that_does_not_start_leaves_the_old_workers(hub: SmallHub) -> None:
    before = hub.workers()
    hub.new_code(reason="port: expected a number, got 'x'")
    failed = len(hub.logged("worker_not_replaced"))
    hub.signal(signal.SIGHUP)
    until(lambda: len(hub.logged("worker_not_replaced")) > failed, "the refusal")
    assert hub.logged("worker_not_replaced")[-1]["why"] == "port: expected a number, got 'x'"
    assert hub.workers() == before
    hub.new_code()


def test_settings_that_only_the_parent_applies_are_named(hub: SmallHub) -> None:
    hub.new_code(fixed={"port": "another", "host": "another"})
    replaced = len(hub.logged("replaced"))
    hub.signal(signal.SIGHUP)
    until(lambda: len(hub.logged("replaced")) > replaced, "the replacement")
    assert hub.logged("restart_needed")[-1]["settings"] == ["host", "port"]
    hub.new_code()


def test_a_worker_that_hangs_says_where_and_is_started_again(hub: SmallHub) -> None:
    with socket.create_connection(("127.0.0.1", hub.port)) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        until(lambda: "in __call__" in hub.said(), "the stack")
        until(lambda: hub.logged("worker_died") and "SIGABRT" in hub.logged("worker_died")[-1]["why"], "its end")
    assert {answer["worker"] for answer in hub.workers().values()} == {0, 1}


def test_a_loop_of_crashes_ends_the_hub_with_the_reason(make: Make) -> None:
    hub = make()
    hub.new_code(exit=3)
    assert hub.launch().wait() == 1
    assert "gave up: worker 0 died too often before it was ready; at last: worker 0 ended with exit code 3" in hub.said()
    assert len(hub.logged("worker_died")) == 4


def test_what_a_worker_says_at_the_first_start_is_said_once(make: Make) -> None:
    hub = make()
    hub.new_code(reason="no such database", fails=[1])
    assert hub.launch().wait() == 2
    assert hub.said().count("no such database") == 1
    assert children(hub.parent.pid) == []


def test_a_worker_that_cannot_be_started_again_ends_the_hub(make: Make) -> None:
    hub = make(supervision={"max_deaths": 2}).start()
    workers = hub.workers()
    hub.new_code(reason="no such database")
    kill(workers[0]["pid"])
    assert hub.wait() == 1
    assert "gave up: worker 0 died too often before it was ready; at last: no such database" in hub.said()
    assert not alive(workers[1]["pid"])


def test_a_killed_parent_takes_all_with_it(make: Make) -> None:
    hub = make(redis_url=None).start()
    family = children(hub.parent.pid)
    assert len(family) == 3  # two workers and Valkey
    kill(hub.parent.pid)
    assert hub.wait() == -signal.SIGKILL
    until(lambda: not any(map(alive, family)), "the end of the family")
    # what it left behind stops no start
    assert hub.start().workers().keys() == {0, 1}


async def test_the_end_waits_for_requests_and_a_second_signal_does_not(make: Make) -> None:
    hub = make()
    hub.new_code(drain_s=1)
    await asyncio.to_thread(hub.start)
    slow = asyncio.to_thread(hub.get, "/slow")
    asking = asyncio.create_task(slow)
    await asyncio.to_thread(until, (hub.folder / "asked").exists, "the request")
    hub.signal(signal.SIGTERM)
    await asyncio.to_thread(until, lambda: _drains(hub) == 1, "the drain")
    (hub.folder / "answer").touch()
    assert (await asking)["worker"] in (0, 1)
    assert await asyncio.to_thread(hub.wait) == 0
    hub.new_code(drain_s=100)
    await asyncio.to_thread(hub.start)
    hub.signal(signal.SIGTERM)
    await asyncio.to_thread(until, lambda: _drains(hub) == 2, "the drain")
    hub.signal(signal.SIGTERM)
    assert await asyncio.to_thread(hub.wait) == 0
    assert hub.logged("second_signal")


def _drains(hub: SmallHub) -> int:
    """How often a parent of this hub began to drain; its workers say so in words of their own."""
    return len([record for record in hub.logged("draining") if record["logger"] == "hub"])


def test_one_data_folder_serves_one_hub(hub: SmallHub, make: Make) -> None:
    second = make(data_dir=str(hub.folder / "data"))
    assert second.launch().wait() == 2
    assert f"{hub.folder}/data/workers is in use by process {hub.parent.pid}" in second.said()


def test_a_port_that_another_hub_listens_on_is_refused_though_it_could_be_shared(hub: SmallHub, make: Make) -> None:
    second = make(port=hub.port)
    assert second.launch().wait() == 2
    assert f"port {hub.port}: Address already in use" in second.said()


def test_valkey_keeps_what_it_has_and_is_started_again(make: Make) -> None:
    hub = make(redis_url=None).start()
    workers = {answer["pid"] for answer in hub.workers().values()}
    (valkey,) = set(children(hub.parent.pid)) - workers
    path = listening(valkey)["valkey.sock"]
    assert path.stat().st_mode & 0o077 == 0
    kept = list((hub.folder / "data/valkey").rglob("*"))
    assert kept
    assert [each for each in kept if each.stat().st_mode & 0o077] == []
    assert _ask(path, "SET", "a", "1") == b"+OK"
    assert _ask(path, "CONFIG", "GET", "appendfsync").endswith(b"always")
    kill(valkey)
    until(lambda: hub.logged("valkey_restarted"), "its successor")
    assert _ask(path, "GET", "a").endswith(b"1")
    assert {answer["pid"] for answer in hub.workers().values()} == workers
    (valkey,) = set(children(hub.parent.pid)) - workers
    hub.signal(signal.SIGTERM)
    assert hub.wait() == 0
    assert not alive(valkey)
    assert not path.parent.exists()


def _ask(path: Path, *words: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall((" ".join(words) + "\r\n").encode())
        return client.recv(4096).strip()
