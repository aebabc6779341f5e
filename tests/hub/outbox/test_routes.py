"""Endpoints and deliveries by REST, on a whole node, with receivers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from hub.family import Context, Family, Parts
from hub.node import Node
from hub.ops.settings import Settings
from hub.outbox.models import RECORDER, OutboxEvent, Settled
from hub.outbox.service import Outbox
from hub.outbox.settings import OutboxSettings
from hub.outbox.sign import verify, verify_standard
from hub.security.store import Store
from hub.storage.transactions import Transaction
from tests.hub.transports.harness import listening

DEMO = {"Authorization": "Bearer demo-token"}
OUTBOX = OutboxSettings(retry_s=(0.05, 0.05), jitter=0, throttle_s=0.05, allowed_networks=["127.0.0.0/8"])  # type: ignore[list-item]
BOUND_S = 20


class Things:
    """A family's consumer."""

    types = ("thing.started",)
    example_types = ("thing.started",)

    async def consume(self, event: OutboxEvent) -> None:
        """Nothing follows inside the hub."""

    def settled(self, transaction: Transaction, delivery: Settled) -> None:
        """Nobody has to hear of it."""

    def example(self, event_type: str) -> bytes:
        return b'{"example":true}'


def build(_context: Context) -> Parts:
    things = Things()
    return Parts(outbox_consumers=[things], examples=[things])


class Receiver:
    """A receiver that keeps what came, and answers as the test says."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.body = b"thanks"
        self.url = ""
        self.hold: Callable[[web.Request], Awaitable[web.Response]] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """As the test says, else at once."""
        return await (self.hold or self.handle)(request)

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=self.status, body=self.body)


class House:
    """A server, an administrator of its tenant ``demo``, and a receiver."""

    def __init__(self, node: Node, rest: httpx.AsyncClient, receiver: Receiver) -> None:
        self.node = node
        self.rest = rest
        self.receiver = receiver

    @property
    def outbox(self) -> Outbox:
        (found,) = self.node.context.offered(RECORDER)
        return cast("Outbox", found)

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **query: Any) -> Any:
        answer = await self.rest.request(method, f"/api/v1{path}", params=query, json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers.get("cache-control") == "no-store" or status != 200
        return answer.json()["data"] if status == 200 else answer.json()["status"]

    async def add(self, **more: Any) -> Any:
        return await self.ask("POST", "/endpoints", {"url": self.receiver.url, **more})

    async def record(self, key: str = "k", tenant: str = "demo") -> OutboxEvent:
        return await self.node.transactions.write(
            lambda tx: self.node.context.outbox.add(tx, tenant=tenant, type="thing.started", key=key, body=b'{"a":1}')
        )

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not done():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def house_of(folder: Path) -> AsyncIterator[House]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/hook"
    node = Node(Settings(demo=True, data_dir=folder, outbox=OUTBOX), [Family("things", build, webhooks=("thing.started",))])
    try:
        async with listening(node.app, lifespan=True) as hub, httpx.AsyncClient(base_url=f"http://127.0.0.1:{hub}", headers=DEMO) as rest:
            yield House(node, rest, receiver)
    finally:
        await runner.cleanup()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_of(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One hub for all that it refuses: that leaves no trace."""
    async with house_of(tmp_path_factory.mktemp("shared")) as made:
        yield made


on_shared = pytest.mark.asyncio(loop_scope="module")


async def test_an_endpoint_from_beginning_to_end(house: House) -> None:
    made = await house.add(
        types=["thing.*"], media=["chat"], headers={"X-Own": "1"}, description="of the CRM", concurrency=2, success="2xx", throttle="order"
    )
    assert made["throttle"] == "order"
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert await house.ask("GET", "/endpoints") == {"endpoints": [made]}
    path = f"/endpoints/{made['id']}"
    assert await house.ask("GET", path) == made
    changed = await house.ask("PATCH", path, {"enabled": False, "media": []})
    assert changed == {**made, "enabled": False, "media": [], "disabledReason": "by an administrator"}
    assert (await house.ask("PATCH", path, {"enabled": True}))["disabledReason"] == ""
    assert (await house.ask("DELETE", path))["id"] == made["id"]
    assert await house.ask("GET", "/endpoints") == {"endpoints": []}
    assert (await house.ask("GET", path, status=404))["detail"]["field"] == "id"


