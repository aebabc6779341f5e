"""The CometD project's JavaScript client (npm cometd 9) on Node.js, over WebSocket and over long-polling."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.raw import RawSession
from tests.conftest import HubFactory, NodeFactory
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet

pytestmark = pytest.mark.node

CometD = Callable[..., Puppet]
TOKEN = {"ext": {"authentication": {"token": HubProcess.token}}}
SHORT_LIVES = {"HUB_LIMITS__TIMEOUT_MS": "500", "HUB_LIMITS__MAX_INTERVAL_MS": "1000"}

_numbers = itertools.count()


@pytest.fixture(params=["websocket", "long-polling"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def cometd(node: NodeFactory, transport: str) -> CometD:
    """Start a client of a hub; ``connected=False`` leaves the handshake to the test."""

    def start(hub: HubProcess, *, connected: bool = True, path: str = "/cometd", **options: Any) -> Puppet:
        client = node("cometd.mjs")
        client.call("open", {"url": f"{hub.url}{path}", "transports": [transport], **options})
        if connected:
            reply = client.call("handshake", TOKEN)
            assert reply["successful"], reply
            client.meta("/meta/connect", lambda message: message["successful"])
        return client

    return start


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses: the hub is shared."""
    return f"/test/cometd/{next(_numbers)}"


def test_handshake_negotiates_the_transport(demo_hub: HubProcess, cometd: CometD, transport: str) -> None:
    client = cometd(demo_hub)
    status = client.call("status")
    assert status["transport"] == transport
    # the library adds a maxInterval of its own
    assert {**status["advice"], "maxInterval": 0} == {"reconnect": "retry", "interval": 0, "timeout": 20000, "maxInterval": 0}


def test_handshake_reply_names_all_of_it(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub, connected=False)
    reply = client.call("handshake", TOKEN)
    assert reply["version"] == "1.0"
    assert {"websocket", "long-polling"} <= set(reply["supportedConnectionTypes"])
    assert len(reply["clientId"]) >= 22  # 128 random bits in any usual alphabet


def test_header_credentials(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub, connected=False, headers=demo_hub.headers)
    assert client.call("handshake")["successful"]


def test_api_key(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub, connected=False)
    assert client.call("handshake", {"ext": {"authentication": {"apiKey": HubProcess.api_key}}})["successful"]


