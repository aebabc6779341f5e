"""The acknowledge extension: every message at least once, in order, on any transport (docs/protocol/bayeux.md#acknowledge)."""

from __future__ import annotations

from typing import Any

from tests.conformance.clients import is_reply
from tests.conformance.delivery import succeeded
from tests.conformance.rules import CHOICE, LONG_POLLING, SHOULD, WEBSOCKET, rule


async def acknowledging(client: Any) -> Any:
    """Shake hands with the extension, and connect once: batch 1 is there."""
    reply = await client.handshake(ext={"ack": True})
    assert reply["ext"]["ack"], reply
    client.delivers_on_connect = True
    assert await fetch(client, 0) == ([], 1)
    return client


async def fetch(client: Any, seen: int, timeout: int | None = 0, **members: Any) -> tuple[list[Any], int]:
    """Connect, having seen batch ``seen``; returns the data of the events that come, and the number of their batch."""
    *events, reply = await client.exchange(client.connect_message(timeout=timeout, ext={"ack": seen}, **members))
    assert (reply["channel"], reply["successful"]) == ("/meta/connect", True)
    assert not any(is_reply(event) for event in events)
    return [event["data"] for event in events], reply["ext"]["ack"]


@rule("2.2.1", "a handshake with ext.ack true is answered with ext.ack true", SHOULD)
async def test_negotiation(new_client: Any) -> None:
    ack = (await new_client().handshake(ext={"ack": True}))["ext"]["ack"]
    assert ack is True or ack["enabled"] is True


@rule("2.2.2", "without ext.ack, or with ack false, the extension is off: no numbers, and events as ever", SHOULD)
async def test_off(new_client: Any, new_session: Any, channel: str) -> None:
    publisher = await new_session()
    for ext in (None, {"ack": False}):
        client = new_client()
        reply = await client.handshake(ext=ext)
        assert not reply.get("ext", {}).get("ack", False)
        assert "ack" not in (await client.connect(timeout=0)).get("ext", {})
        await succeeded(client.subscribe(channel))
        await publisher.publish(channel, 1)
        assert [event["data"] for event in await client.receive()] == [1]


@rule("2.2.3", "the replies to connects are numbered 1, 2, 3, also those without events", SHOULD)
async def test_numbers(new_client: Any) -> None:
    client = await acknowledging(new_client())
    assert [await fetch(client, seen) for seen in (1, 2, 3)] == [([], 2), ([], 3), ([], 4)]


@rule("2.2.4", "events come with the reply to a connect, before it, and bear its number", SHOULD)
async def test_events_come_numbered(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, "a")
    await publisher.publish(channel, "b")
    assert await fetch(client, 1) == (["a", "b"], 2)
    assert await fetch(client, 2) == ([], 3)


@rule("2.2.5", "what was not acknowledged comes again, as often as it is not, before what is newer", SHOULD)
async def test_again(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, "old")
    assert await fetch(client, 1) == (["old"], 2)
    assert await fetch(client, 1) == (["old"], 3)
    await publisher.publish(channel, "new")
    assert await fetch(client, 1) == (["old", "new"], 4)
    assert await fetch(client, 4) == ([], 5)


@rule("2.2.6", "an acknowledgement ends every batch up to its number, and no later one", SHOULD)
async def test_up_to_a_number(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, 2)
    assert await fetch(client, 1) == ([2], 2)
    await publisher.publish(channel, 3)
    assert await fetch(client, 1) == ([2, 3], 3)
    await publisher.publish(channel, 4)
    assert await fetch(client, 2) == ([3, 4], 4)
    assert await fetch(client, 3) == ([4], 5)
    assert await fetch(client, 5) == ([], 6)


@rule("2.2.7", "a connect that leaves something unacknowledged is answered at once", SHOULD)
async def test_at_once(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, 1)
    assert await fetch(client, 1) == ([1], 2)
    held = await publisher.hold()
    assert await fetch(client, 1, timeout=None) == ([1], 3)
    assert not held.done


