"""Hubs in processes of their own that are one: they find each other, refuse who does not belong, and see who ends, and how."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.hub_process import HubProcess
from tests.support.redis_server import RedisServer

WITHIN_S = 60.0
HANDSHAKE = [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}]


def until(reached: Callable[[], Any], hubs: list[HubProcess]) -> Any:
    """What ``reached`` returns, as soon as it is true."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        if found := reached():
            return found
        time.sleep(0.05)
    raise AssertionError("\n".join(hub.log() for hub in hubs))


def logged(hub: HubProcess, event: str) -> list[dict[str, Any]]:
    """The log's records of one event."""
    lines = hub.log_path.read_text(errors="replace").splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return [record for record in records if record.get("event") == event]


def connect(browser: httpx.Client, hub: HubProcess, client_id: str) -> tuple[int, str]:
    """The status of a connect that is not held, and its error; empty: it succeeded."""
    message = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "long-polling", "advice": {"timeout": 0}}
    answer = browser.post(f"{hub.url}/cometd", json=[message])
    return answer.status_code, answer.json()[0].get("error", "") if answer.status_code == httpx.codes.OK else answer.text


@pytest.fixture
def start(hub_process: Callable[..., HubProcess], shared_redis: Callable[[str], RedisServer], tmp_path: Path) -> Callable[..., HubProcess]:
    """Start a node of one hub."""
    server = shared_redis("redis")
    common = {
        "HUB_LOG_FORMAT": "json",
        "HUB_REDIS_URL": server.url,
        "HUB_REDIS_PREFIX": tmp_path.name[-60:],
        "HUB_SECRET": "the same on all of the nodes",
        "HUB_DRAIN_SECONDS": "0",
    }

    def made(name: str, environment: Mapping[str, str] = {}) -> HubProcess:
        own = {"HUB_LINK_LISTEN": f"unix:{server.folder}/{tmp_path.name[-40:]}-{name}"}
        return hub_process("--open", environment={**common, **own, **environment})

    return made


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    """A client with the cookie by which a session knows its browser."""
    with httpx.Client(timeout=20) as client:
        yield client


def test_a_node_that_is_killed_is_gone_for_the_others(start: Callable[..., HubProcess], browser: httpx.Client) -> None:
    hubs = [start("a"), start("b")]
    for hub in hubs:
        until(lambda hub=hub: logged(hub, "node_joined"), hubs)  # type: ignore[misc]
    incarnations = [logged(hub, "node_joined")[-1]["node"] for hub in reversed(hubs)]
    client_id = browser.post(f"{hubs[0].url}/cometd", json=HANDSHAKE).json()[0]["clientId"]
    owner = hubs[incarnations.index(client_id[:12])]
    (other,) = (hub for hub in hubs if hub is not owner)
    assert connect(browser, other, client_id) == (200, "")
    assert logged(other, "link_made")
    owner.kill9()
    answers: list[tuple[int, str]] = []

    def refused() -> bool:
        answers.append(connect(browser, other, client_id))
        return answers[-1][1].startswith("402")

    until(refused, hubs)
    assert {status for status, _ in answers} <= {200, 503}
    until(lambda: logged(other, "link_broken"), hubs)
    until(lambda: logged(other, "node_left"), hubs)
    assert [record["lapsed"] for record in logged(other, "node_left")] == [True]


def test_a_node_that_does_not_belong_does_not_start_and_one_that_stops_says_so(start: Callable[..., HubProcess]) -> None:
    a = start("a")
    with pytest.raises(RuntimeError, match="secret: expected the same HUB_SECRET on all nodes") as refused:
        start("b", {"HUB_SECRET": "another one than the others have"})
    assert "Traceback" not in str(refused.value)
    with pytest.raises(RuntimeError, match="link_listen: cannot listen on"):
        start("a")
    b = start("b")
    until(lambda: logged(a, "node_joined"), [a, b])
    assert b.stop() == 0
    until(lambda: logged(a, "node_left"), [a, b])
    assert [record["lapsed"] for record in logged(a, "node_left")] == [False]
