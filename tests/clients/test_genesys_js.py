"""The Statistics API's own JavaScript client library (npm genesys-statistics-client-js 9.0.2), unmodified, on Node.js."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.foreign import KINDS, Connect
from tests.conftest import HubFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import Event, Puppet

pytestmark = pytest.mark.node

Genesys = Callable[..., Puppet]

_numbers = itertools.count()

READY_TIME = {
    "notificationMode": "Periodical",
    "notificationFrequency": 10,
    "insensitivity": 1,
    "category": "TotalAdjustedTime",
    "subject": "DNStatus",
    "intervalType": "GrowingWindow",
    "mainMask": "WaitForNextCall",
    "dynamicTimeProfile": "00:00",
    "dynamicFilter": "Media=voice",
    "maskType": "DN",
}
"""The sample definition of the API's documentation."""


@pytest.fixture
def genesys(connect: Connect) -> Genesys:
    """Start the library against a hub; ``initialized=False`` leaves ``initialize`` to the test."""
    (kind,) = (kind for kind in KINDS if kind.library == "genesys")

    def start(hub: HubProcess, *, initialized: bool = True) -> Puppet:
        client = connect(hub, kind, handshake=False)
        if initialized:
            client.call("initialize", hub.token)
            client.wait("initialized")
        return client

    return start


@pytest.fixture
def agent() -> str:
    """An agent whom no other test and no simulator knows."""
    return f"client-test-{next(_numbers)}"


def event(kind: str, agent: str, **data: Any) -> dict[str, Any]:
    """A CloudEvent of now."""
    now = datetime.datetime.now(datetime.UTC).isoformat()
    return {"id": f"{agent}-{next(_numbers)}", "type": kind, "time": now, "data": {"agentId": agent, **data}}


def state_of(agent: str, statistic_id: str = "state") -> dict[str, Any]:
    return {"statisticId": statistic_id, "objectId": agent, "objectType": "Agent", "name": "CurrentAgentState"}


def update_of(client: Puppet, statistic_id: str, value: Callable[[Event], bool] = lambda _: True) -> Event:
    """Wait for an update of one statistic whose value the condition holds for; returns its item."""

    def items(found: Event) -> list[Event]:
        statistics = found["data"]["data"]["statistics"]
        return [item for item in statistics if item["statisticId"] == statistic_id and value(item["value"])]

    return items(client.wait("updates", lambda found: bool(items(found))))[0]


def service_state(client: Puppet, state: str) -> Event:
    """Wait for a service event with that state."""
    return client.wait("service", lambda found: found["data"]["data"]["serviceState"] == state)


def test_initialize_tells_the_service_state(demo_hub: HubProcess, genesys: Genesys) -> None:
    client = genesys(demo_hub)
    found = service_state(client, "AVAILABLE")
    assert found["data"] == {"name": "ServiceStateChange", "topic": "/statistics/v3/service", "data": {"serviceState": "AVAILABLE"}}


def test_initialize_sets_the_session_cookie(demo_hub: HubProcess, genesys: Genesys) -> None:
    client = genesys(demo_hub)
    names = [cookie.partition("=")[0] for cookie in client.call("cookies")]
    assert "STATISTICS_SESSIONID" in names
    assert "BAYEUX_BROWSER" in names


