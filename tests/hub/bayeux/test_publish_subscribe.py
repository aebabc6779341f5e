"""/meta/subscribe, /meta/unsubscribe and publishing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hub.core.errors import RefusedError, WireError
from hub.core.frames import array
from hub.core.limits import Limits
from hub.core.subscriptions import Subscriptions
from tests.hub.bayeux.harness import Bayeux, Client, by_token, handshake

DENIED = "403:denied:publish_denied"


@pytest.mark.parametrize("subscription", ["/a", "/a/*", "/a/**", ["/a"], ["/a", "/b/**"], ["/a", "/a"], "/a%20b", "/a.b:c=d#e+f"])
async def test_subscription_is_echoed_as_it_came(subscription: object) -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.subscribe(subscription))
    assert reply == {"id": "9", "channel": "/meta/subscribe", "successful": True, "subscription": subscription}


@pytest.mark.parametrize(
    "subscription",
    ["", "a", "/", "/a/", "//a", "/a b", "/a/*/b", "/**/a", "/a*", "/***", "/a/{x}", "/ä", "/" + "a" * 255, ["/a", "/b/"], ["/a", ""]],
)
async def test_invalid_subscription(subscription: object) -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.subscribe(subscription))
    assert (reply["successful"], reply["error"], reply["subscription"]) == (False, "403::subscription_invalid", subscription)


@pytest.mark.parametrize("subscription", ["/secret/a", "/**", "/meta/connect", "/meta/**", ["/a", "/secret/a"]])
async def test_denied_subscription(subscription: object) -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.subscribe(subscription))
    assert (reply["successful"], reply["error"], reply["subscription"]) == (False, "403:denied:subscribe_denied", subscription)
    assert client.bayeux.server.counters.subscribes_refused == 1


@pytest.mark.parametrize("bad", ["/a/", "/secret/a", 1])
async def test_array_is_checked_whole_then_applied_whole(bad: object) -> None:
    client = await Bayeux().client()
    await client.post(client.subscribe(["/a", "/b", bad]))
    assert client.session.subscriptions == {}


async def test_subscribing_twice_is_no_error_and_gives_one_copy() -> None:
    client = await Bayeux().client()
    await client.subscribed("/a")
    await client.subscribed(["/a", "/*"])
    assert [reply.get("data") for reply in await client.post(client.message("/a", data=1))] == [1, None]


async def test_service_channels_succeed_and_do_nothing() -> None:
    client = await Bayeux().client()
    await client.subscribed("/service/**")
    await client.subscribed(["/service/a", "/a"])
    assert list(client.session.subscriptions) == ["/a"]


async def test_subscriptions_are_bounded() -> None:
    client = await Bayeux(limits=Limits(max_subscriptions=2)).client()
    await client.subscribed(["/a", "/b"])
    (reply,) = await client.post(client.subscribe("/c"))
    assert reply["error"] == "429::rate_limited"
    (reply,) = await client.post(client.subscribe("/a"))
    assert reply["successful"]


async def test_long_array_is_refused_before_it_is_looked_at() -> None:
    client = await Bayeux(limits=Limits(max_subscriptions=2)).client()
    (reply,) = await client.post(client.subscribe(["/secret/a", "/b", "/c"]))
    assert reply["error"] == "429::rate_limited"


async def test_snapshot_rides_on_the_response() -> None:
    bayeux = Bayeux()
    bayeux.values = {"/state/a": b"1.10"}
    client = await bayeux.client()
    batch = await bayeux.request([client.subscribe("/state/**")])
    assert batch.parts()[0] == b'{"channel":"/state/a","data":1.10}'


async def test_session_that_ends_while_the_bus_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    session = client.session

    async def ends(*arguments: Any, **options: Any) -> None:
        session.end_revoked()
        raise RefusedError(WireError.SESSION_UNKNOWN)

    monkeypatch.setattr(Subscriptions, "subscribe", ends)
    replies = await client.post(client.subscribe("/a"), client.message("/a", data=1))
    assert [reply["error"] for reply in replies] == ["402::session_unknown"] * 2


async def test_who_is_told_that_it_failed_is_not_subscribed() -> None:
    class Broken(Bayeux):
        async def _snapshot(self, tenant: str, audience: str, pattern: str) -> list[tuple[str, bytes]]:
            raise KeyError("x")

    bayeux = Broken()
    client = await bayeux.client()
    await client.subscribed("/b")
    (reply,) = await client.post(client.subscribe(["/a", "/b", "/state/x"]))
    assert reply["error"] == "500::internal_error"
    assert list(client.session.subscriptions) == ["/b"]


async def test_unsubscribe() -> None:
    client = await Bayeux().client()
    await client.subscribed(["/a", "/b"])
    (reply,) = await client.post(client.message("/meta/unsubscribe", subscription=["/a"]))
    assert reply == {"id": "9", "channel": "/meta/unsubscribe", "successful": True, "subscription": ["/a"]}
    assert list(client.session.subscriptions) == ["/b"]


async def test_unsubscribe_from_what_is_not_there_succeeds() -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.message("/meta/unsubscribe", subscription="/never"))
    assert reply["successful"]


async def test_invalid_unsubscribe() -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.message("/meta/unsubscribe", subscription="never"))
    assert reply["error"] == "403::subscription_invalid"


async def test_subscribe_after_a_publish_in_one_batch_sees_later_messages_only() -> None:
    client = await Bayeux().client()
    replies = await client.post(client.message("/a", data=1), client.subscribe("/a"), client.message("/a", data=2))
    assert [reply["data"] for reply in replies if "data" in reply] == [2]


# -- publishing ---------------------------------------------------------------------------------------------------------


async def test_reply_has_no_data() -> None:
    client = await Bayeux().client()
    assert await client.post(client.message("/a", data={"x": 1})) == [{"id": "9", "channel": "/a", "successful": True}]


async def test_a_publisher_cannot_say_where_in_the_log_its_message_is() -> None:
    bayeux = Bayeux()
    client = Client(bayeux, message=handshake(ext={"authentication": {"token": "ann"}, "replay": True}))
    await client.open()
    await client.subscribed(["/log/a", "/b"])
    forged = {"data": 5, "replayId": 1}
    answers = await client.post(client.message("/log/a", **forged), client.message("/b", **forged))
    answers += await client.post(client.connect(timeout=0))
    events = [message for message in answers if "data" in message]
    assert {message["channel"]: message.get("replayId") for message in events} == {"/log/a": bayeux.hub.positions.newest("t"), "/b": None}


@pytest.mark.parametrize("data", ['""', "0", "false", "null", "[]", "{}", "1.10", "18446744073709551617", '{"a" : [ 1 ]}'])
async def test_data_reaches_subscribers_verbatim(data: str) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    batch = await bayeux.request(f'[{{"channel":"/a","clientId":"{client.id}","data":{data}}}]'.encode())
    assert batch.parts()[0] == b'{"channel":"/a","data":%b}' % data.encode()


async def test_output_is_ascii() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    message = client.message("/a", id="ü", data="世界👋", größe=1)
    batch = await bayeux.request(json.dumps([message], ensure_ascii=False).encode())
    body = array(batch.parts())
    assert body.isascii()
    assert json.loads(body) == [{"channel": "/a", "data": "世界👋", "größe": 1}, {"id": "ü", "channel": "/a", "successful": True}]


async def test_publisher_is_not_given_away() -> None:
    bayeux = Bayeux()
    publisher = await bayeux.client(message=by_token("eve"))
    subscriber = await bayeux.client()
    await subscriber.subscribed("/a")
    held = await subscriber.hold()
    secret = {"authentication": {"token": "eve"}, "trace": 1}
    await publisher.post(publisher.message("/a", data=1, advice={}, version="1", ext=secret, priority=2, subscription="x"))
    await bayeux.loop.run()
    assert held.response()[0] == {"channel": "/a", "data": 1, "ext": {"trace": 1}, "priority": 2}


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("/secret/a", DENIED),
        ("/meta/x", DENIED),
        ("/meta/handshakes", DENIED),
        ("/meta/connect/x", DENIED),
        ("/a/*", "405::channel_invalid"),
        ("/a/**", "405::channel_invalid"),
        ("/**", "405::channel_invalid"),
        ("/a/", "405::channel_invalid"),
        ("", "405::channel_invalid"),
    ],
)
async def test_refused_publish(channel: str, error: str) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    (reply,) = await client.post(client.message(channel, data=1))
    assert reply == {"id": "9", "channel": channel, "successful": False, "error": error}
    assert bayeux.server.counters.publishes_refused == 1


async def test_missing_data() -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.message("/a"))
    assert reply["error"] == "400::data_missing"


async def test_publish_before_the_first_connect() -> None:
    bayeux = Bayeux()
    (shaken,) = await bayeux.post(by_token())
    (reply,) = await bayeux.post({"channel": "/a", "clientId": shaken["clientId"], "data": 1})
    assert reply == {"channel": "/a", "successful": True}


async def test_service_channel_is_not_broadcast() -> None:
    client = await Bayeux().client()
    await client.subscribed(["/service/**", "/*", "/a"])
    (reply,) = await client.post(client.message("/service/a", data=1))
    assert reply["successful"]


async def test_one_copy_for_several_patterns() -> None:
    client = await Bayeux().client()
    await client.subscribed(["/a/b", "/a/*", "/a/**"])
    replies = await client.post(client.message("/a/b", data=1))
    assert [reply.get("data") for reply in replies] == [1, None]


async def test_order_of_publishes_is_kept() -> None:
    client = await Bayeux().client()
    await client.subscribed("/a")
    replies = await client.post(*(client.message("/a", id=number, data=number) for number in range(5)))
    assert [reply["data"] for reply in replies[:5]] == list(range(5))
    assert [reply["id"] for reply in replies[5:]] == list(range(5))


@pytest.mark.parametrize("channel", ["/a", "/log/a"])
async def test_requests_side_by_side_publish_in_the_order_in_which_they_came(monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    """Faye's client splits what is more than 2 KiB into requests that run side by side; long ones give way amid their messages."""
    bayeux = Bayeux()
    publisher, listener = await bayeux.client(), await bayeux.client()
    await listener.subscribed(channel)
    bayeux.clock.step = 1.0  # each look at the clock finds the slice used up
    monkeypatch.setattr(bayeux.loop, "breathe", lambda: asyncio.sleep(0))
    numbers = iter(range(40))
    requests = [[publisher.message(channel, data=next(numbers)) for _ in range(count)] for count in (16, 1, 20, 3)]
    batches = await asyncio.gather(*(bayeux.request(request, publisher.peer) for request in requests))
    assert all(json.loads(part)["successful"] for batch in batches for part in batch.parts())
    bayeux.clock.step = 0.0
    heard = await listener.post(listener.connect(timeout=0))
    assert [message["data"] for message in heard if message["channel"] == channel] == list(range(40))
    assert publisher.session.request_order._queue is None


async def test_a_request_that_was_let_go_of_amid_its_messages_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    bayeux.clock.step = 1.0

    async def forever() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bayeux.loop, "breathe", forever)
    batch = asyncio.ensure_future(bayeux.request([client.message("/a", data=number) for number in range(3)], client.peer))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(client.post(client.message("/a", data=1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    batch.cancel()
    await asyncio.gather(batch, return_exceptions=True)
    (reply,) = await waiting
    assert reply["successful"]
    assert client.session.request_order._queue is None


async def test_log_channels_reach_subscribers_too() -> None:
    client = await Bayeux().client()
    await client.subscribed("/log/a")
    replies = await client.post(client.message("/log/a", data=1))
    assert replies[0] == {"channel": "/log/a", "data": 1}
