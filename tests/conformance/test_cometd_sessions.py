"""Sessions through mishaps, as CometD's suites check them (docs/protocol/bayeux.md#cometd-suites): expiry, restarts, reloads, races,
duplicates.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance.clients import is_reply
from tests.conformance.delivery import heard, succeeded
from tests.conformance.expiry import expired
from tests.conformance.plugin import NOT_OFFERED_TEXT
from tests.conformance.rules import HTTP, SHOULD, rule

BAD = {"authentication": {"token": "bad"}}


@rule("4.1.no-loop", "who shakes hands after 402 gets a session like any other: its advice is to retry, and its connects are held")
async def test_a_new_session_after_expiry(server: Any, client: Any) -> None:
    """CometDAdviceTest: advice of the old session must not reach into the new one. SlowConnectionTest: swept is not sent away for good."""
    reply = await expired(server, client)
    assert reply["advice"]["reconnect"] == "handshake"
    again = await client.start()
    assert again["advice"]["reconnect"] == "retry"
    held = await client.hold()
    assert (await held.reply()).get("advice", {}).get("reconnect", "retry") == "retry"


@rule("4.1.expired.publish", "what a client whose session has ended publishes or subscribes to fails; nothing of it applies", SHOULD)
async def test_requests_after_expiry(server: Any, client: Any, new_session: Any, channel: str) -> None:
    """CometDReconnectAfterServerExpirationTest, HandshakeWithExpiredSessionTest."""
    await succeeded(client.subscribe(channel))
    await expired(server, client)
    other = await new_session()
    await succeeded(other.subscribe(channel))
    assert (await client.publish(channel, "late"))["successful"] is False
    assert (await client.subscribe(channel))["successful"] is False
    assert await heard(other, other, [], channel) == []


@rule("4.1.expired.forgotten", "subscriptions end with their session: after a new handshake nothing of the old ones comes", SHOULD)
async def test_subscriptions_after_expiry(server: Any, client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await expired(server, client)
    await client.start()
    publisher = await new_session()
    await succeeded(client.subscribe(f"{channel}/end"))
    assert await heard(client, publisher, [channel], f"{channel}/end") == []


@rule("4.1.redeploy", "a server that was started again knows no session of before: 402, and a handshake goes through")
async def test_redeploy(server: Any, client: Any) -> None:
    """CometDRedeployTest, ServerRestartTest."""
    if server.hub is None:
        pytest.skip(NOT_OFFERED_TEXT + "the suite can start its own hub again, and no other server")
    old = client.client_id
    await client.close()
    await asyncio.to_thread(server.hub.restart)
    reply = await client.connect(clientId=old)
    assert (reply["successful"], reply["advice"]["reconnect"]) == (False, "handshake")
    await client.start()


@rule("4.1.reload", "a page that is loaded again goes on in its session by the clientId and the cookie, and misses nothing", SHOULD)
async def test_reload(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    """CometDReloadExtensionTest: the old connections are cut, a new page speaks for the same session."""
    publisher = await new_session()
    await succeeded(client.subscribe(channel))
    await client.hold()
    await client.close()
    await succeeded(publisher.publish(channel, 1))
    page = new_client(**({"cookies": client.cookies} if hasattr(client, "cookies") else {}))
    page.client_id = client.client_id
    await succeeded(publisher.publish(channel, 2))
    assert (await page.connect(timeout=0))["successful"] is True
    await succeeded(publisher.publish(channel, 3))
    assert [event["data"] for event in await page.receive(3)] == [1, 2, 3]


@rule("4.1.reload.subscribe", "it subscribes again to what it was subscribed to: no error, and each message comes once", SHOULD)
async def test_reload_subscribes_again(client: Any, new_client: Any, new_session: Any, channel: str) -> None:
    publisher = await new_session()
    await succeeded(client.subscribe(channel))
    await client.close()
    page = new_client(**({"cookies": client.cookies} if hasattr(client, "cookies") else {}))
    page.client_id = client.client_id
    assert (await page.connect(timeout=0))["successful"] is True
    await succeeded(page.subscribe(channel), page.subscribe(f"{channel}/end"))
    assert [event["data"] for event in await heard(page, publisher, [channel], f"{channel}/end")] == [channel]


@rule("4.1.denied", "after a handshake that was denied nothing is served: subscribe, publish and connect fail")
async def test_after_a_denied_handshake(new_client: Any, channel: str) -> None:
    """CometDMessagesAfterFailedHandshakeTest."""
    client = new_client(token=None)
    reply = await client.handshake(ext=BAD)
    if reply["successful"]:
        pytest.skip(NOT_OFFERED_TEXT + "the server lets everybody in")
    assert reply.get("advice", {}).get("reconnect") in {"none", "handshake"}
    for answer in (await client.subscribe(channel), await client.publish(channel, 1), await client.connect(timeout=0)):
        assert answer["successful"] is False


@rule("4.1.many", "requests that are sent without waiting for answers are each answered once", SHOULD)
async def test_many_publishes_at_once(client: Any, channel: str) -> None:
    """CometDMultiPublishTest."""
    pending = [await client.send(client.message(channel, data=number)) for number in range(30)]
    replies = [await one.reply() for one in pending]
    assert [reply["successful"] for reply in replies] == [True] * 30
    assert [reply["id"] for reply in replies] == [one.messages[0]["id"] for one in pending]


@rule("4.1.batch", "a batch is processed in its order, each message as the one before it left things")
async def test_batch(client: Any, channel: str) -> None:
    """CometDBatchPublishTest, MessageProcessingOrderTest."""
    subscribe = client.message("/meta/subscribe", subscription=channel)
    unsubscribe = client.message("/meta/unsubscribe", subscription=channel)
    publishes = [client.message(channel, data=number) for number in range(3)]
    came = await client.exchange(publishes[0], subscribe, publishes[1], unsubscribe, publishes[2])
    assert [reply["successful"] for reply in came if is_reply(reply)] == [True] * 5
    assert [event["data"] for event in await client.receive()] == [1]
    await succeeded(client.subscribe(f"{channel}/end"))
    assert await heard(client, client, [], f"{channel}/end") == []


@rule("4.1.no-storm", "connect after connect while one is held: each takes the place of the last, and none of them makes a storm")
async def test_duplicates_make_no_storm(client: Any) -> None:
    """CometDDuplicateMetaConnectTest, DuplicateMetaConnectTest: the newest is held as if it had been alone."""
    for _ in range(10):
        newest = await client.hold()
    assert not newest.done
    reply = await newest.reply()
    assert reply["successful"] is True
    assert reply.get("advice", {}).get("reconnect", "retry") == "retry"


@rule("4.2.connect-and-disconnect", "a connect and a disconnect that are sent at once are both answered, and the session is over")
async def test_connect_and_disconnect_at_once(new_session: Any) -> None:
    """ConcurrentConnectDisconnectTest, in both orders."""
    for order in (True, False):
        client = await new_session()
        messages = [client.connect_message(), client.message("/meta/disconnect")]
        pending = [await client.send(message) for message in (messages if order else reversed(messages))]
        for one in pending:
            await one.reply()
        assert (await client.connect(timeout=0))["successful"] is False


@rule("4.2.publish-and-disconnect", "what is published and subscribed at once with a disconnect is answered, and leaves nothing behind")
async def test_publish_subscribe_and_disconnect_at_once(client: Any, new_session: Any, channel: str) -> None:
    """ConcurrentDisconnectSubscribePublishTest."""
    other = await new_session()
    await succeeded(other.subscribe(f"{channel}/end"))
    messages = [
        client.message("/meta/subscribe", subscription=channel),
        client.message("/meta/disconnect"),
        client.message(channel, data=1),
        client.message("/meta/subscribe", subscription=f"{channel}/late"),
    ]
    for one in [await client.send(message) for message in messages]:
        assert (await one.reply())["channel"] == one.messages[0]["channel"]
    assert (await client.connect(timeout=0))["successful"] is False
    assert await heard(other, other, [channel, f"{channel}/late"], f"{channel}/end") == []


@rule("4.2.handshakes", "handshakes that come at once give as many sessions, each of which is served", SHOULD)
async def test_handshakes_at_once(new_client: Any, channel: str) -> None:
    """OrphanedSessionTest's first half, ConcurrentHandshake: nobody gets another's id."""
    clients = [new_client() for _ in range(12)]
    await asyncio.gather(*(client.start() for client in clients))
    assert len({client.client_id for client in clients}) == 12
    for client in clients:
        await succeeded(client.subscribe(channel))
    await succeeded(clients[0].publish(channel, "all"))
    assert [(await client.receive())[0]["data"] for client in clients] == ["all"] * 12


@rule("4.2.high-rate", "many messages in little time arrive all, in order, none twice", SHOULD)
async def test_high_rate(client: Any, new_session: Any, channel: str) -> None:
    """HighRateServerEventsTest."""
    publisher = await new_session()
    await succeeded(client.subscribe(channel))
    for start in range(0, 400, 40):
        await publisher.exchange(*(publisher.message(channel, data=number) for number in range(start, start + 40)))
    assert [event["data"] for event in await client.receive(400)] == list(range(400))


@rule("4.2.lost-response", "a client that went before it had its response, and comes back in time, is still served", SHOULD, HTTP)
async def test_lost_responses(client: Any, new_session: Any, channel: str) -> None:
    """MetaConnectFailureTest, SimulatedNetworkFailureTest: the connection breaks under a held connect, again and again."""
    publisher = await new_session()
    await succeeded(client.subscribe(channel))
    for number in range(3):
        held = await client.hold()
        await held.abandon()
        await client.settle()
        await succeeded(publisher.publish(channel, number))
        assert [event["data"] for event in await client.receive()] == [number]


@rule("4.2.large", "a message near the limit arrives whole", SHOULD)
async def test_large_message(client: Any, channel: str, transport: str) -> None:
    """SlowConnectionTest's large message, MaxMessageSizeTest. Scripts carry as much as a request line may be long."""
    text = "x" * (4_000 if transport == "callback-polling" else 60_000)
    await succeeded(client.subscribe(channel), client.publish(channel, text))
    assert [event["data"] for event in await client.receive()] == [text]
