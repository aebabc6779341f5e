"""/meta/subscribe and /meta/unsubscribe (docs/protocol/bayeux.md#subscribe), with the hub's choices."""

from __future__ import annotations

from typing import Any

from tests.conformance.delivery import heard, heard_until_end, succeeded
from tests.conformance.rules import CHOICE, LONG_POLLING, MUST, SHOULD, WEBSOCKET, rule

INVALID = "403::subscription_invalid"


@rule("1.7.1", "the reply to a subscribe has channel, successful and subscription")
async def test_reply(client: Any, channel: str) -> None:
    reply = await client.subscribe(channel)
    assert (reply["channel"], reply["successful"], reply["subscription"]) == ("/meta/subscribe", True, channel)


@rule("1.7.2", "an array subscribes to each of its channels", MUST)
async def test_array(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/1", f"{channel}/2/**", f"{channel}/end"))
    events = await heard(client, client, [f"{channel}/1", f"{channel}/2/a", f"{channel}/3"], f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/1", f"{channel}/2/a"]


@rule("C3.subscription-array", "an array with one bad subscription is refused whole, and nothing of it applies", CHOICE)
async def test_array_is_checked_whole(client: Any, channel: str) -> None:
    reply = await client.subscribe(f"{channel}/1", "/a/*/b", f"{channel}/2")
    assert (reply["successful"], reply["error"]) == (False, INVALID)
    await succeeded(client.subscribe(f"{channel}/end"))
    assert await heard(client, client, [f"{channel}/1", f"{channel}/2"], f"{channel}/end") == []


@rule(
    "C3.subscription-array.denied", "an array with one subscription that is not allowed is refused whole, and nothing of it applies", CHOICE
)
async def test_array_is_allowed_whole(client: Any, channel: str) -> None:
    reply = await client.subscribe(f"{channel}/1", "/meta/connect", f"{channel}/2")
    assert reply["successful"] is False
    await succeeded(client.subscribe(f"{channel}/end"))
    assert await heard(client, client, [f"{channel}/1", f"{channel}/2"], f"{channel}/end") == []


@rule("1.7.3", "without subscription: 403::subscription_missing", CHOICE)
async def test_missing(client: Any) -> None:
    for channel in ("/meta/subscribe", "/meta/unsubscribe"):
        reply = await client.ask(channel)
        assert (reply["successful"], reply["error"]) == (False, "403::subscription_missing")


@rule("1.7.4", "a subscribe without subscription fails")
async def test_missing_fails(client: Any) -> None:
    reply = await client.ask("/meta/subscribe")
    assert (reply["successful"], bool(reply["error"])) == (False, True)


@rule("1.7.5", "a subscription that is no text and no array of texts is refused: 403::subscription_invalid", CHOICE)
async def test_of_the_wrong_type(client: Any) -> None:
    kinds: tuple[Any, ...] = (1, {}, True, [], [1], [["/a"]], ["/a", 1])
    for wrong in kinds:
        reply = await client.ask("/meta/subscribe", subscription=wrong)
        assert (reply["successful"], reply["error"], reply["subscription"]) == (False, INVALID, wrong)


@rule("1.7.6", "subscribing twice is no error, and each message still comes once")
async def test_twice(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel), client.subscribe(channel, channel), client.subscribe(f"{channel}/end"))
    assert len(await heard(client, client, [channel], f"{channel}/end")) == 1


@rule("1.7.7", "one unsubscribe takes back any number of subscribes to the same channel", SHOULD)
async def test_one_unsubscribe(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel), client.subscribe(channel), client.subscribe(f"{channel}/end"))
    await succeeded(client.unsubscribe(channel))
    assert await heard(client, client, [channel], f"{channel}/end") == []


@rule("1.7.8", "the reply to an unsubscribe has channel, successful and subscription, and nothing comes any more")
async def test_unsubscribe(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel, f"{channel}/end"))
    reply = await client.unsubscribe(channel)
    assert (reply["channel"], reply["successful"], reply["subscription"]) == ("/meta/unsubscribe", True, channel)
    assert await heard(client, client, [channel], f"{channel}/end") == []


