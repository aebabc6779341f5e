"""Two hubs, processes of their own, over one Redis: what is published on one is heard on the other, whatever happens to Redis."""

from __future__ import annotations

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess, run_hub
from tests.support.redis_server import SHARED, RedisServer, persistence

SECRET = "the same on every node"
WITHIN_S = 60.0

Start = Callable[..., RedisServer]


def environment(server: RedisServer) -> dict[str, str]:
    return {"HUB_REDIS_URL": server.url, "HUB_SECRET": SECRET, "HUB_REPLAY__CHANNELS": "/orders/**"}


class Dashboard:
    """A client of ``/ws``."""

    def __init__(self, hub: HubProcess, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: deque[dict[str, Any]] = deque()
        self.events: deque[dict[str, Any]] = deque()
        self.ask({"type": "hello", "token": hub.token})

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and return its answer."""
        self.socket.send(json.dumps(command))
        while not self.answers:
            self.read()
        return self.answers.popleft()

    def read(self) -> None:
        """Take one frame: a message, or several."""
        frame = json.loads(self.socket.recv(timeout=WITHIN_S))
        for message in frame if isinstance(frame, list) else [frame]:
            (self.events if message["type"] == "event" else self.answers).append(message)

    def subscribe(self, *channels: str, since: int | None = None) -> dict[str, Any]:
        return self.ask({"type": "subscribe", "channels": list(channels)} | ({} if since is None else {"since": since}))

    def numbers(self, count: int) -> list[int]:
        """The data of the next messages."""
        while len(self.events) < count:
            self.read()
        return [self.events.popleft()["data"] for _ in range(count)]


Dashboards = Callable[[HubProcess], Dashboard]


@pytest.fixture
def dashboard() -> Iterator[Dashboards]:
    with ExitStack() as stack:
        yield lambda hub: Dashboard(hub, stack.enter_context(connect(f"{hub.ws_url}/ws")))


def publish(hub: HubProcess, channel: str, data: object, **more: object) -> httpx.Response:
    message = {"channel": channel, "data": data, **more}
    return httpx.post(f"{hub.url}/api/v1/publish", json=message, headers=hub.headers, timeout=WITHIN_S)


def publish_until_taken(hub: HubProcess, channel: str, data: object) -> None:
    until = time.monotonic() + WITHIN_S
    while publish(hub, channel, data, id=f"once-{data}").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def readiness(hub: HubProcess) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{hub.url}/readyz", timeout=WITHIN_S).json()
    return answer


@pytest.mark.parametrize("kind", SHARED)
def test_what_is_published_on_one_hub_is_heard_on_the_other(
    shared_redis: Callable[[str], RedisServer], hub_process: HubFactory, dashboard: Dashboards, kind: str
) -> None:
    given = environment(shared_redis(kind)) | {"HUB_REDIS_PREFIX": secrets.token_hex(4)}
    a, b = (hub_process("--demo", environment=given) for _ in range(2))
    client = dashboard(b)
    client.subscribe("/orders/*", "/news")
    assert publish(a, "/orders/1", 1).json()["data"]["position"] > 0
    assert publish(a, "/news", 2).status_code == 200
    assert publish(b, "/orders/2", 3).status_code == 200
    assert publish(a, "/orders/3", 4, subject="demo-admin").status_code == 200
    assert client.numbers(3) == [1, 2, 3]
    late = dashboard(a)
    answer = late.subscribe("/orders/*", since=0)
    assert answer["type"] == "subscribed"
    assert late.numbers(2) == [1, 3]
    until = time.monotonic() + WITHIN_S
    while "hub_redis_pending 0.0" not in (metrics := httpx.get(f"{b.url}/metrics", headers=b.headers).text):
        assert time.monotonic() < until  # the simulator publishes as well
    assert 'hub_redis_received_total{outcome="taken"}' in metrics


def test_a_redis_that_is_away_is_told_and_comes_back(redis_process: Start, hub_process: HubFactory, dashboard: Dashboards) -> None:
    server = redis_process("redis", *persistence("always"))
    a, b = (hub_process("--demo", environment=environment(server)) for _ in range(2))
    client = dashboard(b)
    position = client.subscribe("/orders/*", "/news")["channels"][0]["position"]
    publish_until_taken(a, "/orders/1", 1)
    server.kill()
    assert publish(a, "/orders/1", 2).status_code == 503
    assert httpx.get(f"{a.url}/livez").status_code == 200
    ready = readiness(b)
    assert (ready["status"], ready["parts"]["redis"]["status"]) == ("degraded", "failing")
    assert publish(b, "/news", 3).status_code == 200  # heard on this node alone
    server.start()
    publish_until_taken(a, "/orders/1", 4)
    heard = client.numbers(3)
    assert sorted(heard) == [1, 3, 4]
    late = dashboard(a)
    answer = late.subscribe("/orders/*", since=position)
    assert answer["channels"][0]["recovered"]
    assert late.numbers(2) == [1, 4]
    until = time.monotonic() + WITHIN_S
    while readiness(b)["status"] != "ok":
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_redis_that_evicts_is_refused_at_the_start(redis_process: Start, tmp_path: Any) -> None:
    server = redis_process("redis", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    refused = run_hub(["serve", "--demo", "--port", "0", "--data-dir", str(tmp_path / "data")], tmp_path, environment(server))
    assert refused.returncode != 0
    assert "set it to noeviction" in refused.stderr + refused.stdout


def test_a_hub_without_a_secret_is_refused(redis_process: Start, tmp_path: Any) -> None:
    given = environment(redis_process()) | {"HUB_SECRET": ""}
    refused = run_hub(["serve", "--demo", "--port", "0", "--data-dir", str(tmp_path / "data")], tmp_path, given)
    assert refused.returncode != 0
    assert "secret: expected the same one on each hub" in refused.stderr + refused.stdout
