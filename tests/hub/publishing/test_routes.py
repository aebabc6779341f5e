"""Publishing by REST over real HTTP: who hears it, by Bayeux, /ws and SSE; what is refused; ids; subjects."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect as ws_connect

from hub.client import BayeuxClient
from hub.core.limits import Limits
from hub.core.principal import Action
from hub.node import Node
from hub.ops.settings import Settings
from hub.publishing.recent_ids import PublishCounters
from hub.security.roles import Grant
from tests.hub.transports.harness import listening

BOUND_S = 20.0
PATH = "/api/v1/publish"
LOG = "/log/orders"
FREE = "/free/orders"


class World:
    """A server; callers by name: ``producer``, ``ana`` and ``bo``, who listen, and ``limited``, who may publish below /free alone."""

    def __init__(self, node: Node, port: int) -> None:
        self.node = node
        self.url = f"http://127.0.0.1:{port}"
        self.tokens: dict[str, str] = {}
        self.stack = AsyncExitStack()

    @property
    def counters(self) -> PublishCounters:
        (found,) = (part.counters["publish"] for part in self.node.parts if "publish" in part.counters)
        assert isinstance(found, PublishCounters)
        return found

    async def add(self, name: str, role: str, *, user: str = "") -> None:
        store = self.node.security.store
        _, self.tokens[name] = await store.add_token("demo", user or name, [role])
        await self.node.security.gate.refresh()

    def headers(self, caller: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[caller]}"} if caller else {}

    async def post(self, body: Any, caller: str = "producer", **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers(caller), **more}
        async with httpx.AsyncClient(timeout=BOUND_S) as client:
            return await client.post(f"{self.url}{PATH}", content=content, headers=headers)

    async def published(self, body: Any, caller: str = "producer") -> Any:
        answer = await self.post(body, caller)
        assert (answer.status_code, answer.json()["status"]) == (200, {"code": 0}), answer.text
        return answer.json()["data"]

    async def refused(self, body: Any, caller: str = "producer", **more: Any) -> tuple[int, str]:
        answer = await self.post(body, caller, **more)
        status = answer.json()["status"]
        assert answer.status_code == status["code"] >= 400, answer.text
        return answer.status_code, (status.get("detail") or {}).get("field", "")

    async def bayeux(self, caller: str, channel: str) -> AsyncIterator[Any]:
        client = await self.stack.enter_async_context(BayeuxClient(self.url, token=self.tokens[caller]))
        return aiter(await self.stack.enter_async_context(client.subscribe(channel)))

    async def stream(self, caller: str, channel: str, since: int | None = None) -> AsyncIterator[dict[str, Any]]:
        """The events of an SSE stream that is open."""
        client = await self.stack.enter_async_context(httpx.AsyncClient(timeout=BOUND_S))
        headers = self.headers(caller) | ({} if since is None else {"Last-Event-ID": str(since)})
        opened = await self.stack.enter_async_context(
            client.stream("GET", f"{self.url}/events", params={"channel": channel}, headers=headers)
        )
        assert opened.status_code == 200

        async def events() -> AsyncIterator[dict[str, Any]]:
            kind = ""
            async for line in opened.aiter_lines():
                if line.startswith("event:"):
                    kind = line.removeprefix("event:").strip()
                elif line.startswith("data:") and kind == "message":
                    yield json.loads(line.removeprefix("data:"))

        return events()

    async def dashboard(self, caller: str, channel: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a /ws connection that is subscribed."""
        socket = await self.stack.enter_async_context(
            ws_connect(self.url.replace("http", "ws") + "/ws", additional_headers=self.headers(caller))
        )
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "channels": [channel]}))
        while json.loads(await socket.recv())[0]["type"] != "subscribed":
            pass

        async def events() -> AsyncIterator[dict[str, Any]]:
            async for frame in socket:
                for message in json.loads(frame):
                    if message["type"] == "event":
                        yield message

        return events()

    async def until(self, sessions: int) -> None:
        """Event streams are answered before they are subscribed."""
        async with asyncio.timeout(BOUND_S):
            while sum(len(each.subscriptions) for each in self.node.hub.sessions.by_id.values()) < sessions:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def world_of(folder: Path, **limits: int) -> AsyncIterator[World]:
    settings = Settings(data_dir=folder, demo=True, replay={"channels": ["/log/**"]}, limits=Limits(**limits))
    node = Node(settings, [])
    async with listening(node.app, lifespan=True) as port:
        made = World(node, port)
        for name, role in (("producer", "producer"), ("ana", "dashboard"), ("bo", "dashboard"), ("admin", "admin")):
            await made.add(name, role)
        async with made.stack:
            yield made


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all that it refuses: that leaves no trace."""
    async with world_of(tmp_path_factory.mktemp("shared")) as made:
        yield made


on_shared = pytest.mark.asyncio(loop_scope="module")


async def heard(listener: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(BOUND_S):
        found = [await anext(listener) for _ in range(count)]
    return [each.data if hasattr(each, "data") else each["data"] for each in found]


@pytest.mark.parametrize("channel", [FREE, LOG])
async def test_everybody_hears_it(world: World, channel: str) -> None:
    listeners = [
        await world.bayeux("ana", channel),
        await world.bayeux("ana", channel.replace("orders", "**")),
        await world.stream("bo", channel),
        await world.dashboard("bo", channel.replace("orders", "*")),
    ]
    await world.until(4)
    data = [1, "schön", {"deep": [1, [2, {"a": None}]]}]
    one = await world.published({"channel": channel, "data": data})
    assert set(one) == ({"position"} if channel == LOG else set())
    many = await world.published([{"channel": channel, "data": n} for n in range(200)])
    assert len(many) == 200
    if channel == LOG:
        positions = [one["position"], *(each["position"] for each in many)]
        assert positions == sorted(set(positions))
    for listener in listeners:
        assert await heard(listener, 201) == [data, *range(200)]


async def test_the_data_reaches_subscribers_as_it_came(world: World) -> None:
    listener = await world.dashboard("ana", FREE)
    await world.post(b'{"channel":"/free/orders","data":{"price": 1.10, "big": 18446744073709551616, "n":null}}')
    async with asyncio.timeout(BOUND_S):
        assert (await anext(listener))["data"] == {"price": 1.1, "big": 18446744073709551616, "n": None}
    assert await world.published({"channel": FREE, "data": None}) == {}
    assert await heard(listener, 1) == [None]


@pytest.mark.parametrize("channel", [FREE, LOG])
async def test_to_one_subject_means_all_its_logins_and_nobody_else(world: World, channel: str) -> None:
    await world.add("ana again", "dashboard", user="ana-phone")
    before = await world.published({"channel": LOG, "data": "before"})
    anas = [
        await world.bayeux("ana", channel),
        await world.stream("ana", channel.replace("orders", "**")),
        await world.dashboard("ana", channel.replace("orders", "*")),
    ]
    others = [
        await world.bayeux("bo", channel),
        await world.stream("bo", channel.replace("orders", "**")),
        await world.dashboard("ana again", channel),
    ]
    await world.until(6)
    for n in range(3):
        await world.published([{"channel": channel, "data": n, "subject": "ana"}, {"channel": channel, "data": f"bo {n}", "subject": "bo"}])
    late = await world.dashboard("ana", channel)  # it comes when something was addressed to its subject already
    await world.published({"channel": channel, "data": "last", "subject": "ana"})
    await world.published({"channel": channel, "data": "to all"})
    for listener in anas:
        assert await heard(listener, 5) == [0, 1, 2, "last", "to all"]
    assert await heard(late, 2) == ["last", "to all"]
    assert await heard(others[0], 4) == ["bo 0", "bo 1", "bo 2", "to all"]
    assert await heard(others[1], 4) == ["bo 0", "bo 1", "bo 2", "to all"]
    assert await heard(others[2], 1) == ["to all"]
    if channel == LOG:  # and so does who comes back
        since = before["position"]
        assert await heard(await world.stream("ana", channel, since), 5) == [0, 1, 2, "last", "to all"]
        assert await heard(await world.stream("bo", channel, since), 4) == ["bo 0", "bo 1", "bo 2", "to all"]


async def test_a_subject_that_left_costs_nothing(world: World) -> None:
    async with BayeuxClient(world.url, token=world.tokens["ana"]) as client, client.subscribe(FREE) as mine:
        await world.published({"channel": FREE, "data": 1, "subject": "ana"})
        assert await heard(aiter(mine), 1) == [1]
        assert len(world.node.hub.subjects) == 1
        await world.published({"channel": FREE, "data": 1, "subject": "nobody"})
    async with asyncio.timeout(BOUND_S):
        while len(world.node.hub.subjects):
            await asyncio.sleep(0.005)
    assert not len(world.node.hub.router)


async def test_a_repeated_id_is_published_once(world: World) -> None:
    for channel in (FREE, LOG):
        listener = await world.dashboard("ana", channel)
        message = {"channel": channel, "data": 1, "id": f"one of {channel}"}
        first = await world.published(message)
        assert await world.published(message) == first
        assert await world.published([message, {**message, "id": None}, {"channel": channel, "data": 2, "id": "same"}]) != []
        # of another publisher it is another id
        await world.published(message, "admin")
        assert await heard(listener, 4) == [1, 1, 2, 1]
        together = {"channel": channel, "data": 3, "id": f"together on {channel}"}
        answers = await asyncio.gather(*(world.published(together) for _ in range(10)))
        assert all(answer == answers[0] for answer in answers)
        await world.published({"channel": channel, "data": "end"})
        assert await heard(listener, 2) == [3, "end"]
        await world.published({"channel": channel, "data": "end"})
        # "same" was taken on the first channel
        if channel == FREE:
            assert await world.refused({"channel": channel, "data": 7, "id": "same"}) == (409, "id")
            break
    assert world.counters.repeats == 11


async def test_an_id_is_good_again_after_a_refusal(world: World) -> None:
    await world.add("limited", "dashboard")
    message = {"channel": "/nexus/x", "data": 1, "id": "x"}
    assert await world.refused(message) == (403, "channel")
    assert await world.published({**message, "channel": FREE}) == {}


async def test_ids_are_bounded(tmp_path: Path) -> None:
    async with world_of(tmp_path, max_publish_ids=20) as world:
        for n in range(15):
            await world.published({"channel": FREE, "data": n, "id": str(n)})
        assert "hub_publish_ids 10.0" in world.node.metrics.render()[1].decode()
        assert world.counters.ids_forgotten_early == 5


@on_shared
@pytest.mark.parametrize(
    ("message", "status", "field"),
    [
        ({"data": 1}, 400, "channel"),
        ({"channel": None, "data": 1}, 400, "channel"),
        ({"channel": "", "data": 1}, 400, "channel"),
        ({"channel": 7, "data": 1}, 400, "channel"),
        ({"channel": "orders", "data": 1}, 400, "channel"),
        ({"channel": "/a b", "data": 1}, 400, "channel"),
        ({"channel": "/a/*", "data": 1}, 400, "channel"),
        ({"channel": "/**", "data": 1}, 400, "channel"),
        ({"channel": "/" + "a" * 300, "data": 1}, 400, "channel"),
        ({"channel": "/service/x", "data": 1}, 400, "channel"),
        ({"channel": "/meta/connect", "data": 1}, 403, "channel"),
        ({"channel": "/nexus/v3/interactions", "data": 1}, 403, "channel"),
        ({"channel": "/hub/operations", "data": 1, "subject": "ana"}, 403, "channel"),
        ({"channel": FREE}, 400, "data"),
        ({"channel": FREE, "data": "a" * 70_000}, 413, "data"),
        ({"channel": FREE, "data": 1, "subject": ""}, 400, "subject"),
        ({"channel": FREE, "data": 1, "subject": ["ana"]}, 400, "subject"),
        ({"channel": FREE, "data": 1, "subject": "a\0"}, 400, "subject"),
        ({"channel": FREE, "data": 1, "subject": "a" * 256}, 400, "subject"),
        ({"channel": FREE, "data": 1, "id": 7}, 400, "id"),
        ({"channel": FREE, "data": 1, "id": "a" * 129}, 400, "id"),
        ({"channel": FREE, "data": 1, "to": "ana"}, 400, "to"),
    ],
)
async def test_a_message_that_is_refused(shared: World, message: dict[str, Any], status: int, field: str) -> None:
    assert await shared.refused(message) == (status, field)
    # in a list, for itself
    answer = await shared.post([{"channel": FREE, "data": 1}, message, {"channel": LOG, "data": 2}])
    said = answer.json()
    assert (answer.status_code, said["status"]["code"], len(said["data"])) == (200, 2, 3)
    assert said["data"][0] == {}
    assert said["data"][1]["status"]["code"] == status
    assert said["data"][1]["status"]["detail"]["field"] == field
    assert {"expected", "got"} <= said["data"][1]["status"]["detail"].keys()
    assert set(said["data"][2]) == {"position"}
    # and where none is good, so is the answer
    answer = await shared.post([message, message])
    assert (answer.status_code, answer.json()["status"]["code"], len(answer.json()["data"])) == (status, status, 2)


@on_shared
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b"[1", 400, "body"),
        (b"7", 400, "body"),
        (b'"x"', 400, "body"),
        (b"[]", 400, "body"),
        (b"\xff", 400, "body"),
        (b"[" * 100_000, 400, "body"),
        (b"[" + b",".join([b'{"channel":"/free/a","data":1}'] * 1001) + b"]", 413, "body"),
        (b'{"channel":"/free/a","data":"a megabyte"}', 413, "body"),
        (b'{"channel":"/free/a","data":1e400}', 400, ""),
    ],
)
async def test_a_body_that_is_refused(shared: World, body: bytes, status: int, field: str) -> None:
    answer = await shared.post(body.replace(b"a megabyte", b"a" * 1_100_000))
    assert (answer.status_code, answer.json()["status"]["code"]) == (status, status)
    assert (answer.json()["status"]["detail"]["field"] == field) or not field


@on_shared
async def test_elements_that_are_no_objects(shared: World) -> None:
    answer = await shared.post([1, {"channel": FREE, "data": 1}, "x", None, []])
    assert [each.get("status", {}).get("code") for each in answer.json()["data"]] == [400, None, 400, 400, 400]


async def test_who_may(world: World) -> None:
    message = {"channel": FREE, "data": 1}
    assert await world.refused(message, "") == (401, "")
    assert (await world.post(message, "ana")).status_code == 403
    assert await world.published(message, "admin") == {}
    answer = await world.post(b"{" * 10, "")  # before a byte of the body is looked at
    assert answer.status_code == 401


async def test_each_channel_must_be_granted_too(world: World) -> None:
    grants = (Grant(Action.CALL, ("/publish/write",)), Grant(Action.PUBLISH, ("/free/**",)))
    await world.node.security.store.add_role("demo", "narrow", grants)
    await world.add("narrow", "narrow")
    assert await world.published({"channel": FREE, "data": 1}, "narrow") == {}
    assert await world.refused({"channel": LOG, "data": 1}, "narrow") == (403, "channel")
    assert await world.refused({"channel": LOG, "data": 1, "subject": "ana"}, "narrow") == (403, "channel")


async def test_gzip(world: World) -> None:
    body = json.dumps([{"channel": LOG, "data": "a" * 1000}] * 100).encode()
    answer = await world.post(gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert (answer.status_code, len(answer.json()["data"])) == (200, 100)
    bomb = gzip.compress(b" " * 2_000_000 + body)
    assert await world.refused(bomb, **{"Content-Encoding": "gzip"}) == (413, "body")
    assert (await world.post(body, **{"Content-Encoding": "br"})).status_code == 415


async def test_a_log_that_cannot_be_written_is_503_and_an_id_can_be_sent_again(world: World) -> None:
    await world.node.channel_log.close()
    message = {"channel": LOG, "data": 1, "id": "again"}
    for _ in range(2):
        answer = await world.post(message)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    answer = await world.post([message, message])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await world.published({"channel": FREE, "data": 1}) == {}
