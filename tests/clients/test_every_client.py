"""What every Bayeux client must be able to do, over every transport that it has."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.clients.foreign import KINDS, Connect, Kind
from tests.clients.raw import RawSession
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet

pytestmark = pytest.mark.node

SHORT_HOLD = {"HUB_LIMITS__TIMEOUT_MS": "500"}
BACK_WITHIN_S = 30.0
MANY = 300
LARGE = 30_000
"""Characters that become 60,000 bytes: close to the longest message that there may be."""


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def data(number: Any) -> dict[str, Any]:
    """Data that every library can publish: an object."""
    return {"number": number}


def numbers(client: Puppet, count: int) -> list[Any]:
    """The next messages' numbers."""
    return [client.message()["data"]["number"] for _ in range(count)]


def test_handshake_negotiates_the_transport(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)  # one library only chooses when it has something to say
    assert client.call("status")["transport"] == kind.transport


def test_refused_token(demo_hub: HubProcess, connect: Connect, kind: Kind) -> None:
    """On the statistics path bad headers are refused by HTTP status, as REST refuses them."""
    client = connect(demo_hub, kind, handshake=False)
    reply = client.call("handshake", {"token": "wrong"})
    assert not reply["successful"]
    assert reply.get("error") == ("403::handshake_denied" if kind.library != "genesys" else None)


