"""The protocol's extensions with the CometD project's client on Node.js, over a network that loses what is under way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.foreign import KINDS, TOKEN, Connect, Kind
from tests.clients.raw import RawSession
from tests.conftest import SMALL_CENTRE
from tests.support.hub_process import HubProcess
from tests.support.network import Network
from tests.support.puppet import Puppet

pytestmark = pytest.mark.node

WITHIN_S = 20.0
LOG = {"HUB_REPLAY__CHANNELS": "/log/**"}


@pytest.fixture(params=[kind for kind in KINDS if kind.library in {"cometd9", "cometd8"}], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(scope="module")
def log_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("log-hub"), environment=SMALL_CENTRE | LOG)
    try:
        yield hub.start()
    finally:
        hub.close()


def frames(client: Puppet) -> list[dict[str, Any]]:
    """Every message that the client was sent, in order."""
    return [message for text in client.call("received") for message in json.loads(text)]


def until_held(hub: HubProcess) -> None:
    """Wait until the hub holds a connect: the only client's, behind whatever that had to tell."""
    end = time.monotonic() + WITHIN_S
    while metric(hub, "hub_bayeux_connects_held") != 1:
        assert time.monotonic() < end, "the client's connect is not held"
        time.sleep(0.01)


def metric(hub: HubProcess, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", hub.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def numbers(client: Puppet, count: int) -> list[Any]:
    return [client.message()["data"] for _ in range(count)]


def test_batches_are_numbered_one_by_one(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    """Each connect reply has the next number, and the events of a batch stand in front of its number."""
    client = connect(demo_hub, kind, extensions=["AckExtension"])
    client.call("subscribe", channel)
    for number in range(5):
        client.call("publish", channel, number)
        assert numbers(client, 1) == [number]
    heard = frames(client)
    batches = [message["ext"]["ack"] for message in heard if message["channel"] == "/meta/connect"]
    assert batches == list(range(1, len(batches) + 1))
    events = [index for index, message in enumerate(heard) if message["channel"] == channel and "data" in message]
    assert [heard[index]["data"] for index in events] == list(range(5))
    assert all(any(m["channel"] == "/meta/connect" for m in heard[index:]) for index in events)


@pytest.mark.parametrize("lost", [1, 3])
def test_what_was_lost_under_way_comes_again(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str, lost: int) -> None:
    """The hub has sent it, the network has swallowed it: it comes again, once, in order, in the same session."""
    with Network(demo_hub.port) as network, RawSession(demo_hub) as publisher:
        client = connect(demo_hub, kind, url=network.url, extensions=["AckExtension"])
        client.call("subscribe", channel)
        publisher.publish_text(channel, "0")
        assert numbers(client, 1) == [0]
        session = client.call("status")["clientId"]
        until_held(demo_hub)
        network.stall()
        for number in range(1, 1 + lost):
            publisher.publish_text(channel, str(number))
        network.swallowed(at_least=1)
        network.reset()
        network.resume()
        publisher.publish_text(channel, str(1 + lost))
        assert numbers(client, 1 + lost) == list(range(1, 2 + lost))
        assert client.call("status")["clientId"] == session
        assert client.waiting("message") == []


def test_time_is_told(demo_hub: HubProcess, connect: Connect, kind: Kind) -> None:
    client = connect(demo_hub, kind, extensions=["TimeSyncExtension"])
    (told, *_) = (message["ext"]["timesync"] for message in frames(client) if "timesync" in message.get("ext", {}))
    assert set(told) == {"tc", "ts", "p", "a"}
    assert abs(client.call("timesync")["offset"]) < 10_000  # the same machine's clock


@pytest.fixture
def replaying(log_hub: HubProcess, connect: Connect, kind: Kind) -> Callable[..., Puppet]:
    def start(positions: dict[str, int]) -> Puppet:
        client = connect(log_hub, kind, handshake=False, replay=positions)
        assert client.call("handshake", TOKEN)["successful"]
        return client

    return start


@pytest.mark.parametrize("pattern", ["", "/**"], ids=["name", "pattern"])
def test_replay(log_hub: HubProcess, replaying: Callable[..., Puppet], channel: str, pattern: str) -> None:
    """As Salesforce's clients ask for it: all, only new, and from a position."""
    name = f"/log{channel}" if not pattern else f"/log{channel}/a"
    asked = f"/log{channel}{pattern}"
    with RawSession(log_hub) as publisher:
        for number in range(3):
            publisher.publish_text(name, json.dumps({"n": number}))
        everything, new = replaying({asked: -2}), replaying({asked: -1})
        assert everything.call("subscribe", asked)["successful"]
        assert new.call("subscribe", asked)["successful"]
        publisher.publish_text(name, '{"n":3}')
        kept = [everything.message()["data"] for _ in range(4)]
        assert [data["n"] for data in kept] == [0, 1, 2, 3]
        assert [data["n"] for data in numbers(new, 1)] == [3]
        later = replaying({asked: kept[1]["event"]["replayId"]})
        assert later.call("subscribe", asked)["successful"]
        assert [data["n"] for data in numbers(later, 2)] == [2, 3]


def test_replay_goes_on_where_it_was_after_a_restart(log_hub: HubProcess, replaying: Callable[..., Puppet], channel: str) -> None:
    name = f"/log{channel}"
    client = replaying({name: -1})
    client.call("subscribe", name)
    with RawSession(log_hub) as publisher:
        publisher.publish_text(name, '{"n":1}')
    assert [data["n"] for data in numbers(client, 1)] == [1]
    log_hub.kill9()
    log_hub.start()
    with RawSession(log_hub) as publisher:
        publisher.publish_text(name, '{"n":2}')
        publisher.publish_text(name, '{"n":3}')
        assert [data["n"] for data in numbers(client, 2)] == [2, 3]
        assert client.waiting("message") == []


def test_a_position_that_is_not_kept_is_refused(replaying: Callable[..., Puppet], channel: str) -> None:
    reply = replaying({f"/log{channel}": 7}).call("subscribe", f"/log{channel}")
    assert reply["error"].startswith("400::The replayId {7} you provided was invalid.")
