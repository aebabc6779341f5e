"""/meta/connect: when it is answered, what it carries, what takes its place, and the clock behind it (docs/protocol/bayeux.md#connect)."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.conformance.clients import is_reply
from tests.conformance.delivery import succeeded
from tests.conformance.expiry import expired
from tests.conformance.rules import CHOICE, HTTP, LONG_POLLING, SHOULD, WEBSOCKET, rule

LONG_MS = 5_000
"""A server that holds connects for longer than this is asked to hold them for a second."""


def bearable(client: Any) -> int | None:
    """The advice.timeout that lets a test wait for a whole hold."""
    return None if client.advice.get("timeout", 60_000) <= LONG_MS else 1_000


@rule("1.5.1", "the reply has channel, successful and the id of the connect")
async def test_reply(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    reply = await client.connect(id="first")
    assert (reply["channel"], reply["successful"], reply["id"]) == ("/meta/connect", True, "first")


@rule("1.5.2", "the first connect of a session is answered at once", SHOULD)
async def test_first_is_answered_at_once(new_client: Any, client: Any) -> None:
    held = await client.hold()
    fresh = new_client()
    await fresh.handshake()
    assert (await fresh.connect())["successful"] is True
    assert not held.done


@rule("1.5.3", "the next connect is held, and answered with success alone when its time is over")
async def test_held(client: Any) -> None:
    held = await client.hold(timeout=bearable(client), id="held")
    (reply,) = await held.result()
    assert (reply["channel"], reply["successful"], reply["id"]) == ("/meta/connect", True, "held")


@rule("1.5.4", "with advice.timeout 0 a connect is answered at once", SHOULD)
async def test_timeout_zero(client: Any, new_session: Any) -> None:
    held = await (await new_session()).hold()
    assert (await client.connect(timeout=0))["successful"] is True
    assert not held.done


@rule("1.5.5", "a shorter advice.timeout of the client is honoured", SHOULD)
async def test_shorter_timeout(client: Any, new_session: Any) -> None:
    short = await client.hold(timeout=200)
    long = await (await new_session()).hold()
    assert (await short.reply())["successful"] is True
    assert not long.done


@rule("1.5.6", "an advice.timeout holds for its own connect only")
async def test_timeout_is_transient(client: Any) -> None:
    await client.connect(timeout=0)
    held = await client.hold()
    assert not held.done


@rule("1.5.7", "a message ends the held connect and stands before its reply", SHOULD, HTTP)
async def test_message_wakes(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    held = await client.hold()
    await (await new_session()).publish(channel, "wake")
    messages = await held.result()
    assert [(message["channel"], message.get("data")) for message in messages] == [(channel, "wake"), ("/meta/connect", None)]


@rule("1.5.8", "what came between two connects is delivered by the next one, at once and in order", SHOULD, HTTP)
async def test_queued(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    publisher = await new_session()
    for data in range(5):
        await publisher.publish(channel, data)
    messages = await client.exchange(client.connect_message())
    assert [message.get("data") for message in messages] == [0, 1, 2, 3, 4, None]


@rule("1.5.9", "a connect beside other messages is processed in its place and never held", SHOULD)
async def test_in_a_batch(client: Any, new_session: Any, channel: str) -> None:
    held = await (await new_session()).hold()
    sent = [client.connect_message(), client.message("/meta/subscribe", subscription=channel)]
    replies = await client.exchange(*sent)
    assert [(reply["channel"], reply["successful"]) for reply in replies] == [("/meta/connect", True), ("/meta/subscribe", True)]
    assert not held.done


@rule("1.5.10", "the first connect may stand beside other messages")
async def test_first_in_a_batch(new_client: Any, channel: str) -> None:
    client = new_client()
    await client.handshake()
    replies = await client.exchange(client.message("/meta/subscribe", subscription=channel), client.connect_message())
    assert [reply["successful"] for reply in replies] == [True, True]


@rule("1.5.11", "a second connect while one is held ends the first with an error status of 400 or more", SHOULD, HTTP)
async def test_duplicate(client: Any) -> None:
    first = client.build_messages(client.connect_message(id="first"))
    async with first:
        await first.send()
        await client.settle()
        second = await client.hold(id="second")
        response = await asyncio.wait_for(first.response(), 10)
        assert response.status >= 400
        assert not second.done
        assert (await second.reply())["id"] == "second"


@rule("C3.duplicate-connect", "the status of a held connect whose place was taken is 500", CHOICE, HTTP)
async def test_status_of_a_duplicate(client: Any) -> None:
    first = client.build_messages(client.connect_message())
    async with first:
        await first.send()
        await client.settle()
        second = await client.hold()
        assert (await asyncio.wait_for(first.response(), 10)).status == 500
        await second.abandon()


@rule("1.5.12", "on a WebSocket a second connect takes the place of the held one, which is not answered", SHOULD, [WEBSOCKET])
async def test_duplicate_on_a_socket(client: Any) -> None:
    first = await client.hold(timeout=bearable(client), id="first")
    second = await client.hold(timeout=bearable(client), id="second")
    assert (await second.reply())["successful"] is True
    await client.connect(timeout=0)
    assert not first.done
    replies = [message["id"] for frame in client.frames for message in frame if message["channel"] == "/meta/connect"]
    assert "first" not in replies


@rule("1.5.13", "after a duplicate connect nothing is lost and nothing comes twice", SHOULD, HTTP)
async def test_nothing_is_lost_by_a_duplicate(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    first = client.build_messages(client.connect_message())
    async with first:
        await first.send()
        await client.settle()
        second = await client.hold()
        await (await new_session()).publish(channel, "once")
        messages = await second.result()
    assert [message.get("data") for message in messages] == ["once", None]
    assert [message["channel"] for message in await client.exchange(client.connect_message(timeout=0))] == ["/meta/connect"]


@rule("1.5.14", "a session without a connect ends: its next connect is answered 402 and told to shake hands", SHOULD)
async def test_expiry(server: Any, client: Any) -> None:
    reply = await expired(server, client)
    assert reply["error"].startswith("402:")
    assert reply["advice"]["reconnect"] == "handshake"


@rule("1.5.15", "a session that never connects ends", SHOULD)
async def test_expiry_without_a_connect(server: Any, new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    assert (await expired(server, client))["error"].startswith("402:")


@rule("1.5.16", "every message of the client keeps its session alive", SHOULD)
async def test_messages_extend(server: Any, client: Any, channel: str) -> None:
    for _ in range(6):
        await asyncio.sleep(server.max_interval_ms / 1000 / 4)
        assert (await client.publish(channel, 1))["successful"] is True
    assert (await client.connect(timeout=0))["successful"] is True


@rule("1.5.17", "a client that goes away while its connect is held misses nothing when it comes back in time", SHOULD, [LONG_POLLING])
async def test_client_that_went_away(client: Any, new_session: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel))
    held = await client.hold()
    await held.abandon()
    await client.settle()
    publisher = await new_session()
    await publisher.publish(channel, 1)
    await publisher.publish(channel, 2)
    assert [event["data"] for event in await client.receive(2)] == [1, 2]


@rule("1.5.18", "events that come while nothing is held do not end a connect of another session", SHOULD)
async def test_others_are_not_woken(client: Any, new_session: Any, channel: str) -> None:
    held = await client.hold()
    other = await new_session()
    await succeeded(other.subscribe(channel))
    await other.publish(channel, 1)
    await other.receive()
    assert not held.done


@rule("C3.advice.connect", "each reply to a connect carries the whole advice: reconnect, interval, timeout", CHOICE)
async def test_whole_advice(client: Any) -> None:
    for _ in range(2):
        advice = (await client.connect(timeout=0))["advice"]
        assert (set(advice), advice["reconnect"], advice["interval"]) == ({"reconnect", "interval", "timeout"}, "retry", 0)
        assert advice == client.advice


@rule("1.5.19", "a client that sends advice gets the server's advice again", SHOULD)
async def test_advice_is_repeated(client: Any) -> None:
    assert (await client.connect(timeout=0))["advice"]["reconnect"] == "retry"
    assert (await client.connect(timeout=0))["advice"]["reconnect"] == "retry"


@rule("1.5.20", "no reply but that to a handshake or a connect carries advice", CHOICE)
async def test_no_advice_elsewhere(client: Any, channel: str) -> None:
    replies = [await client.subscribe(channel), await client.publish(f"{channel}/other", 1), await client.unsubscribe(channel)]
    assert [reply for reply in replies if not is_reply(reply) or "advice" in reply] == []