def test_own_copy_comes_back(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    assert client.call("subscribe", channel)["successful"]
    assert client.call("publish", channel, data(1))["successful"]
    assert client.message() == {"channel": channel, "data": data(1)}


def test_publish_both_ways(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    left, right = connect(demo_hub, kind), connect(demo_hub, kind)
    left.call("subscribe", f"{channel}/left")
    right.call("subscribe", f"{channel}/right")
    left.call("publish", f"{channel}/right", data("to the right"))
    right.call("publish", f"{channel}/left", data("to the left"))
    assert left.message()["data"] == data("to the left")
    assert right.message()["data"] == data("to the right")


def test_two_sessions_of_one_token_are_apart(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    staying, leaving = connect(demo_hub, kind), connect(demo_hub, kind)
    for client in (staying, leaving):
        client.call("subscribe", channel)
    assert staying.call("status")["clientId"] != leaving.call("status")["clientId"]
    assert leaving.call("disconnect")["successful"]
    staying.call("publish", channel, data("after"))
    assert staying.message()["data"] == data("after")


def test_batch_keeps_its_order(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    """What one client publishes is heard by another in that order; together where the library has batches, else one after the other."""
    sender, receiver = connect(demo_hub, kind), connect(demo_hub, kind)
    receiver.call("subscribe", channel)
    count = kind.largest_batch
    if kind.batches:
        replies = sender.call("publishBatch", [[channel, data(number)] for number in range(count)])
    else:
        replies = [sender.call("publish", channel, data(number)) for number in range(count)]
    assert all(reply["successful"] for reply in replies)
    assert numbers(receiver, count) == list(range(count))


def test_many_messages_come_once_and_in_order(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)
    with RawSession(demo_hub) as publisher:
        for first in range(0, MANY, 30):
            publisher.send(*(publisher.message(channel, data(number)) for number in range(first, first + 30)))
    assert numbers(client, MANY) == list(range(MANY))


def test_unsubscribe_ends_delivery(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", f"{channel}/a")
    client.call("subscribe", f"{channel}/b")
    assert client.call("unsubscribe", f"{channel}/a")["successful"]
    client.call("publish", f"{channel}/a", data("unheard"))
    client.call("publish", f"{channel}/b", data("heard"))
    assert client.message()["data"] == data("heard")
    assert client.waiting("message") == []


@pytest.mark.parametrize(("pattern", "below", "deeper"), [("*", True, False), ("**", True, True)])
def test_wildcards(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str, pattern: str, below: bool, deeper: bool) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", f"{channel}/{pattern}")
    client.call("subscribe", f"{channel}-end")
    for name in (channel, f"{channel}/x", f"{channel}/x/y", f"{channel}-end"):
        assert client.call("publish", name, data(name))["successful"]
    client.message(f"{channel}-end")
    heard = [event["message"]["data"]["number"] for event in client.waiting("message")]
    assert heard == [name for name, expected in ((f"{channel}/x", below), (f"{channel}/x/y", deeper)) if expected]


def test_text_beyond_ascii(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    text = 'Grüße, 世界 👋 \u2028 \x00 "quoted" \\'
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)
    client.call("publish", channel, {text: [text]})
    assert client.message()["data"] == {text: [text]}


def test_large_message(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)
    with RawSession(demo_hub) as publisher:
        publisher.send(publisher.message(channel, data("ü" * (LARGE // 3))))
    assert client.message()["data"] == data("ü" * (LARGE // 3))


def test_refusals_leave_the_session_alone(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    assert client.call("subscribe", "/a/*/b")["error"] == "403::subscription_invalid"
    assert client.call("publish", "/statistics/v3/service", {})["error"] == "403:denied:publish_denied"
    client.call("subscribe", channel)
    client.call("publish", channel, data("still here"))
    assert client.message()["data"] == data("still here")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.library != "genesys"], ids=str)  # which is subscribed by itself
def test_snapshot_of_a_state_channel(demo_hub: HubProcess, connect: Connect, kind: Kind) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", "/statistics/v3/service")
    assert client.message()["data"] == {
        "name": "ServiceStateChange",
        "topic": "/statistics/v3/service",
        "data": {"serviceState": "AVAILABLE"},
    }


def test_disconnect_ends_the_session(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)
    client_id = client.call("status")["clientId"]
    assert client.call("disconnect")["successful"]
    with RawSession(demo_hub) as other:
        (reply,) = other.send({"channel": "/meta/connect", "clientId": client_id, "connectionType": "long-polling"})
    assert reply["error"] == "402::session_unknown"


def test_all_clients_hear_each_other(demo_hub: HubProcess, connect: Connect, channel: str) -> None:
    """All libraries at once on one channel: each hears what each says, once.

    The next one speaks when all have heard the last: over long-polling, a client's own message comes with the reply to its publish, on
    another connection than what others said right before.
    """
    clients = [connect(demo_hub, kind) for kind in KINDS]
    for client in clients:
        assert client.call("subscribe", channel)["successful"]
    for kind, client in zip(KINDS, clients, strict=True):
        assert client.call("publish", channel, data(str(kind)))["successful"]
        assert [numbers(client, 1) for client in clients] == [[str(kind)]] * len(clients)
    assert [client.waiting("message") for client in clients] == [[]] * len(clients)


def test_connections_outlive_their_hold(hub_process: HubFactory, connect: Connect, channel: str) -> None:
    """Several hold periods pass; each session stays the same one and hears."""
    hub = hub_process("--demo", environment=SHORT_HOLD)
    clients = [connect(hub, kind) for kind in KINDS]
    for client in clients:
        client.call("subscribe", channel)
    before = [client.call("status")["clientId"] for client in clients]
    time.sleep(2.2)  # four hold periods: nothing is to be seen of a connect that is answered and sent again
    clients[0].call("publish", channel, data("still here"))
    assert [numbers(client, 1) for client in clients] == [["still here"]] * len(clients)
    assert [client.call("status")["clientId"] for client in clients] == before


@pytest.mark.parametrize("end", ["kill9", "stop"])
def test_hub_restarts_in_the_middle(hub_process: HubFactory, connect: Connect, channel: str, end: str) -> None:
    """Every client comes back by itself and is subscribed again, whether the hub died or stopped in good order. (Told to by a hub that
    stops in good order, one library takes the milliseconds of ``advice.interval`` for seconds, and comes back later than a test can wait.)
    """
    hub = hub_process("--demo")
    kinds = [kind for kind in KINDS if end == "kill9" or kind.obeys_interval]
    clients = {str(kind): connect(hub, kind) for kind in kinds}
    for client in clients.values():
        assert client.call("subscribe", channel)["successful"]
    getattr(hub, end)()
    hub.start()
    missing = set(clients)
    until = time.monotonic() + BACK_WITHIN_S
    with RawSession(hub) as publisher:
        while missing and time.monotonic() < until:  # until a client is back it does not hear what is published
            publisher.send(publisher.message(channel, data("anybody?")))
            time.sleep(0.1)
            missing = {name for name in missing if not clients[name].waiting("message")}
    assert missing == set(), f"these did not come back within {BACK_WITHIN_S:.0f} s"
