"""The CometD project's JavaScript client (npm cometd 9) on Node.js: what it can show, and other libraries cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.foreign import KINDS, TOKEN, Connect, Kind
from tests.clients.raw import RawSession
from tests.support.hub_process import HubProcess
from tests.support.puppet import Puppet

pytestmark = pytest.mark.node

CometD = Callable[..., Puppet]


@pytest.fixture(params=[kind for kind in KINDS if kind.library == "cometd9"], ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def cometd(connect: Connect, kind: Kind) -> CometD:
    """Start a client of a hub; ``connected=False`` leaves the handshake to the test."""

    def start(hub: HubProcess, *, connected: bool = True, **options: Any) -> Puppet:
        client = connect(hub, kind, handshake=False, **options)
        if connected:
            reply = client.call("handshake", TOKEN)
            assert reply["successful"], reply
            client.meta("/meta/connect", lambda message: message["successful"])
        return client

    return start


def test_handshake_negotiates_the_transport(demo_hub: HubProcess, cometd: CometD, kind: Kind) -> None:
    client = cometd(demo_hub)
    status = client.call("status")
    assert status["transport"] == kind.transport
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
    assert client.call("handshake", {"apiKey": HubProcess.api_key})["successful"]


def test_publisher_is_not_given_away(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    publisher, subscriber = cometd(demo_hub), cometd(demo_hub)
    subscriber.call("subscribe", channel)
    publisher.call("publish", channel, 1)
    assert set(subscriber.message()) == {"channel", "data"}


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


@pytest.mark.parametrize("authentication", [{"token": "wrong"}, {"apiKey": "wrong"}, None], ids=["token", "key", "none"])
def test_refused_credentials(demo_hub: HubProcess, cometd: CometD, authentication: dict[str, str] | None) -> None:
    client = cometd(demo_hub, connected=False)
    reply = client.call("handshake", authentication)
    assert (reply["successful"], reply["error"]) == (False, "403::handshake_denied")
    assert reply["advice"] == {"reconnect": "none", "interval": 0, "timeout": 20000}
    assert client.call("status")["status"] == "disconnected"


@pytest.mark.parametrize("extension", ["AckExtension", "TimeSyncExtension", "TimeStampExtension"])
def test_extensions_of_the_library(demo_hub: HubProcess, cometd: CometD, channel: str, extension: str) -> None:
    """Whether the hub speaks an extension or not, a client that offers it works."""
    client = cometd(demo_hub, extensions=[extension])
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


def test_a_newer_token_on_the_live_session(demo_hub: HubProcess, cometd: CometD, channel: str) -> None:
    """A bad one is refused, and nothing ends."""
    made = demo_hub.command("token", "add", "demo", "--tenant", "demo", "--role", "admin", "--expires-in", "30d", "--json")
    client = cometd(demo_hub)
    client.call("subscribe", channel)
    refused = client.call("publish", channel, 1, {"ext": {"authentication": {"token": "hubt_wrong"}}})
    assert (refused["successful"], refused["error"]) == (False, "403::credential_denied")
    shown = client.call("publish", channel, 2, {"ext": {"authentication": {"token": json.loads(made)["token"]}}})
    assert shown["successful"], shown
    told = client.meta("/meta/connect", lambda message: "authentication" in message.get("ext", {}))
    assert told["ext"]["authentication"]["expiresIn"] > 29 * 86_400
    assert client.message()["data"] == 2
