"""PyPI's aiocometd-ng over both of its transports."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet

SCRIPT = Path(__file__).with_name("aiocometd_puppet.py")

_numbers = itertools.count()

Connect = Callable[..., Puppet]


@pytest.fixture(params=["websocket", "long-polling"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A connected client of one transport."""
    started: list[Puppet] = []

    def make(hub: HubProcess, *, token: str = HubProcess.token, path: str = "/cometd") -> Puppet:
        puppet = Puppet(SCRIPT.name, program=sys.executable, folder=SCRIPT.parent)
        started.append(puppet)
        assert puppet.call("open", f"{hub.url}{path}", request.param, token) == request.param
        return puppet

    yield make
    for puppet in started:
        puppet.close()


@pytest.fixture
def channel() -> str:
    return f"/test/aiocometd/{next(_numbers)}"


def test_publish_and_receive(demo_hub: HubProcess, connect: Connect, channel: str) -> None:
    client = connect(demo_hub)
    client.call("subscribe", channel)
    reply = client.call("publish", channel, {"hi": "Grüße"})
    assert (reply["successful"], reply["channel"]) == (True, channel)
    assert client.message() == {"channel": channel, "data": {"hi": "Grüße"}}


def test_two_clients(demo_hub: HubProcess, connect: Connect, channel: str) -> None:
    left, right = connect(demo_hub), connect(demo_hub)
    right.call("subscribe", f"{channel}/**")
    for number in range(10):
        left.call("publish", f"{channel}/{number}", {"number": number})
    assert [right.message()["data"]["number"] for _ in range(10)] == list(range(10))


def test_unsubscribe(demo_hub: HubProcess, connect: Connect, channel: str) -> None:
    client = connect(demo_hub)
    client.call("subscribe", f"{channel}/a")
    client.call("subscribe", f"{channel}/b")
    client.call("unsubscribe", f"{channel}/a")
    client.call("publish", f"{channel}/a", {"heard": False})
    client.call("publish", f"{channel}/b", {"heard": True})
    assert client.message()["data"] == {"heard": True}


def test_refused_subscription(demo_hub: HubProcess, connect: Connect) -> None:
    client = connect(demo_hub)
    with pytest.raises(AssertionError, match=r"40[35]:[a-z]*:"):
        client.call("subscribe", "/a/*/b")


def test_refused_token(demo_hub: HubProcess, connect: Connect) -> None:
    with pytest.raises(AssertionError, match="403::handshake_denied"):
        connect(demo_hub, token="wrong")


def test_disconnect(demo_hub: HubProcess, connect: Connect) -> None:
    client = connect(demo_hub)
    client.call("close")
    with pytest.raises(AssertionError, match="ClientInvalidOperation"):
        client.call("subscribe", "/x")


def test_hub_restarts_in_the_middle(hub_process: HubFactory, connect: Connect, channel: str) -> None:
    """The library shakes hands and subscribes again by itself. (Told to by a hub that stops in good order, it takes the milliseconds of
    ``advice.interval`` for seconds, and comes back much later than a test can wait.)
    """
    hub = hub_process()
    client = connect(hub)
    client.call("subscribe", channel)
    hub.kill9()
    hub.start()
    other = connect(hub)
    for attempt in range(100):  # until the client is back nobody hears what is published
        other.call("publish", channel, {"attempt": attempt})
        try:
            assert "attempt" in client.message(timeout=0.3)["data"]
        except AssertionError:
            continue
        return
    pytest.fail("nothing was delivered within 30 s of the restart")
