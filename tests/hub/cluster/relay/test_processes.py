"""Three hub processes over one Redis, joined by real links: clients whose requests go to any of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import QUIET_CENTRE
from tests.hub.transports.bayeux_house import BY_TOKEN
from tests.support.hub_process import HubProcess
from tests.support.redis_server import RedisServer

UNKNOWN = "402::session_unknown"
SECRET = "a secret of these three hubs"
SOCKETS_IN = 'hub_relay_sockets_total{direction="in"}'


class Hubs:
    """The processes, by their place; ``relayed`` and the like read their metrics."""

    def __init__(self, redis: RedisServer, count: int) -> None:
        # not pytest's folder: the name of a socket has 107 characters at most
        self.folder = Path(tempfile.mkdtemp(prefix="hub-relay-"))
        self.processes: list[HubProcess] = []
        for number in range(count):
            own = self.folder / str(number)
            own.mkdir()
            environment = {
                "HUB_REDIS_URL": redis.url,
                "HUB_SECRET": SECRET,
                "HUB_LINK_LISTEN": f"unix:{self.folder}/{number}.sock",
                "HUB_CLUSTER__LAPSE_S": "60",  # a node that a test stops is not taken for dead; one that ends is known by its socket
                "HUB_DRAIN_SECONDS": "1",
                **QUIET_CENTRE,
                "HUB_LIMITS__HANDSHAKES_PER_S_PER_ADDRESS": "0",
            }
            self.processes.append(HubProcess(own, ("--demo",), environment))

    def start(self) -> None:
        for process in self.processes:
            process.start()

    async def start_again(self, place: int) -> None:
        """Start a process that has ended, and wait until the others know of its new node."""
        others = [process for process in self.processes if process is not self[place]]
        before = [process.log_path.read_text().count('"node_joined"') for process in others]
        await asyncio.to_thread(self[place].start)
        async with asyncio.timeout(60):
            for process, joined in zip(others, before, strict=True):
                while process.log_path.read_text().count('"node_joined"') == joined:
                    await asyncio.sleep(0.02)

    def close(self) -> None:
        for process in self.processes:
            process.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __getitem__(self, place: int) -> HubProcess:
        return self.processes[place]

    def metric(self, place: int, line: str) -> float:
        text = httpx.get(f"{self[place].url}/metrics", headers=self[place].headers, timeout=10).text
        return sum(float(each.rsplit(" ", 1)[1]) for each in text.splitlines() if each.startswith(line))


@pytest.fixture(scope="module")
def hubs() -> Iterator[Hubs]:
    redis = RedisServer()
    made = Hubs(redis, 3)
    try:
        made.start()
        yield made
    finally:
        made.close()
        redis.close()


class Poller:
    """A long-polling client. Each of its requests goes to the node that it is told, with the cookies of a browser."""

    def __init__(self) -> None:
        self.http = httpx.AsyncClient(timeout=30, trust_env=False)
        self.id = ""
        self.cookie = ""

    async def __aenter__(self) -> Poller:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.http.aclose()

    async def raw(self, node: HubProcess, *messages: dict[str, Any]) -> httpx.Response:
        headers = {"Cookie": self.cookie} if self.cookie else {}
        return await self.http.post(f"http://127.0.0.1:{node.port}/cometd", content=json.dumps(messages), headers=headers)

    async def post(self, node: HubProcess, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        answer = await self.raw(node, *messages)
        assert answer.status_code == 200, answer.text
        replies: list[dict[str, Any]] = answer.json()
        return replies

    async def open(self, node: HubProcess, *subscriptions: str) -> None:
        answer = await self.raw(node, BY_TOKEN)
        self.id = answer.json()[0]["clientId"]
        if "set-cookie" in answer.headers:
            self.cookie = str(answer.headers["set-cookie"]).split(";")[0]
        await self.post(node, self.message("/meta/connect", connectionType="long-polling"))
        for channel in subscriptions:
            (reply,) = await self.post(node, self.message("/meta/subscribe", subscription=channel))
            assert reply["successful"], reply

    def message(self, channel: str, **members: Any) -> dict[str, Any]:
        return {"id": "1", "channel": channel, "clientId": self.id, **members}

    def connect(self, **members: Any) -> dict[str, Any]:
        return self.message("/meta/connect", connectionType="long-polling", **members)


async def held(hubs: Hubs, place: int, number: int = 1) -> None:
    """Wait until a node relays so many connects that are not answered."""
    async with asyncio.timeout(60):
        while hubs.metric(place, "hub_relay_waiting") < number:
            await asyncio.sleep(0.02)


async def test_round_robin_over_three_nodes_loses_and_repeats_nothing(hubs: Hubs) -> None:
    async with Poller() as client, Poller() as publisher:
        await client.open(hubs[0], "/relay/**")
        way = itertools.cycle([hubs[1], hubs[2], hubs[0]])
        await publisher.open(hubs[1])
        got: list[int] = []

        async def listen() -> None:
            while len(got) < 60:
                messages = await client.post(next(way), client.connect())
                got.extend(each["data"] for each in messages if "data" in each)

        listener = asyncio.create_task(listen())
        for number in range(60):
            (reply,) = await publisher.post(hubs[number % 3], publisher.message("/relay/a", data=number))
            assert reply["successful"], reply
        async with asyncio.timeout(30):
            await listener
        assert got == list(range(60))
        assert hubs.metric(0, "hub_relay_unconfirmed_total") == 0
        assert hubs.metric(0, 'hub_relay_requests_total{direction="in"}') > 20


async def test_a_socket_at_another_node_goes_on_with_the_session(hubs: Hubs) -> None:
    async with Poller() as client:
        await client.open(hubs[0], "/socket/a")
        async with connect(f"ws://127.0.0.1:{hubs[2].port}/cometd", additional_headers={"Cookie": client.cookie}, proxy=None) as socket:
            at_once = client.message("/meta/connect", connectionType="websocket", advice={"timeout": 0})
            await socket.send(json.dumps([at_once]))
            async with asyncio.timeout(60):
                (reply,) = json.loads(await socket.recv())  # the owner knows the socket
            assert reply["successful"], reply
            await client.post(hubs[1], client.message("/socket/a", data="polled"))  # its own socket gets it, from the owner
            async with asyncio.timeout(60):
                (event,) = json.loads(await socket.recv())
            assert event["data"] == "polled"
        (reply,) = await client.post(hubs[1], client.message("/meta/disconnect"))
        assert reply["successful"]


async def test_an_owner_that_sleeps_is_answered_503_and_its_session_goes_on(hubs: Hubs) -> None:
    async with Poller() as client:
        await client.open(hubs[0], "/sleep/a")
        connecting = asyncio.create_task(client.raw(hubs[1], client.connect()))
        await held(hubs, 1)
        os.kill(hubs[0].process.pid, signal.SIGSTOP)
        try:
            answer = await connecting  # the client's own limit is 30 s
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        finally:
            os.kill(hubs[0].process.pid, signal.SIGCONT)
        async with asyncio.timeout(60):
            while (answer := await client.raw(hubs[1], client.connect(advice={"timeout": 0}))).status_code == 503:
                await asyncio.sleep(0.1)
        (reply,) = answer.json()
        assert reply["successful"], reply
        event, published = await client.post(hubs[2], client.message("/sleep/a", data=1))
        assert (event["data"], published["successful"]) == (1, True)


async def test_clients_of_a_node_that_was_killed_shake_hands_again_soon(hubs: Hubs) -> None:
    async with Poller() as polling, Poller() as socket_client:
        await polling.open(hubs[0])
        await socket_client.open(hubs[0])
        at_2 = connect(f"ws://127.0.0.1:{hubs[2].port}/cometd", additional_headers={"Cookie": socket_client.cookie}, proxy=None)
        led_before = hubs.metric(0, SOCKETS_IN)
        async with at_2 as socket:
            await socket.send(json.dumps([socket_client.message("/meta/connect", connectionType="websocket")]))
            connecting = asyncio.create_task(polling.raw(hubs[1], polling.connect()))
            await held(hubs, 1)
            async with asyncio.timeout(60):
                while hubs.metric(0, SOCKETS_IN) == led_before:
                    await asyncio.sleep(0.02)
            hubs[0].kill9()
            answer = await connecting
            while answer.status_code == 503:
                await asyncio.sleep(0.2)
                answer = await polling.raw(hubs[1], polling.connect())
            (reply,) = answer.json()
            assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
            assert 0 < reply["advice"]["interval"] <= 5000
            async with asyncio.timeout(60):
                (reply,) = json.loads(await socket.recv())
            assert (reply["channel"], reply["error"]) == ("/meta/connect", UNKNOWN)
            await socket.send(json.dumps([BY_TOKEN]))
            async with asyncio.timeout(60):
                (reply,) = json.loads(await socket.recv())
            assert reply["successful"], reply
        await polling.open(hubs[1])  # its cookie's home is gone: here
    await hubs.start_again(0)


async def test_a_node_that_stops_sends_its_clients_away_by_the_nodes_that_hold_them(hubs: Hubs) -> None:
    async with Poller() as client:
        await client.open(hubs[0])
        connecting = asyncio.create_task(client.raw(hubs[1], client.connect()))
        await held(hubs, 1)
        assert await asyncio.to_thread(hubs[0].stop) == 0
        (reply,) = (await connecting).json()
        assert (reply["error"], reply["advice"]["reconnect"]) == (UNKNOWN, "handshake")
        assert 0 < reply["advice"]["interval"] <= 5000
    await hubs.start_again(0)
