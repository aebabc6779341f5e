"""Publishing: who gets what, and that the data is the publisher's own (docs/protocol/bayeux.md#publish)."""

from __future__ import annotations

import json
from typing import Any

from tests.conformance.clients import is_reply
from tests.conformance.delivery import heard, succeeded
from tests.conformance.rules import CHOICE, HTTP, LONG_POLLING, SHOULD, WEBSOCKET, rule
from tests.conformance.wire import Response


def publish_text(client: Any, channel: str, data: str) -> str:
    """A publish whose data is a JSON text as it stands."""
    return f'[{{"channel":{json.dumps(channel)},"clientId":{json.dumps(client.client_id)},"id":"raw","data":{data}}}]'


async def raw_body(client: Any) -> str:
    """What the next connect, over HTTP, is answered with, as text."""
    async with client.build_messages(client.connect_message()) as request:
        await request.send()
        response: Response = await request.response()
        return response.body.decode("ascii")


@rule("1.8.1", "the reply has channel, successful and the id, and no data")
async def test_reply(client: Any, channel: str) -> None:
    (reply,) = await client.exchange(client.message(channel, data=1, id="pub"))
    assert (reply["channel"], reply["successful"], reply["id"]) == (channel, True, "pub")
    assert "data" not in reply


@rule("1.8.2", "an event has channel and data, and goes to each subscriber of the channel and to nobody else")
async def test_event(client: Any, new_session: Any, channel: str) -> None:
    first, second, stranger = await new_session(), await new_session(), await new_session()
    await succeeded(first.subscribe(channel), second.subscribe(f"{channel[:-33]}/*"), stranger.subscribe(f"{channel}/other"))
    await client.publish(channel, {"a": [1, "x", None]})
    for subscriber in (first, second):
        events = await subscriber.receive_until(lambda event: event["channel"] == channel)
        assert events[-1]["data"] == {"a": [1, "x", None]}
    assert await heard(stranger, client, [], f"{channel}/other") == []