@rule("2.2.8", "a connect that acknowledges everything is held, and an event ends it", SHOULD)
async def test_held(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    held = await client.hold(ext={"ack": 1})
    await publisher.publish(channel, "wake")
    event, reply = await held.result()
    assert (event["data"], reply["channel"], reply["ext"]["ack"]) == ("wake", "/meta/connect", 2)


@rule("2.2.9", "a held connect whose time is over is numbered too", SHOULD)
async def test_empty_hold(new_client: Any) -> None:
    client = await acknowledging(new_client())
    assert await fetch(client, 1, timeout=200) == ([], 2)
    assert await fetch(client, 2, timeout=200) == ([], 3)


@rule("2.2.10", "on a WebSocket too events come with connect replies only", SHOULD, [WEBSOCKET])
async def test_nothing_is_pushed(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, 1)
    await succeeded(client.subscribe(f"{channel}/other"))
    await client.settle()
    assert list(client.events) == []
    assert await fetch(client, 1) == ([1], 2)


@rule("2.2.11", "the publisher's own message comes with a connect reply, not with the publish's", SHOULD)
async def test_own_copy(new_client: Any, channel: str) -> None:
    client = await acknowledging(new_client())
    await succeeded(client.subscribe(channel))
    assert [message["channel"] for message in await client.exchange(client.message(channel, data=1))] == [channel]
    assert list(client.events) == []
    assert await fetch(client, 1) == ([1], 2)


@rule("2.2.12", "replies are not stored: only events come again", SHOULD)
async def test_replies_do_not_come_again(new_client: Any, channel: str) -> None:
    client = await acknowledging(new_client())
    await succeeded(client.subscribe(channel), client.publish(channel, 1), client.unsubscribe(channel))
    for number in (2, 3):
        assert await fetch(client, 1) == ([1], number)


@rule("2.2.13", "a connect beside other messages is numbered and carries events too", SHOULD)
async def test_in_a_batch(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, 1)
    connect = client.connect_message(ext={"ack": 1})
    messages = await client.exchange(connect, client.message("/meta/subscribe", subscription=f"{channel}/x"))
    assert [message["data"] for message in messages if not is_reply(message)] == [1]
    assert [message["ext"]["ack"] for message in messages if message.get("id") == connect["id"]] == [2]


@rule("2.2.14", "a new handshake begins again with 1, and nothing of the old session comes", SHOULD)
async def test_new_handshake(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, 1)
    await fetch(client, 1)
    await acknowledging(client)
    assert await fetch(client, 1) == ([], 2)


@rule("2.2.15", "an event that went out with a response nobody took comes again", SHOULD, [LONG_POLLING])
async def test_lost_response(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    held = await client.hold(ext={"ack": 1})
    await held.abandon()
    await publisher.publish(channel, "once")
    data, number = await fetch(client, 1)
    assert data == ["once"]
    assert (await fetch(client, number))[0] == []


@rule("2.2.16", "what a connect took with it that a newer one replaced is not lost", SHOULD, [LONG_POLLING])
async def test_duplicate_connect(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    async with client.build_messages(client.connect_message(ext={"ack": 1})) as first:
        await first.send()
        await client.settle()
        second = await client.hold(ext={"ack": 1})
        assert (await first.response()).status >= 400
        await publisher.publish(channel, "kept")
        event, reply = await second.result()
    assert event["data"] == "kept"
    assert await fetch(client, reply["ext"]["ack"] - 1) == (["kept"], reply["ext"]["ack"] + 1)


@rule(
    "2.2.17",
    "on a new WebSocket what the old one did not acknowledge comes again: a page that was reloaded misses nothing",
    SHOULD,
    [WEBSOCKET],
)
async def test_new_socket(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    await publisher.publish(channel, "shown")
    assert await fetch(client, 1) == (["shown"], 2)
    await client.close()
    await publisher.publish(channel, "missed")
    again = new_client()
    again.client_id = client.client_id
    assert await fetch(again, 1) == (["shown", "missed"], 3)
    assert await fetch(again, 3) == ([], 4)


@rule("2.2.18", "a connect that fails has no number", CHOICE)
async def test_unknown_session(new_client: Any) -> None:
    reply = await new_client().connect(clientId="0000000000000000000000", ext={"ack": 1})
    assert reply["successful"] is False
    assert "ack" not in reply.get("ext", {})


@rule("2.2.19", "many events in many batches come all, in order, none twice when each is acknowledged", SHOULD)
async def test_in_order(new_client: Any, new_session: Any, channel: str) -> None:
    client, publisher = await acknowledging(new_client()), await new_session()
    await succeeded(client.subscribe(channel))
    seen, got = 1, []
    for start in range(0, 50, 10):
        await publisher.exchange(*(publisher.message(channel, data=number) for number in range(start, start + 10)))
        data, seen = await fetch(client, seen)
        got += data
    assert got == list(range(50))
    assert seen == 6