def test_create_subscription(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    ready = {"statisticId": "ready", "objectId": agent, "objectType": "Agent", "definition": READY_TIME}
    reply = client.call("createSubscription", "UUID1", [state_of(agent), ready])
    assert reply["status"]["code"] == 0
    assert (reply["data"]["subscriptionId"], reply["data"]["operationId"]) == ("UUID1", "UUID1")
    state, ready_time = reply["data"]["statistics"]
    assert (state["statisticId"], state["name"], state["objectId"], state["objectType"]) == ("state", "CurrentAgentState", agent, "Agent")
    assert state["value"]["stringValue"] == "LoggedOut"
    assert (ready_time["statisticId"], ready_time["value"]["intValue"]) == ("ready", 0)
    assert all(isinstance(item["timestamp"], int) for item in (state, ready_time))


def test_create_subscription_without_verbose(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    reply = client.call("createSubscription", "quiet", [state_of(agent)], False)
    (item,) = reply["data"]["statistics"]
    assert set(item) == {"statisticId", "value", "timestamp"}


def test_some_statistics_fail(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    bad = {"statisticId": "bad", "objectId": agent, "objectType": "Agent", "name": "NoSuchStatistic"}
    reply = client.call("createSubscription", "partial", [state_of(agent), bad])
    assert reply["status"]["code"] == 2
    assert [item["statisticId"] for item in reply["data"]["statistics"]] == ["state"]
    (error,) = reply["errors"]
    assert error["status"]["detail"] == {"statisticId": "bad", "field": "name"}


def test_updates_follow_events(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    client.call("createSubscription", "walk", [state_of(agent)])
    demo_hub.feed(event("cx.agent.login", agent))
    demo_hub.feed(event("cx.agent.ready", agent))
    item = update_of(client, "state", lambda value: value["stringValue"] == "WaitForNextCall")
    assert item["subscriptionId"] == "walk"
    assert item["value"]["intValue"] == 4
    assert item["value"]["stateValue"]["agentId"] == agent
    demo_hub.feed(event("cx.agent.notready", agent))
    assert update_of(client, "state", lambda value: value["stringValue"] == "NotReadyForNextCall")["value"]["intValue"] == 8


def test_update_made_right_after_creating_is_not_missed(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    """The application creates its subscription before the library's own Bayeux subscribe has reached the hub."""
    client = genesys(demo_hub, initialized=False)
    client.call("initializeHeld", demo_hub.token)
    client.wait("initialized")
    client.call("createSubscription", "race", [state_of(agent)])
    client.call("release")
    assert update_of(client, "state")["value"]["stringValue"] == "LoggedOut"


def test_peek(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    client.call("createSubscription", "peeked", [state_of(agent, "a"), state_of(agent, "b"), state_of(agent, "c")])
    every = client.call("peek", "peeked")
    assert [item["statisticId"] for item in every["data"]["statistics"]] == ["a", "b", "c"]
    some = client.call("peek", "peeked", ["c", "a"])
    assert sorted(item["statisticId"] for item in some["data"]["statistics"]) == ["a", "c"]
    quiet = client.call("peek", "peeked", ["b"], False)
    assert set(quiet["data"]["statistics"][0]) == {"statisticId", "value", "timestamp"}


def test_peek_of_what_is_not_there(demo_hub: HubProcess, genesys: Genesys) -> None:
    client = genesys(demo_hub)
    with pytest.raises(AssertionError, match="Not Found"):
        client.call("peek", "never-created")


def test_single_value(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    demo_hub.feed(event("cx.agent.login", agent), event("cx.agent.notready", agent))
    client = genesys(demo_hub)
    reply = client.call("value", "CurrentAgentState", agent, "Agent")
    assert reply["status"]["code"] == 0
    assert reply["data"]["statistic"]["value"]["stringValue"] == "NotReadyForNextCall"


def test_several_values(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    names = ["CurrentAgentState", "TimeInCurrentState"]
    reply = client.call("values", [{"name": name, "objectId": agent, "objectType": "Agent"} for name in names])
    assert [item["name"] for item in reply["data"]["statistics"]] == names
    assert {item["objectId"] for item in reply["data"]["statistics"]} == {agent}


def test_delete_subscription(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    client.call("createSubscription", "short", [state_of(agent)])
    client.call("deleteSubscription", "short")
    with pytest.raises(AssertionError, match="Not Found"):
        client.call("peek", "short")
    client.call("deleteSubscription", "short")  # again: a delete of what is gone is well


def test_two_applications_of_one_token_are_apart(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    left, right = genesys(demo_hub), genesys(demo_hub)
    left.call("createSubscription", "left", [state_of(agent, "left")])
    right.call("createSubscription", "right", [state_of(agent, "right")])
    demo_hub.feed(event("cx.agent.login", agent), event("cx.agent.notready", agent))
    for client, own in ((left, "left"), (right, "right")):
        update_of(client, own, lambda value: value["stringValue"] == "NotReadyForNextCall")
        assert {item["statisticId"] for found in client.waiting("updates") for item in found["data"]["data"]["statistics"]} <= {own}


def test_refused_token(demo_hub: HubProcess, genesys: Genesys) -> None:
    """The library never initialises, keeps trying, and the hub stays well."""
    client = genesys(demo_hub, initialized=False)
    client.call("initialize", "wrong")
    for _ in range(2):
        assert not client.meta("/meta/handshake")["successful"]
    assert client.waiting("initialized") == []
    with pytest.raises(AssertionError, match="Unauthorized"):
        client.call("value", "CurrentAgentState", "x", "Agent")


def test_destroy_ends_the_subscriptions(demo_hub: HubProcess, genesys: Genesys, agent: str) -> None:
    client = genesys(demo_hub)
    client.call("createSubscription", "destroyed", [state_of(agent)])
    client.meta("/meta/connect", lambda message: message["successful"])
    client.call("destroy")
    assert client.meta("/meta/disconnect")["successful"]
    with pytest.raises(AssertionError, match="Not Found"):
        client.call("peek", "destroyed")


def test_hub_restarts_in_the_middle(hub_process: HubFactory, genesys: Genesys, agent: str) -> None:
    """The library shakes hands and subscribes again by itself; the application, told AVAILABLE again, creates its subscription again."""
    hub = hub_process()
    client = genesys(hub)
    service_state(client, "AVAILABLE")
    client.call("createSubscription", "again", [state_of(agent)])
    hub.feed(event("cx.agent.login", agent), event("cx.agent.notready", agent))
    hub.restart()
    service_state(client, "AVAILABLE")
    reply = client.call("createSubscription", "again", [state_of(agent)])
    assert reply["data"]["statistics"][0]["value"]["stringValue"] == "NotReadyForNextCall"  # the hub's memory outlived the restart
    hub.feed(event("cx.agent.ready", agent))
    update_of(client, "state", lambda value: value["stringValue"] == "WaitForNextCall")


def test_stat_server_stops_and_starts(hub_process: HubFactory, genesys: Genesys, agent: str) -> None:
    hub = hub_process()
    client = genesys(hub)
    service_state(client, "AVAILABLE")
    client.call("createSubscription", "dropped", [state_of(agent)])
    assert hub.post("/api/v1/stat-server/stop").status_code == 200
    service_state(client, "UNAVAILABLE")
    with pytest.raises(AssertionError, match="Service Unavailable"):
        client.call("createSubscription", "refused", [state_of(agent)])
    assert hub.post("/api/v1/stat-server/start").status_code == 200
    service_state(client, "AVAILABLE")
    with pytest.raises(AssertionError, match="Not Found"):
        client.call("peek", "dropped")
    assert client.call("createSubscription", "new", [state_of(agent)])["status"]["code"] == 0
