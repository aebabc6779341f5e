"""/meta/disconnect: the session is over at once (docs/protocol/bayeux.md#disconnect)."""

from __future__ import annotations

from typing import Any

from tests.conformance.delivery import heard_until_end, succeeded
from tests.conformance.rules import CHOICE, SHOULD, WEBSOCKET, rule


@rule("1.6.1", "the reply has channel, successful and the id")
async def test_reply(client: Any) -> None:
    reply = await client.disconnect(id="bye")
    assert (reply["channel"], reply["successful"], reply["id"]) == ("/meta/disconnect", True, "bye")


@rule("1.6.2", "afterwards the clientId is unknown, to every channel")
async def test_session_is_over(client: Any, channel: str) -> None:
    await client.disconnect()
    for reply in (
        await client.connect(),
        await client.publish(channel, 1),
        await client.subscribe(channel),
        await client.unsubscribe(channel),
        await client.disconnect(),
    ):
        assert reply["successful"] is False
        assert reply["error"]


@rule("1.6.3", "the held connect is answered")
async def test_held_connect_ends(client: Any) -> None:
    held = await client.hold(id="held")
    assert (await client.disconnect())["successful"] is True
    assert (await held.reply())["id"] == "held"


@rule("1.6.4", "the held connect is answered with success and reconnect none", CHOICE)
async def test_advice_of_the_held_connect(client: Any) -> None:
    held = await client.hold()
    await client.disconnect()
    reply = await held.reply()
    assert (reply["successful"], reply["advice"]["reconnect"]) == (True, "none")


@rule("1.6.5", "the subscriptions are over: others are served, the one that left is not", SHOULD)
async def test_subscriptions_are_over(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    await succeeded(client.subscribe(f"{channel}/**"), other.subscribe(f"{channel}/**"))
    await client.disconnect()
    await client.start()
    await succeeded(client.subscribe(f"{channel}/end"))
    await other.publish(f"{channel}/after", 1)
    assert await heard_until_end(client, other, f"{channel}/end") == []
    assert [event["channel"] for event in await other.receive(2)] == [f"{channel}/after", f"{channel}/end"]


@rule("1.6.6", "a disconnect of an unknown session is answered 402::session_unknown, without advice", CHOICE)
async def test_unknown_session(new_client: Any) -> None:
    reply = await new_client().disconnect(clientId="0000000000000000000000")
    assert (reply["successful"], reply["error"]) == (False, "402::session_unknown")
    assert "advice" not in reply


@rule("1.6.7", "messages behind a disconnect in the same request find no session", SHOULD)
async def test_behind_it_in_a_batch(client: Any, channel: str) -> None:
    replies = await client.exchange(
        client.message("/meta/subscribe", subscription=channel), client.message("/meta/disconnect"), client.message(f"{channel}/x", data=1)
    )
    assert [reply["successful"] for reply in replies] == [True, True, False]


@rule("1.6.8", "a WebSocket serves another session after a disconnect", SHOULD, [WEBSOCKET])
async def test_socket_lives_on(client: Any, channel: str) -> None:
    await client.disconnect()
    await client.start()
    await succeeded(client.subscribe(channel))
    await client.publish(channel, 1)
    assert [event["data"] for event in await client.receive()] == [1]


@rule("1.6.9", "other sessions of the same client are not touched by a disconnect")
async def test_other_sessions_live_on(client: Any, channel: str) -> None:
    first = client.client_id
    await client.start()
    await client.disconnect()
    assert (await client.publish(channel, 1, clientId=first))["successful"] is True