@rule("1.8.3", "data that is false to many languages arrives as it is: an empty text, 0, false, {} and []")
async def test_falsy_data(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    falsy: tuple[Any, ...] = ("", 0, False, {}, [])
    for data in falsy:
        assert (await publisher.publish(channel, data))["successful"] is True
    events = await client.receive(5)
    assert [(type(event["data"]), event["data"]) for event in events] == [(str, ""), (int, 0), (bool, False), (dict, {}), (list, [])]


@rule("1.8.4", "null is data: it is published, and the event has it", CHOICE)
async def test_null(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    assert (await (await new_session()).publish(channel, None))["successful"] is True
    (event,) = await client.receive()
    assert event["data"] is None


@rule("1.8.5", "a publish without data fails: 400::data_missing", CHOICE)
async def test_no_data(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel, f"{channel}/end"))
    reply = await client.ask(channel)
    assert (reply["successful"], reply["error"]) == (False, "400::data_missing")
    assert await heard(client, client, [], f"{channel}/end") == []


@rule(
    "C3.data.verbatim",
    "data reaches subscribers as the publisher's own text: 1.10, 2^64, 1e2, spaces and the order of members",
    CHOICE,
    HTTP,
)
async def test_verbatim(client: Any, new_session: Any, channel: str) -> None:
    text = '{"price": 1.10, "big":18446744073709551616, "e":1e2,"b":-0.0, "a" : [ ],"large":1E+300,"a":"twice"}'
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.send_text(publish_text(publisher, channel, text))
    assert f'"data":{text}' in (await raw_body(client)).replace('"data": ', '"data":')


@rule("1.8.6", "characters outside ASCII arrive as they are")
async def test_non_ascii(client: Any, new_session: Any, channel: str) -> None:
    text = '\u00e9\u4e2d\u2028\U0001f600\u0000\u007f\\"/'
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.publish(channel, {text: text})
    await publisher.send_text(publish_text(publisher, channel, json.dumps({text: text}, ensure_ascii=False).replace("\u0000", "\\u0000")))
    assert [event["data"] for event in await client.receive(2)] == [{text: text}] * 2


@rule("C3.data.ascii", "all that the server sends is ASCII: other characters are escaped", CHOICE, HTTP)
async def test_ascii(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.send_text(publish_text(publisher, channel, '"\u00e9\u4e2d\U0001f600"'))
    assert '"data":"\\u00e9\\u4e2d\\ud83d\\ude00"' in (await raw_body(client)).lower()


@rule("1.8.7", "without a session there is no publish: 402::session_unknown", CHOICE)
async def test_no_session(client: Any, new_client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel, f"{channel}/end"))
    stranger = new_client()
    for claimed in (None, "0000000000000000000000"):
        reply = await stranger.publish(channel, 1, clientId=claimed)
        assert (reply["successful"], reply["error"]) == (False, "402::session_unknown")
    assert await heard(client, client, [], f"{channel}/end") == []


@rule(
    "1.8.8", "a publisher that is subscribed gets its own message in the same response, before the reply", CHOICE, [WEBSOCKET, LONG_POLLING]
)
async def test_own_copy(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    messages = await client.exchange(client.message(channel, data=1))
    assert [(message["channel"], is_reply(message)) for message in messages] == [(channel, False), (channel, True)]


@rule("1.8.9", "a publisher that is subscribed gets its own message", SHOULD)
async def test_own_message(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await client.publish(channel, 1)
    assert [event["data"] for event in await client.receive()] == [1]


@rule("1.8.10", "its own message does not wake the publisher's held connect: it is on the response already", CHOICE, [LONG_POLLING])
async def test_own_copy_wakes_nothing(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    held = await client.hold()
    assert len(await client.exchange(client.message(channel, data=1))) == 2
    assert not held.done
    assert [message["channel"] for message in await held.result()] == ["/meta/connect"]


@rule("1.8.11", "a message comes once, however many of the session's subscriptions match")
async def test_one_copy(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/a", f"{channel}/*", f"{channel}/**", f"{channel}/end"))
    events = await heard(client, await new_session(), [f"{channel}/a"], f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/a"]
    assert len(client.events) == 0


@rule("1.8.12", "publishing to a pattern is refused: 405::channel_invalid", CHOICE)
async def test_wildcard(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/**"))
    for name in (f"{channel}/*", f"{channel}/**"):
        reply = await client.publish(name, 1)
        assert (reply["successful"], reply["error"]) == (False, "405::channel_invalid")
    assert await heard(client, client, [], f"{channel}/end") == []


@rule("1.8.13", "publishing to an unknown channel of the protocol fails with a 403", SHOULD)
async def test_meta(client: Any) -> None:
    for name in ("/meta/nothing", "/meta/subscribe/x", "/meta/handshake/x"):
        reply = await client.publish(name, 1, subscription="/conformance/never")
        assert (reply["channel"], reply["successful"], reply["error"][:4]) == (name, False, "403:")


@rule("1.8.14", "a publish to a service channel is answered", SHOULD)
async def test_service(client: Any) -> None:
    reply = await client.publish("/service/conformance", 1)
    assert (reply["channel"], reply["successful"]) == ("/service/conformance", True)


@rule("1.8.15", "the messages of one publisher on one channel arrive in their order, whether sent in one request or in many")
async def test_order(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    await publisher.exchange(*(publisher.message(channel, data=number) for number in range(10)))
    for number in range(10, 15):
        await publisher.publish(channel, number)
    assert [event["data"] for event in await client.receive(15)] == list(range(15))


@rule("1.8.16", "an event is no reply: it has no successful and no subscription of the publisher's")
async def test_members_of_the_protocol_are_not_broadcast(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, 1, successful=False, error="999::no", advice={"reconnect": "none"}, subscription="/a")
    (event,) = await client.receive()
    assert not {"successful", "error", "advice", "subscription"} & set(event)


# over callback-polling, which has no cookies, a credential decides whose session it is: there this one is another's, and refused
@rule("1.8.17", "credentials in ext.authentication are not broadcast", CHOICE, [WEBSOCKET, LONG_POLLING])
async def test_credentials_are_not_broadcast(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, 1, ext={"authentication": {"token": "not-for-others"}, "more": 1})
    (event,) = await client.receive()
    assert event["ext"] == {"more": 1}


@rule("C3.limits.message", "a message above 64 KiB is refused by itself: 413::message_too_large", CHOICE, [WEBSOCKET, LONG_POLLING])
async def test_too_large(client: Any, channel: str) -> None:
    replies = await client.exchange(client.message(channel, data="x" * 65536), client.message(channel, data=1))
    assert [(reply["successful"], reply.get("error")) for reply in replies] == [(False, "413::message_too_large"), (True, None)]
    assert (await client.publish(channel, "x" * 65000))["successful"] is True


@rule(
    "C3.limits.queue", "at most 1 MiB waits for a client that does not fetch it: of events the newest are dropped", CHOICE, [LONG_POLLING]
)
async def test_queue(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    for number in range(24):
        assert (await publisher.publish(channel, [number, "x" * 60000]))["successful"] is True
    messages = await client.exchange(client.connect_message())
    numbers = [message["data"][0] for message in messages[:-1]]
    assert numbers == list(range(len(numbers)))
    assert 10 <= len(numbers) <= 17
    assert messages[-1]["successful"] is True