async def test_an_event_is_posted_with_signatures_that_hold(house: House) -> None:
    secret = (await house.add(headers={"X-Own": "1"}))["secret"]
    event = await house.record()
    await house.until(lambda: len(house.receiver.requests) == 1)
    headers, body = house.receiver.requests[0]
    assert body == b'{"a":1}'
    assert verify(secret, body, headers["x-hub-signature"])
    assert verify(secret, body, headers["x-hub-signature-256"])
    assert verify_standard(secret, body, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    assert (headers["webhook-id"], headers["x-hub-attempt"], headers["x-hub-sequence"], headers["x-b3-traceid"], headers["x-own"]) == (
        f"msg_{event.operation_id}", "1", str(event.id), event.trace_id, "1",
    )  # fmt: skip
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("CX-Event-Hub/")


async def test_both_secrets_sign_after_a_rotation(house: House) -> None:
    made = await house.add(secret="the first one")
    rotated = await house.ask("POST", f"/endpoints/{made['id']}/rotate-secret")
    assert len(rotated["oldSecretsUntil"]) == 1
    await house.record()
    await house.until(lambda: len(house.receiver.requests) == 1)
    headers, body = house.receiver.requests[0]
    for secret in ("the first one", rotated["secret"]):
        assert verify_standard(secret, body, headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"])
    assert verify(rotated["secret"], body, headers["x-hub-signature"])
    own = await house.ask("POST", f"/endpoints/{made['id']}/rotate-secret", {"secret": "one of my own"})
    assert own["secret"] == "one of my own"
    assert len(own["oldSecretsUntil"]) == 2


async def test_deliveries_are_listed_with_their_attempts(house: House) -> None:
    endpoint = (await house.add())["id"]
    event = await house.record("k1")
    await house.until(lambda: house.outbox.counters.delivered == 1)
    (shown,) = (await house.ask("GET", "/deliveries"))["deliveries"]
    assert (shown["endpoint"], shown["type"], shown["key"], shown["state"], shown["attempts"], shown["httpStatus"]) == (
        endpoint, "thing.started", "k1", "delivered", 1, 200,
    )  # fmt: skip
    assert shown["operationId"] == event.operation_id
    detail = await house.ask("GET", f"/deliveries/{shown['id']}")
    assert detail["payload"] == '{"a":1}'
    assert [(each["number"], each["httpStatus"], each["body"], each["bodyBase64"]) for each in detail["log"]] == [(1, 200, "thanks", False)]


async def test_an_answer_that_is_no_text_is_shown_as_base64(house: House) -> None:
    house.receiver.body = b"\xff\x00"
    await house.add()
    await house.record()
    await house.until(lambda: house.outbox.counters.delivered == 1)
    (shown,) = (await house.ask("GET", "/deliveries"))["deliveries"]
    (attempt,) = (await house.ask("GET", f"/deliveries/{shown['id']}"))["log"]
    assert (attempt["body"], attempt["bodyBase64"]) == ("/wA=", True)


async def test_deliveries_by_page_and_by_filter(house: House) -> None:
    endpoint = (await house.add())["id"]
    for number in range(5):
        await house.record(f"k{number}")
    await house.until(lambda: house.outbox.counters.delivered == 5)
    first = await house.ask("GET", "/deliveries", limit=3)
    second = await house.ask("GET", "/deliveries", limit=3, cursor=first["cursor"])
    assert [each["key"] for each in first["deliveries"] + second["deliveries"]] == ["k4", "k3", "k2", "k1", "k0"]
    assert "cursor" not in second
    since = first["deliveries"][0]["createdAt"]
    for query, expected in (
        ({"key": "k2"}, 1),
        ({"state": "dead"}, 0),
        ({"state": "delivered"}, 5),
        ({"endpoint": endpoint}, 5),
        ({"endpoint": "ep_other"}, 0),
        ({"since": since + 60_000}, 0),
        ({"until": since + 60_000}, 5),
    ):
        assert len((await house.ask("GET", "/deliveries", **query))["deliveries"]) == expected, query


async def test_a_dead_delivery_is_replayed(house: House) -> None:
    endpoint = (await house.add())["id"]
    house.receiver.status = 500
    await house.record("a")
    await house.record("b")
    await house.until(lambda: house.outbox.counters.dead == 2)
    dead = (await house.ask("GET", "/deliveries", state="dead"))["deliveries"]
    house.receiver.status = 200
    assert await house.ask("POST", f"/deliveries/{dead[0]['id']}/replay") == {"replayed": 1}
    await house.until(lambda: house.outbox.counters.delivered == 1)
    assert house.receiver.requests[-1][0]["x-hub-attempt"] == "4"
    assert await house.ask("POST", f"/endpoints/{endpoint}/replay", {"since": 0}) == {"replayed": 1}
    await house.until(lambda: house.outbox.counters.delivered == 2)
    assert house.outbox.counters.replayed == 2
    assert await house.ask("POST", f"/endpoints/{endpoint}/replay", {"since": 0}) == {"replayed": 0}


async def test_what_is_under_way_or_has_no_endpoint_any_more_is_not_replayed(house: House) -> None:
    endpoint = (await house.add())["id"]
    house.receiver.status = 500
    await house.record()
    await house.until(lambda: house.outbox.counters.dead == 1)
    (dead,) = (await house.ask("GET", "/deliveries"))["deliveries"]
    await house.ask("PATCH", f"/endpoints/{endpoint}", {"enabled": False})
    assert await house.ask("POST", f"/deliveries/{dead['id']}/replay") == {"replayed": 1}
    assert "is under way" in (await house.ask("POST", f"/deliveries/{dead['id']}/replay", status=409))["message"]
    await house.ask("DELETE", f"/endpoints/{endpoint}")
    assert "was removed" in (await house.ask("POST", f"/deliveries/{dead['id']}/replay", status=409))["message"]
    await house.ask("POST", "/deliveries/999/replay", status=404)


async def test_an_example_is_sent_at_once(house: House) -> None:
    endpoint = (await house.add())["id"]
    shown = await house.ask("POST", f"/endpoints/{endpoint}/send-example")
    assert (shown["httpStatus"], shown["body"]) == (200, "thanks")
    assert json.loads(house.receiver.requests[0][1]) == {"example": True}
    assert (await house.ask("POST", f"/endpoints/{endpoint}/send-example", type="nothing", status=400))["detail"]["field"] == "type"
    assert await house.ask("GET", "/deliveries") == {"deliveries": []}


@on_shared
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://receiver.example/"}, "url"),
        ({"url": "http://user:pass@receiver.example/"}, "url"),
        ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "http://2130706433/"}, None),
        ({"url": "https://receiver.example/#part"}, "url"),
        ({"url": "x" * 3_000}, "url"),
        ({"types": ["a b"]}, "types"),
        ({"types": ["*"]}, "types"),
        ({"media": ["9"]}, "media"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "headers"),
        ({"headers": {"Webhook-Id": "1"}}, "headers"),
        ({"concurrency": -1}, "concurrency"),
        ({"success": "204"}, None),
        ({"secret": "short"}, "secret"),
        ({"description": "x" * 501}, "description"),
        ({"colour": "red"}, None),
    ],
)
async def test_bad_endpoints(shared: House, body: dict[str, Any], field: str | None) -> None:
    answer = await shared.rest.post("/api/v1/endpoints", json={"url": shared.receiver.url, **body})
    if body.get("url") == "http://2130706433/":  # 127.0.0.1, which this hub's settings allow
        assert answer.status_code == 200
        return
    assert answer.status_code == 400, answer.text
    if field is not None:
        assert answer.json()["status"]["detail"]["field"] == field


