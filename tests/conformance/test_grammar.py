"""Channels, patterns, errors and ids: the grammar (docs/protocol/bayeux.md#channel-names), with the hub's choices."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.clients import Client, is_reply
from tests.conformance.delivery import heard, succeeded
from tests.conformance.rules import CHOICE, SHOULD, rule

NOT_A_NAME = ("", "/", "a", "a/b", "//", "//a", "/a//b")
NOT_A_PATTERN = ("/a/*/b", "/a/**/b", "/**/b", "/*/b", "/a*", "/a/b*", "/a/*b", "/a/***", "*", "**")


async def accepted(client: Client, names: list[str]) -> list[str]:
    """The names that can be subscribed to and published to, where each publish reaches the subscriber."""
    sent = [client.message("/meta/subscribe", subscription=name) for name in names]
    replies = {reply["id"]: reply for reply in await client.exchange(*sent) if is_reply(reply)}
    subscribed = [one["subscription"] for one in sent if replies[one["id"]]["successful"] is True]
    published = [name for name in subscribed if (await client.publish(name, name))["successful"] is True]
    events = await client.receive(len(published))
    return [name for name, event in zip(published, events, strict=True) if (event["channel"], event["data"]) == (name, name)]


async def subscribe_errors(client: Client, names: tuple[str, ...]) -> set[str]:
    replies = await client.exchange(*(client.message("/meta/subscribe", subscription=name) for name in names))
    assert len(replies) == len(names)
    return {reply.get("error", f"successful: {reply['subscription']}") for reply in replies}


async def publish_errors(client: Client, names: tuple[str, ...]) -> set[str]:
    replies = await client.exchange(*(client.message(name, data=1) for name in names))
    assert len(replies) == len(names)
    return {reply.get("error", f"successful: {reply['channel']}") for reply in replies}


@rule("1.1.1", "a segment may have letters, digits and the marks - _ ! ~ ( ) $ @")
async def test_marks_of_the_specification(client: Client, channel: str) -> None:
    names = [f"{channel}/{segment}" for segment in ("azAZ09", "0", *"-_!~()$@", "-_!~()$@")]
    assert await accepted(client, names) == names


@rule("C3.segment", "a segment may have the marks + . # = : % too", CHOICE)
async def test_marks_of_a_segment(client: Client, channel: str) -> None:
    names = [f"{channel}/{segment}" for segment in (*"+.#=:", "%20", "a.b:c=d#e+f", "sip%3Aana%40example.com")]
    assert await accepted(client, names) == names


@rule("C3.segment.encoded", "a percent-encoded character stays what it is: %2F is no separator, %61 is no a", CHOICE)
async def test_percent_encoding_is_not_decoded(client: Client, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/*"), client.subscribe(f"{channel}/a/b"), client.subscribe(f"{channel}/end"))
    events = await heard(client, client, [f"{channel}/a%2Fb", f"{channel}/%61/b"], f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/a%2Fb"]


@rule("1.1.2", "a name begins with a slash and has no empty segment: others are refused as channel and as subscription")
async def test_names_that_are_none(client: Client) -> None:
    subscribing = await client.exchange(*(client.message("/meta/subscribe", subscription=name) for name in NOT_A_NAME))
    publishing = await client.exchange(*(client.message(name, data=1) for name in NOT_A_NAME))
    assert [reply["successful"] for reply in (*subscribing, *publishing)] == [False] * 2 * len(NOT_A_NAME)


@rule("C3.trailing-slash", "a slash at the end of a channel is refused", CHOICE)
async def test_trailing_slash(client: Client, channel: str) -> None:
    assert await subscribe_errors(client, (f"{channel}/",)) == {"403::subscription_invalid"}
    assert await publish_errors(client, (f"{channel}/",)) == {"405::channel_invalid"}


@rule("C3.segment.refused", "a character outside the grammar is refused: 403::subscription_invalid, 405::channel_invalid", CHOICE)
async def test_other_characters(client: Client, channel: str) -> None:
    names = tuple(f"{channel}/a{character}b" for character in " \"'&,;<>?[\\]^`{|}\t\n\0\x7f\u00e9\u4e2d\U0001f600")
    assert await subscribe_errors(client, names) == {"403::subscription_invalid"}
    assert await publish_errors(client, names) == {"405::channel_invalid"}


@rule("1.1.3", "a wildcard stands only as the whole of the last segment: other patterns are refused")
async def test_wildcards_elsewhere(client: Client) -> None:
    replies = await client.exchange(*(client.message("/meta/subscribe", subscription=pattern) for pattern in NOT_A_PATTERN))
    assert [reply["successful"] for reply in replies] == [False] * len(NOT_A_PATTERN)


@rule("C3.subscription-invalid", "what is no channel and no pattern is refused with 403::subscription_invalid", CHOICE)
async def test_error_of_a_subscription(client: Client) -> None:
    assert await subscribe_errors(client, (*NOT_A_NAME, *NOT_A_PATTERN)) == {"403::subscription_invalid"}


@rule("C3.channel-invalid", "a publish to what is no channel, or to a pattern, is refused with 405::channel_invalid", CHOICE)
async def test_error_of_a_channel(client: Client, channel: str) -> None:
    assert await publish_errors(client, (*NOT_A_NAME, *NOT_A_PATTERN, "/*", "/**", f"{channel}/*", f"{channel}/**")) == {
        "405::channel_invalid"
    }


@rule("1.1.4", "/foo/* matches /foo/bar, and neither /foo nor /foobar nor /foo/a/b")
async def test_one_level(client: Client, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/*"), client.subscribe(f"{channel}/a/end"))
    events = await heard(client, client, [channel, f"{channel}bar", f"{channel}/a/b", f"{channel}/bar"], f"{channel}/a/end")
    assert [event["channel"] for event in events] == [f"{channel}/bar"]


@rule("1.1.5", "/foo/** matches /foo/bar and /foo/a/b, and neither /foo nor /foobar/a")
async def test_every_level(client: Client, channel: str) -> None:
    await succeeded(client.subscribe(f"{channel}/**"))
    names = [channel, f"{channel}bar/a", f"{channel}/bar", f"{channel}/a/b", f"{channel}/a/b/c/d"]
    events = await heard(client, client, names, f"{channel}/end")
    assert [event["channel"] for event in events] == [f"{channel}/bar", f"{channel}/a/b", f"{channel}/a/b/c/d"]


@rule("1.1.6", "/** matches every channel, /* those of one segment")
async def test_wildcards_at_the_root(server: Any, new_session: Any, channel: str) -> None:
    everything, one_level = [await new_session(token=server.far_reaching_token) for _ in range(2)]
    single = channel.replace("/conformance/", "/conformance-")
    await succeeded(everything.subscribe("/**"), one_level.subscribe("/*"), one_level.subscribe(f"{channel}/end"))
    names = [single, f"{channel}/a/b/c", f"{channel}/end"]
    for name in names:
        assert (await everything.publish(name, name))["successful"] is True
    for client, expected in ((everything, names), (one_level, [single, f"{channel}/end"])):
        events = await client.receive_until(lambda event: event["channel"] == f"{channel}/end")
        assert [event["channel"] for event in events if event["channel"].startswith("/conformance")] == expected


@rule("C3.length", "a channel has at most 255 characters", CHOICE)
async def test_length(client: Client, channel: str) -> None:
    longest = f"{channel}/".ljust(255, "x")
    assert await accepted(client, [longest]) == [longest]
    assert await subscribe_errors(client, (f"{longest}x",)) == {"403::subscription_invalid"}
    assert await publish_errors(client, (f"{longest}x",)) == {"405::channel_invalid"}


@rule("C3.segments", "a channel has at most 16 segments", CHOICE)
async def test_segments(client: Client, channel: str) -> None:
    deepest = channel + "/x" * (16 - channel.count("/"))
    assert await accepted(client, [deepest]) == [deepest]
    assert await subscribe_errors(client, (f"{deepest}/x", f"{deepest}/**")) == {"403::subscription_invalid"}
    assert await publish_errors(client, (f"{deepest}/x",)) == {"405::channel_invalid"}


@rule("1.1.7", "an error is three digits, a list of arguments that may be empty, and a text, with colons between")
async def test_errors(client: Client, new_client: Any) -> None:
    replies = await client.exchange(
        client.message("/meta/subscribe"),
        client.message("/meta/subscribe", subscription="nothing"),
        client.message("/meta/subscribe", subscription="/meta/**"),
        client.message("/a/*/b", data=1),
    )
    replies.append(await new_client().connect(clientId="0000000000000000000000"))
    assert [reply["successful"] for reply in replies] == [False] * 5
    assert [reply["error"] for reply in replies if not re.fullmatch(r"\d{3}:[^:]*:.+", reply["error"])] == []


@rule("1.1.8", "a clientId has letters and digits only", SHOULD)
async def test_characters_of_client_id(new_client: Any) -> None:
    client = new_client()
    await client.handshake()
    assert re.fullmatch(r"[A-Za-z0-9]+", client.client_id)


@rule("1.1.9", "a clientId has at least 128 random bits (22 characters of letters and digits) and is never given twice", SHOULD)
async def test_client_ids_are_unpredictable(new_client: Any) -> None:
    client = new_client()
    seen = set()
    for _ in range(50):
        await client.handshake()
        seen.add(client.client_id)
    assert len(seen) == 50
    assert min(len(one) for one in seen) >= 22
    varies = sum(len(set(column)) > 1 for column in zip(*seen, strict=False))
    assert varies >= 22, f"only {varies} characters differ from one clientId to the next"


@rule("1.1.10", "messages of the protocol (/meta/) are never distributed: nobody can subscribe to them")
async def test_meta_is_not_distributed(server: Any, new_session: Any, channel: str) -> None:
    client = await new_session(token=server.far_reaching_token)
    patterns = ("/meta/**", "/meta/*", "/meta/connect", "/meta/foo")
    replies = await client.exchange(*(client.message("/meta/subscribe", subscription=pattern) for pattern in patterns))
    assert [reply["successful"] for reply in replies] == [False] * len(patterns)
    await succeeded(client.subscribe("/**"))
    other = await new_session(token=server.far_reaching_token)
    await other.subscribe(channel)
    await other.disconnect()
    third = await new_session(token=server.far_reaching_token)
    assert [event for event in await heard(client, third, [], channel) if event["channel"].startswith("/meta/")] == []


@rule("1.1.11", "what is published on a service channel is never broadcast")
async def test_service_is_not_broadcast(server: Any, new_session: Any, channel: str) -> None:
    client = await new_session(token=server.far_reaching_token)
    await client.subscribe("/service/conformance", "/service/**")
    await succeeded(client.subscribe("/**"), client.subscribe(channel))
    other = await new_session(token=server.far_reaching_token)
    assert (await other.publish("/service/conformance", 1))["channel"] == "/service/conformance"
    assert [event for event in await heard(client, other, [], channel) if event["channel"].startswith("/service/")] == []
