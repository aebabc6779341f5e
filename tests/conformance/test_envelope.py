"""What holds for every message: arrays, replies, members that nobody knows (docs/protocol/bayeux.md#requests), and the order inside a
response (docs/protocol/bayeux.md#order-in-a-response).
"""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.clients import Client, is_reply
from tests.conformance.delivery import succeeded
from tests.conformance.rules import ALL, CHOICE, HTTP, LONG_POLLING, MUST, SHOULD, WEBSOCKET, rule


@rule("1.2.1", "an array of messages is answered with an array of replies")
async def test_array(client: Client) -> None:
    replies = await client.send_text(json.dumps([client.message("/meta/unsubscribe", subscription="/a") for _ in range(3)]))
    assert [reply["channel"] for reply in replies] == ["/meta/unsubscribe"] * 3


@rule("1.2.2", "a bare object is taken for an array of one message", CHOICE)
async def test_bare_object(client: Client, channel: str) -> None:
    (reply,) = await client.send_text(json.dumps(client.message("/meta/subscribe", subscription=channel)))
    assert reply["successful"] is True


@rule("1.2.3", "over HTTP an empty array is answered with status 400", CHOICE, HTTP)
async def test_empty_array(client: Any) -> None:
    async with client.build("[]") as request:
        await request.send()
        assert (await request.response()).status == 400


@rule("1.2.4", "on a WebSocket an empty array is ignored: old clients keep the connection alive with it", CHOICE, [WEBSOCKET])
async def test_empty_array_on_a_socket(client: Any) -> None:
    await client.connection.send("[]")
    frames = len(client.frames)
    assert (await client.connect(timeout=0))["successful"] is True
    assert len(client.frames) == frames + 1


@rule("1.2.5", "each message is answered by exactly one reply with its channel and its id")
async def test_replies(client: Client, channel: str) -> None:
    sent = [
        client.message("/meta/subscribe", subscription=channel),
        client.message(channel, data=1),
        client.message("/service/conformance", data=1),
        client.message("/meta/unsubscribe", subscription=channel),
        client.message("/meta/subscribe"),
        client.message("/meta/connect", connectionType=client.transport),
    ]
    replies = [message for message in await client.exchange(*sent) if is_reply(message)]
    assert sorted((reply["channel"], reply["id"]) for reply in replies) == sorted((message["channel"], message["id"]) for message in sent)


@rule("1.2.6", "the order of the replies is that of the messages", SHOULD)
async def test_order_of_replies(client: Client, channel: str) -> None:
    sent = [client.message(f"{channel}/{index}", data=index) for index in range(20)]
    assert [reply["id"] for reply in await client.exchange(*sent)] == [message["id"] for message in sent]


@rule("1.2.7", "a message without an id is answered without an id", SHOULD)
async def test_no_id(client: Client, channel: str) -> None:
    (reply,) = await client.exchange(client.message("/meta/subscribe", id=None, subscription=channel))
    assert "id" not in reply


@rule("1.2.8", "an id is echoed as it came, a number as a number", SHOULD)
async def test_id_verbatim(client: Client) -> None:
    for identifier in ("a1B2", "007", 7, "", "x" * 64):
        reply = await client.ask("/meta/unsubscribe", id=identifier, subscription="/a")
        assert (type(reply["id"]), reply["id"]) == (type(identifier), identifier)


@rule("1.2.9", "subscription is echoed as it came: a text as a text, an array as an array", MUST)
async def test_subscription_verbatim(client: Client, channel: str) -> None:
    for subscription in (channel, [channel], [f"{channel}/1", f"{channel}/2"]):
        for meta in ("/meta/subscribe", "/meta/unsubscribe"):
            assert (await client.ask(meta, subscription=subscription))["subscription"] == subscription
    assert (await client.ask("/meta/subscribe", subscription=["/a/*/b"]))["subscription"] == ["/a/*/b"]