async def test_another_tenant_sees_and_changes_nothing(house: House) -> None:
    store: Store = house.node.security.store
    await store.add_tenant("other")
    _, token = await store.add_token("other", "ops", ["admin"], expires_ms=None)
    endpoint = (await house.add())["id"]
    await house.record()
    await house.until(lambda: house.outbox.counters.delivered == 1)
    (mine,) = (await house.ask("GET", "/deliveries"))["deliveries"]
    house.rest.headers["Authorization"] = f"Bearer {token}"
    assert await house.ask("GET", "/endpoints") == {"endpoints": []}
    assert await house.ask("GET", "/deliveries") == {"deliveries": []}
    for method, path, body in (
        ("GET", f"/endpoints/{endpoint}", None),
        ("PATCH", f"/endpoints/{endpoint}", {"enabled": False}),
        ("DELETE", f"/endpoints/{endpoint}", None),
        ("POST", f"/endpoints/{endpoint}/rotate-secret", None),
        ("POST", f"/endpoints/{endpoint}/send-example", None),
        ("POST", f"/endpoints/{endpoint}/replay", {"since": 0}),
        ("GET", f"/deliveries/{mine['id']}", None),
        ("POST", f"/deliveries/{mine['id']}/replay", None),
    ):
        await house.ask(method, path, body, status=404)
    await house.record(tenant="other")
    await house.until(lambda: house.outbox.counters.dispatched == 2)
    assert len(house.receiver.requests) == 1


