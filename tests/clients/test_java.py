"""CometD's clients for Java: version 8 over both transports, and 4.0.4 as the Statistics API's client for Java uses it, with its calls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.foreign import JAVA_KINDS, TOKEN, Connect, Kind, why_no_java
from tests.clients.raw import RawSession
from tests.clients.test_genesys_js import READY_TIME, event, service_state, state_of, update_of
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet

BACK_WITHIN_S = 60.0
SHORT_HOLD = {"HUB_LIMITS__TIMEOUT_MS": "500"}

_numbers = itertools.count()

Statistics = Callable[[], Puppet]


@pytest.fixture(autouse=True)
def java() -> None:
    if why := why_no_java():
        pytest.skip(why)


@pytest.fixture(params=JAVA_KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def agent() -> str:
    """An agent whom no other test and no simulator knows."""
    return f"java-test-{next(_numbers)}"


@pytest.fixture
def statistics(connect: Connect, demo_hub: HubProcess) -> Statistics:
    """Start the Statistics API's client against the demo's hub."""
    (found,) = (kind for kind in JAVA_KINDS if kind.library == "statistics-java")

    def start() -> Puppet:
        client = connect(demo_hub, found, handshake=False)
        client.call("initialize", demo_hub.token)
        client.wait("initialized")
        return client

    return start


# -- Bayeux -------------------------------------------------------------------------------------------------------------


def test_a_client_hears_itself_and_others_until_it_unsubscribes(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client, other = connect(demo_hub, kind), connect(demo_hub, kind)
    assert client.call("status")["transport"] == kind.transport
    for each in (client, other):
        assert each.call("subscribe", channel)["successful"]
    assert client.call("publish", channel, {"text": "Grüße \U0001f600"})["successful"]
    assert [each.message(channel)["data"] for each in (client, other)] == [{"text": "Grüße \U0001f600"}] * 2
    assert client.call("unsubscribe", channel)["successful"]
    other.call("publish", channel, 2)
    assert other.message(channel)["data"] == 2
    assert client.waiting("message") == []
    assert client.call("disconnect")["successful"]


def test_a_batch_arrives_in_order(demo_hub: HubProcess, connect: Connect, kind: Kind, channel: str) -> None:
    client = connect(demo_hub, kind)
    client.call("subscribe", channel)
    replies = client.call("publishBatch", [[channel, number] for number in range(20)])
    assert [reply["successful"] for reply in replies] == [True] * 20
    assert [client.message(channel)["data"] for _ in range(20)] == list(range(20))


def test_a_refused_handshake_is_told(demo_hub: HubProcess, connect: Connect, kind: Kind) -> None:
    client = connect(demo_hub, kind, handshake=False)
    reply = client.call("handshake", {"token": "wrong"})
    assert not reply["successful"]


def test_sessions_outlive_their_holds(hub_process: HubFactory, connect: Connect, channel: str) -> None:
    hub = hub_process("--demo", environment=SHORT_HOLD)
    clients = [connect(hub, kind) for kind in JAVA_KINDS]
    for client in clients:
        client.call("subscribe", channel)
    before = [client.call("status")["clientId"] for client in clients]
    for client in clients:
        for _ in range(5):
            client.meta("/meta/connect", lambda message: message["successful"])
    clients[0].call("publish", channel, "still here")
    assert [client.message(channel)["data"] for client in clients] == ["still here"] * len(clients)
    assert [client.call("status")["clientId"] for client in clients] == before


def test_every_client_comes_back_after_a_hub_died(hub_process: HubFactory, connect: Connect, channel: str) -> None:
    hub = hub_process("--demo")
    clients = {str(kind): connect(hub, kind) for kind in JAVA_KINDS}
    for client in clients.values():
        assert client.call("subscribe", channel)["successful"]
    hub.kill9()
    hub.start()
    missing = set(clients)
    until = time.monotonic() + BACK_WITHIN_S
    with RawSession(hub) as publisher:
        while missing and time.monotonic() < until:  # until a client is back it does not hear what is published
            publisher.send(publisher.message(channel, "anybody?"))
            time.sleep(0.1)
            missing = {name for name in missing if not clients[name].waiting("message")}
    assert missing == set(), f"these did not come back within {BACK_WITHIN_S:.0f} s"


# -- the Statistics API -------------------------------------------------------------------------------------------------


def test_initialize_comes_with_the_cookie_and_then_the_service_state(statistics: Statistics) -> None:
    client = statistics()
    assert service_state(client, "AVAILABLE")["data"]["topic"] == "/statistics/v3/service"
    names = {cookie.partition("=")[0] for cookie in client.call("cookies")}
    assert {"STATISTICS_SESSIONID", "BAYEUX_BROWSER"} <= names


def test_a_subscription_is_created_told_peeked_and_deleted(demo_hub: HubProcess, statistics: Statistics, agent: str) -> None:
    client = statistics()
    ready = {"statisticId": "ready", "objectId": agent, "objectType": "Agent", "definition": READY_TIME}
    reply = client.call("createSubscription", "java", [state_of(agent), ready])
    assert (reply["status"]["code"], reply["data"]["subscriptionId"]) == (0, "java")
    demo_hub.feed(event("cx.agent.login", agent), event("cx.agent.ready", agent))
    item: dict[str, Any] = update_of(client, "state", lambda value: value["stringValue"] == "WaitForNextCall")
    assert item["value"]["intValue"] == 4
    assert isinstance(item["timestamp"], int)
    peeked = client.call("peek", "java", ["ready", "state"])
    assert sorted(each["statisticId"] for each in peeked["data"]["statistics"]) == ["ready", "state"]
    (quiet,) = client.call("peek", "java", ["state"], False)["data"]["statistics"]
    assert set(quiet) == {"statisticId", "value", "timestamp"}
    assert client.call("deleteSubscription", "java")["status"]["code"] == 0
    with pytest.raises(AssertionError, match="404"):
        client.call("peek", "java")


def test_single_values_are_read(demo_hub: HubProcess, statistics: Statistics, agent: str) -> None:
    demo_hub.feed(event("cx.agent.login", agent), event("cx.agent.notready", agent))
    client = statistics()
    one = client.call("value", "CurrentAgentState", agent, "Agent")
    assert one["data"]["statistic"]["value"]["stringValue"] == "NotReadyForNextCall"
    several = client.call("values", [{"name": "CurrentAgentState", "objectId": agent, "objectType": "Agent"}])
    assert [each["value"]["stringValue"] for each in several["data"]["statistics"]] == ["NotReadyForNextCall"]


def test_a_token_that_is_not_known_is_refused(demo_hub: HubProcess, connect: Connect) -> None:
    (found,) = (kind for kind in JAVA_KINDS if kind.library == "statistics-java")
    client = connect(demo_hub, found, handshake=False)
    assert not client.call("handshake", {**TOKEN, "token": "wrong"})["successful"]