@rule("1.2.10", "an event carries neither the publisher's clientId nor its id")
async def test_nothing_leaks(client: Client, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.publish(channel, 1, id="secret")
    (event,) = await client.receive()
    assert (event["channel"], event["data"]) == (channel, 1)
    assert not {"clientId", "id"} & set(event)
    assert publisher.client_id not in json.dumps(event)


@rule("1.2.11", "the publisher's own copy carries neither its clientId nor its id", SHOULD, [WEBSOCKET, LONG_POLLING])
async def test_nothing_leaks_to_itself(client: Client, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await client.publish(channel, 1, id="secret")
    (event,) = await client.receive()
    assert not {"clientId", "id"} & set(event)


@rule("1.2.12", "only the reply to a handshake carries a clientId", CHOICE)
async def test_client_id_in_replies(client: Client, channel: str) -> None:
    replies = [
        await client.subscribe(channel),
        await client.publish(f"{channel}/other", 1),
        await client.connect(timeout=0),
        await client.disconnect(),
    ]
    assert [reply["channel"] for reply in replies if "clientId" in reply] == []


@rule("1.2.13", "ext may stand in any message, and what the server does not know in it is ignored")
async def test_ext(new_client: Any, channel: str) -> None:
    client, ext = new_client(), {"conformance": {"a": [1, None]}}
    for reply in (
        await client.handshake(ext=ext),
        await client.connect(timeout=0, ext=ext),
        await client.subscribe(channel, ext=ext),
        await client.publish(channel, 1, ext=ext),
        await client.unsubscribe(channel, ext={}),
        await client.disconnect(ext=ext),
    ):
        assert reply["successful"] is True


@rule("1.2.14", "the ext of a published message reaches the subscribers", SHOULD)
async def test_ext_is_broadcast(client: Client, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, 1, ext={"conformance": {"a": [1, None, "x"]}})
    (event,) = await client.receive()
    assert event["ext"]["conformance"] == {"a": [1, None, "x"]}


@rule("1.2.15", "a message with members that nobody knows is taken")
async def test_unknown_members(new_client: Any, channel: str) -> None:
    client, more = new_client(), {"conformance": 1, "x-more": {"a": []}, "timestamp": "2026-01-01T00:00:00.00"}
    for reply in (
        await client.handshake(**more),
        await client.connect(timeout=0, **more),
        await client.subscribe(channel, **more),
        await client.publish(channel, 1, **more),
        await client.disconnect(**more),
    ):
        assert reply["successful"] is True


@rule("1.2.16", "members that nobody knows of a published message reach the subscribers", SHOULD)
async def test_unknown_members_are_broadcast(client: Client, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, 1, conformance={"a": [1.5]})
    (event,) = await client.receive()
    assert event["conformance"] == {"a": [1.5]}


@rule("1.2.17", "other requests are answered while a connect is held: two requests at a time are enough")
async def test_two_requests_at_a_time(client: Client, channel: str) -> None:
    held = await client.hold()
    assert (await client.subscribe(channel))["successful"] is True
    assert not held.done
    assert (await held.reply())["successful"] is True


@rule("1.2.18", "what is wrong with one message harms no other of its request", SHOULD)
async def test_faults_stand_alone(client: Client, channel: str) -> None:
    replies = await client.exchange(
        client.message("/meta/subscribe", subscription=f"{channel}/1"),
        client.message("/meta/subscribe"),
        client.message("/a/*/b", data=1),
        client.message("/meta/subscribe", subscription=f"{channel}/2"),
    )
    assert [reply["successful"] for reply in replies] == [True, False, False, True]


@rule("1.2.19", "a member of the wrong type is refused by its name: 400:ext:message_invalid", CHOICE)
async def test_wrong_types(client: Client, channel: str) -> None:
    for member, wrong in (("ext", 1), ("advice", "x")):
        message = client.message(channel, **{"data": 1, member: wrong})
        (reply,) = await client.exchange(message)
        assert (reply["successful"], reply["error"]) == (False, f"400:{member}:message_invalid")


@rule("1.2.20", "no channel: 400::channel_missing", CHOICE)
async def test_no_channel(client: Client) -> None:
    message = client.message("", data=1)
    del message["channel"]
    (reply,) = await client.exchange(message)
    assert (reply["successful"], reply["error"]) == (False, "400::channel_missing")


@rule("1.3.1", "the reply to a connect stands behind the events that it delivers", CHOICE, HTTP)
async def test_events_before_connect_reply(client: Client, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.publish(channel, 1)
    await publisher.publish(channel, 2)
    messages = await client.exchange(client.connect_message())
    assert [message["channel"] for message in messages] == [channel, channel, "/meta/connect"]
    assert [message.get("data") for message in messages] == [1, 2, None]


@rule("1.3.2", "events stand before all replies of a response", CHOICE, [WEBSOCKET, LONG_POLLING])
async def test_events_before_replies(client: Client, channel: str) -> None:
    messages = await client.exchange(
        client.message("/meta/subscribe", subscription=channel), client.message(channel, data=1), client.message(channel, data=2)
    )
    assert [message["channel"] for message in messages] == [channel, channel, "/meta/subscribe", channel, channel]
    assert [is_reply(message) for message in messages] == [False, False, True, True, True]


@rule("1.3.3", "the reply to a handshake stands before everything else", SHOULD, ALL)
async def test_handshake_reply_first(new_client: Any) -> None:
    client = new_client()
    beside = client.message("/meta/subscribe", subscription="/a", clientId="0000000000000000000000")
    messages = await client.exchange(beside, client.handshake_message())
    assert messages[0]["channel"] == "/meta/handshake"