async def test_who_may_not(house: House) -> None:
    store: Store = house.node.security.store
    _, token = await store.add_token("demo", "wall", ["dashboard"], expires_ms=None)
    house.rest.headers["Authorization"] = f"Bearer {token}"
    await house.ask("GET", "/endpoints", status=403)
    await house.ask("POST", "/endpoints", {"url": house.receiver.url}, status=403)


async def test_a_tenant_has_so_many_examples_under_way_and_no_more(house: House) -> None:
    gate = asyncio.Event()
    real = house.receiver.handle

    async def hold(request: web.Request) -> web.Response:
        answer = await real(request)
        await gate.wait()
        return answer

    house.receiver.hold = hold
    endpoint = (await house.add())["id"]
    path = f"/endpoints/{endpoint}/send-example"
    under_way = [asyncio.create_task(house.ask("POST", path)) for _ in range(4)]
    await house.until(lambda: len(house.receiver.requests) == 4)
    assert "at most 4 examples" in (await house.ask("POST", path, status=429))["message"]
    gate.set()
    assert {each["httpStatus"] for each in await asyncio.gather(*under_way)} == {200}
    assert (await house.ask("POST", path))["httpStatus"] == 200


async def test_each_change_of_an_endpoint_is_in_the_audit_log_without_secrets(house: House) -> None:
    made = await house.add(url=f"{house.receiver.url}?token=hidden", headers={"X-Own": "hidden"})
    path = f"/endpoints/{made['id']}"
    await house.ask("PATCH", path, {"enabled": False, "types": ["thing.*"]})
    rotated = await house.ask("POST", f"{path}/rotate-secret")
    await house.ask("DELETE", path)
    await house.ask("PATCH", path, {"enabled": True}, status=404)
    rows = (await house.ask("GET", "/audit"))["rows"]
    found = [(row["event"], row["target"], row.get("before"), row.get("after")) for row in rows if row["event"].startswith("endpoint.")]
    whole = {"url": house.receiver.url, "types": [], "media": [], "headers": ["X-Own"], "enabled": True, "concurrency": 0}
    off = {"enabled": False, "types": ["thing.*"]}
    assert found == [
        ("endpoint.removed", made["id"], {**whole, **off}, None),
        ("endpoint.changed", made["id"], None, {"secret": "rotated"}),
        ("endpoint.changed", made["id"], {"enabled": True, "types": []}, off),
        ("endpoint.added", made["id"], None, whole),
    ]
    told = json.dumps(rows)
    assert not any(secret in told for secret in ("hidden", made["secret"], rotated["secret"]))


async def test_types_that_no_event_has_are_told(house: House) -> None:
    made = await house.add(types=["thing.*", "thing.strated", "things.*", "thing.started"])
    assert made["unknownTypes"] == ["thing.strated", "things.*"]
    path = f"/endpoints/{made['id']}"
    assert (await house.ask("GET", path))["unknownTypes"] == ["thing.strated", "things.*"]
    assert "unknownTypes" not in await house.ask("PATCH", path, {"types": ["thing.started"]})
    assert "unknownTypes" not in await house.ask("PATCH", path, {"types": []})