@rule("1.7.9", "an array unsubscribes from each of its channels")
async def test_unsubscribe_from_an_array(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/1", f"{channel}/2", f"{channel}/3", f"{channel}/end"))
    await succeeded(client.unsubscribe(f"{channel}/1", f"{channel}/3"))
    events = await heard(client, client, [f"{channel}/{number}" for number in (1, 2, 3)], f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/2"]


@rule("1.7.10", "an unsubscribe from what one is not subscribed to is no error", CHOICE)
async def test_unsubscribe_from_nothing(client: Any, channel: str) -> None:
    await succeeded(client.unsubscribe(channel), client.unsubscribe(f"{channel}/**", f"{channel}/1"))


@rule("1.7.11", "an unsubscribe from what is no channel fails", CHOICE)
async def test_unsubscribe_from_what_is_none(client: Any) -> None:
    reply = await client.unsubscribe("/a/*/b")
    assert (reply["successful"], reply["error"]) == (False, INVALID)


@rule("1.7.12", "unsubscribing from a pattern leaves the channels that were named beside it", SHOULD)
async def test_unsubscribe_from_a_pattern(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/*", f"{channel}/1", f"{channel}/end"), client.unsubscribe(f"{channel}/*"))
    events = await heard(client, client, [f"{channel}/1", f"{channel}/2"], f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/1"]


@rule("1.7.13", "subscribing to a service channel succeeds and does nothing", CHOICE)
async def test_service(client: Any) -> None:
    for channel in ("/service/conformance", "/service/**", "/service/*"):
        await succeeded(client.subscribe(channel), client.unsubscribe(channel))


@rule("1.7.14", "subscribing to the protocol's own channels is refused with a 403", SHOULD)
async def test_meta(client: Any) -> None:
    for channel in ("/meta/**", "/meta/*", "/meta/connect", "/meta/nothing"):
        reply = await client.subscribe(channel)
        assert (reply["successful"], reply["error"][:4]) == (False, "403:")


@rule("1.7.15", "a subscribe behind a publish in the same request hears what is published after it only", SHOULD)
async def test_behind_a_publish(client: Any, channel: str) -> None:
    await client.exchange(
        client.message(channel, data="before"),
        client.message("/meta/subscribe", subscription=channel),
        client.message(channel, data="after"),
    )
    assert [event["data"] for event in await client.receive()] == ["after"]


@rule("1.7.16", "an unsubscribe behind a publish in the same request still lets it through", SHOULD, [WEBSOCKET, LONG_POLLING])
async def test_unsubscribe_behind_a_publish(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(channel, f"{channel}/end"))
    await client.exchange(
        client.message(channel, data="before"),
        client.message("/meta/unsubscribe", subscription=channel),
        client.message(channel, data="after"),
    )
    assert [event["data"] for event in await heard_until_end(client, client, f"{channel}/end")] == ["before"]


@rule("1.7.17", "a subscribe is answered when it holds: what is published after the reply arrives")
async def test_holds_when_answered(client: Any, new_session: Any, channel: str) -> None:
    other = await new_session()
    for number in range(5):
        await succeeded(client.subscribe(f"{channel}/{number}"))
        await other.publish(f"{channel}/{number}", number)
    assert [event["data"] for event in await client.receive(5)] == [0, 1, 2, 3, 4]


@rule("1.7.18", "a session may subscribe before its first connect")
async def test_before_the_first_connect(new_client: Any, new_session: Any, channel: str) -> None:
    client = new_client()
    await client.handshake()
    await succeeded(client.subscribe(channel))
    await (await new_session()).publish(channel, 1)
    await client.connect()
    assert [event["data"] for event in await client.receive()] == [1]


@rule("C3.limits.subscriptions", "a session has at most 500 subscriptions: 429::rate_limited", CHOICE, [WEBSOCKET, LONG_POLLING])
async def test_limit(client: Any, channel: str) -> None:
    await succeeded(client.subscribe(*(f"{channel}/{number}" for number in range(500))), client.subscribe(f"{channel}/0"))
    reply = await client.subscribe(f"{channel}/500")
    assert (reply["successful"], reply["error"]) == (False, "429::rate_limited")
    await succeeded(client.unsubscribe(f"{channel}/0"), client.subscribe(f"{channel}/500"))