def test_own_copy_comes_back(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    assert client.call("subscribe", channel)["successful"]
    assert client.call("publish", channel, {"hi": 1})["successful"]
    assert client.message() == {"channel": channel, "data": {"hi": 1}}


def test_publish_both_ways(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    left, right = cometd(demo_hub), cometd(demo_hub)
    left.call("subscribe", f"{channel}/left")
    right.call("subscribe", f"{channel}/right")
    left.call("publish", f"{channel}/right", "to the right")
    right.call("publish", f"{channel}/left", "to the left")
    assert left.message()["data"] == "to the left"
    assert right.message()["data"] == "to the right"


def test_publisher_is_not_given_away(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    publisher, subscriber = cometd(demo_hub), cometd(demo_hub)
    subscriber.call("subscribe", channel)
    publisher.call("publish", channel, 1)
    assert set(subscriber.message()) == {"channel", "data"}


def test_batch_keeps_its_order(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    replies = client.call("publishBatch", [[channel, number] for number in range(20)])
    assert all(reply["successful"] for reply in replies)
    assert [client.message()["data"] for _ in range(20)] == list(range(20))


def test_unsubscribe_ends_delivery(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", f"{channel}/a")
    client.call("subscribe", f"{channel}/b")
    assert client.call("unsubscribe", f"{channel}/a")["successful"]
    client.call("publish", f"{channel}/a", "unheard")
    client.call("publish", f"{channel}/b", "heard")
    assert client.message()["data"] == "heard"
    assert client.waiting("message") == []


@pytest.mark.parametrize(("pattern", "below", "deeper"), [("*", True, False), ("**", True, True)])
def test_wildcards(demo_hub: HubProcess, cometd: CometD, channel: str, pattern: str, below: bool, deeper: bool) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", f"{channel}/{pattern}")
    for name in (channel, f"{channel}/x", f"{channel}/x/y"):
        assert client.call("publish", name, name)["successful"]
    client.call("subscribe", f"{channel}-end")
    client.call("publish", f"{channel}-end", "end")
    client.message(f"{channel}-end")
    heard = [event["message"]["data"] for event in client.waiting("message")]
    assert heard == [name for name, expected in ((f"{channel}/x", below), (f"{channel}/x/y", deeper)) if expected]


def test_one_copy_for_overlapping_subscriptions(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", f"{channel}/x")
    client.call("subscribe", f"{channel}/**")
    client.call("publish", f"{channel}/x", 1)
    # the library hands one message to both callbacks: two events, not four
    assert {client.wait("message")["subscription"] for _ in range(2)} == {f"{channel}/x", f"{channel}/**"}
    client.call("publish", f"{channel}/x", 2)
    assert [client.message()["data"] for _ in range(2)] == [2, 2]


@pytest.mark.parametrize("data", ["", 0, False, [], {}, [None]], ids=repr)
def test_falsy_data(demo_hub: HubProcess, cometd: CometD, channel: str, data: Any) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    assert client.call("publish", channel, data)["successful"]
    assert client.message()["data"] == data


def test_non_ascii_data(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    text = 'Grüße, 世界 👋 \u2028 \x00 "quoted" \\'
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    client.call("publish", channel, {text: [text]})
    assert client.message()["data"] == {text: [text]}
    assert all(received.isascii() for received in client.call("received"))


def test_numbers_come_through_verbatim(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    data = '{"price":1.10,"id":18446744073709551617,"tiny":1e-400,"e":1E+2}'
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    with RawSession(demo_hub) as publisher:
        publisher.publish_text(channel, data)
    client.message(channel)
    assert any(data in received for received in client.call("received"))


def test_unknown_members_and_ext_are_broadcast(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    client.call("publish", channel, 1, {"ext": {"trace": "t"}, "priority": 3})
    assert client.message() == {"channel": channel, "data": 1, "ext": {"trace": "t"}, "priority": 3}


def test_publish_is_denied_where_only_the_server_speaks(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub)
    reply = client.call("publish", "/statistics/v3/service", {})
    assert (reply["successful"], reply["error"]) == (False, "403:denied:publish_denied")


def test_a_good_session_survives_its_bad_messages(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub)
    assert client.call("subscribe", "/a/*/b")["error"] == "403::subscription_invalid"
    client.call("subscribe", channel)
    client.call("publish", channel, "still here")
    assert client.message()["data"] == "still here"


@pytest.mark.parametrize("authentication", [{"token": "wrong"}, {"apiKey": "wrong"}, None], ids=["token", "key", "none"])
def test_refused_credentials(demo_hub: HubProcess, cometd: CometD, authentication: dict[str, str] | None) -> None:
    client = cometd(demo_hub, connected=False)
    reply = client.call("handshake", {"ext": {"authentication": authentication}} if authentication else {})
    assert (reply["successful"], reply["error"]) == (False, "403::handshake_denied")
    assert reply["advice"] == {"reconnect": "none", "interval": 0, "timeout": 20000}
    assert client.call("status")["status"] == "disconnected"


def test_disconnect(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub)
    assert client.call("disconnect")["successful"]
    assert client.call("status")["status"] == "disconnected"


def test_two_sessions_of_one_token_are_apart(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    staying, leaving = cometd(demo_hub), cometd(demo_hub)
    assert staying.call("status")["clientId"] != leaving.call("status")["clientId"]
    staying.call("subscribe", channel)
    leaving.call("subscribe", channel)
    leaving.call("disconnect")
    staying.call("publish", channel, "after")
    assert staying.message()["data"] == "after"


def test_state_channel_sends_a_snapshot(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub)
    client.call("subscribe", "/statistics/v3/service")
    assert client.message()["data"] == {
        "name": "ServiceStateChange",
        "topic": "/statistics/v3/service",
        "data": {"serviceState": "AVAILABLE"},
    }


def test_long_lived_connection(hub_process: HubFactory, cometd: CometD, channel: str) -> None:
    """Several hold periods pass; the session stays the same one."""
    hub = hub_process("--demo", environment=SHORT_LIVES)
    client = cometd(hub)
    client.call("subscribe", channel)
    before = client.call("status")["clientId"]
    for _ in range(4):
        client.meta("/meta/connect", lambda message: message["successful"])
    client.call("publish", channel, "still here")
    assert client.message()["data"] == "still here"
    assert client.call("status")["clientId"] == before


def test_session_expires_in_a_sleep(hub_process: HubFactory, cometd: CometD, channel: str) -> None:
    """The client sleeps for longer than maxInterval: it shakes hands again and subscribes again, and misses nothing after that."""
    hub = hub_process("--demo", environment=SHORT_LIVES)
    client = cometd(hub)
    client.call("subscribe", channel)
    client.meta("/meta/handshake")
    before = client.call("status")["clientId"]
    client.freeze()
    time.sleep(3)  # the held connect's time, maxInterval and a margin: nothing can be seen of a session that nobody uses
    client.thaw()
    assert client.meta("/meta/handshake")["successful"]
    assert client.meta("/meta/subscribe", lambda message: message["subscription"] == channel)["successful"]
    client.call("publish", channel, "awake")
    assert client.message()["data"] == "awake"
    assert client.call("status")["clientId"] != before


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_hub_restarts_in_the_middle(hub_process: HubFactory, cometd: CometD, channel: str, end: str) -> None:
    hub = hub_process()
    client = cometd(hub)
    client.call("subscribe", channel)
    client.meta("/meta/handshake")
    getattr(hub, end)()
    hub.start()
    assert client.meta("/meta/handshake", lambda message: message["successful"])["successful"]
    assert client.meta("/meta/subscribe", lambda message: message["subscription"] == channel)["successful"]
    client.call("publish", channel, "after the restart")
    assert client.message()["data"] == "after the restart"


def test_ack_and_timesync_extensions_do_no_harm(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    """A client that offers extensions which the hub does not speak works without them."""
    client = cometd(demo_hub, extensions=["ack", "timesync"])
    client.call("subscribe", channel)
    client.call("publish", channel, "x")
    assert client.message()["data"] == "x"


def test_message_type_may_be_part_of_the_path_or_not(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    client = cometd(demo_hub, configuration={"appendMessageTypeToURL": False})
    client.call("subscribe", channel)
    client.call("publish", channel, "x")
    assert client.message()["data"] == "x"


def test_statistics_path(demo_hub: HubProcess, cometd: CometD) -> None:
    client = cometd(demo_hub, connected=False, path="/statistics/v3/notifications", headers=demo_hub.headers)
    assert client.call("handshake")["successful"]
    assert client.call("subscribe", "/statistics/v3/updates")["successful"]
