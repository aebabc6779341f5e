"""The ack extension: batch numbers, what is sent again, and what that costs (docs/protocol/bayeux.md#acknowledge)."""

from __future__ import annotations

from typing import Any

import pytest

from hub.bayeux.ports import Peer
from hub.core.limits import Limits
from tests.hub.bayeux.harness import Bayeux, Client, Json, SocketClient, handshake

BY_TOKEN = {"authentication": {"token": "ann"}}


async def acknowledging(bayeux: Bayeux, *, websocket: bool = False) -> Client:
    """A client that has shaken hands with the extension, connected for the first time, and subscribed to /a."""
    message = handshake(ext={**BY_TOKEN, "ack": True})
    client = SocketClient(bayeux, Peer()) if websocket else Client(bayeux)
    client._message = message
    send = client.send if isinstance(client, SocketClient) else client.post
    (reply,) = await send(message)
    assert reply["ext"] == {"ack": True}
    client.id = reply["clientId"]
    (reply,) = await send(client.connect(timeout=0, ext={"ack": 0}))
    assert reply["ext"] == {"ack": 1}
    (reply,) = await send(client.subscribe("/a"))
    assert "ext" not in reply
    return client


def data(messages: list[Json]) -> list[Any]:
    return [message["data"] for message in messages if "data" in message]


def batch(messages: list[Json]) -> int:
    number: int = messages[-1]["ext"]["ack"]
    return number


async def test_it_is_off_unless_asked_for() -> None:
    for ext in ({}, {"ack": False}, {"ack": None}, {"ack": "yes"}):
        client = Client(Bayeux(), message=handshake(ext={**BY_TOKEN, **ext}))
        assert "ext" not in await client.shake()
        (reply,) = await client.post(client.connect(ext={"ack": 3}))
        assert "ext" not in reply


async def test_every_connect_reply_has_the_next_number() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    for number in range(2, 6):
        assert batch(await client.post(client.connect(timeout=0, ext={"ack": number - 1}))) == number


async def test_a_held_connect_has_it_too() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    held = await client.hold(ext={"ack": 1})
    await bayeux.emit("/a", b"5")
    messages = held.response()
    assert (data(messages), batch(messages)) == ([5], 2)


async def test_what_is_not_acknowledged_comes_again_in_front_of_what_is_newer() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    held = await client.hold(ext={"ack": 1})
    await bayeux.emit("/a", b"1")
    assert data(held.response()) == [1]
    await bayeux.emit("/a", b"2")
    messages = await client.post(client.connect(ext={"ack": 1}))  # it never saw batch 2
    assert (data(messages), batch(messages)) == ([1, 2], 3)
    assert bayeux.server.counters.resent == 1
    messages = await client.post(client.connect(timeout=0, ext={"ack": 3}))
    assert (data(messages), batch(messages)) == ([], 4)


async def test_with_something_unacknowledged_a_connect_is_not_held() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    held = await client.hold(ext={"ack": 1})
    await bayeux.emit("/a", b"1")
    held.response()
    assert data(await client.post(client.connect(ext={"ack": 1}))) == [1]


async def test_a_lost_response_is_sent_again_once() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    held = await client.hold(ext={"ack": 1})
    await bayeux.emit("/a", b"1")
    held.batch.lost()
    await bayeux.loop.run()
    assert data(await client.post(client.connect(ext={"ack": 1}))) == [1]
    assert data(await client.post(client.connect(timeout=0, ext={"ack": 3}))) == []


async def test_events_ride_on_connects_alone() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    replies = await client.post(client.message("/a", data="own"))
    assert data(replies) == []
    assert data(await client.post(client.connect(ext={"ack": 1}))) == ["own"]


async def test_a_connect_in_a_batch_carries_what_was_published_before_it() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    replies = await client.post(client.message("/a", data="own"), client.connect(ext={"ack": 1}))
    assert data(replies) == ["own"]
    assert batch(replies) == 2


async def test_two_connects_in_a_request_bring_a_message_once() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    await bayeux.emit("/a", b"1")
    messages = await client.post(client.connect(ext={"ack": 1}), client.connect(ext={"ack": 1}))
    assert (data(messages), batch(messages)) == ([1], 3)


async def test_over_a_websocket_a_batch_goes_with_each_connect() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux, websocket=True)
    assert isinstance(client, SocketClient)
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    assert await client.read() == []
    messages = await client.send(client.connect(ext={"ack": 1}))
    assert (data(messages), batch(messages)) == ([1, 2], 2)
    assert await client.send(client.connect(ext={"ack": 2})) == []
    await bayeux.emit("/a", b"3")
    messages = await client.read()
    assert (data(messages), batch(messages)) == ([3], 3)


async def test_a_new_websocket_gets_what_the_old_one_lost() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux, websocket=True)
    assert isinstance(client, SocketClient)
    await client.send(client.connect(ext={"ack": 1}))
    await bayeux.emit("/a", b"1")
    client.wire.lost = True
    client.connection.gone()
    again = SocketClient(bayeux, Peer())
    again.id = client.id
    messages = await again.send(again.connect(ext={"ack": 1}))
    assert data(messages) == [1]


@pytest.mark.parametrize("ack", ["1", 1.5, [1], {"batch": 1}])
async def test_a_batch_that_is_no_number(ack: Any) -> None:
    client = await acknowledging(Bayeux())
    (reply,) = await client.post(client.connect(ext={"ack": ack}))
    assert reply["error"] == "400:ext.ack:message_invalid"


async def test_a_number_that_was_never_sent_does_no_harm() -> None:
    bayeux = Bayeux()
    client = await acknowledging(bayeux)
    assert batch(await client.post(client.connect(timeout=0, ext={"ack": 999}))) == 2
    await bayeux.emit("/a", b"1")
    assert data(await client.post(client.connect(ext={"ack": -5}))) == [1]
    assert data(await client.post(client.connect(ext={"ack": 2}))) == [1]


async def test_what_is_kept_counts_against_the_queue() -> None:
    """A client that never acknowledges costs no more than one that never reads."""
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await acknowledging(bayeux)
    for _ in range(50):
        await bayeux.emit("/a", b'"%b"' % (b"x" * 100))
        await client.post(client.connect(timeout=0, ext={"ack": 1}))
    assert client.session.queued_bytes <= 1000
    assert bayeux.hub.counters.dropped > 0
    kept = client.session.reserved_bytes
    assert 0 < kept == client.session.queued_bytes
    await client.post(client.connect(timeout=0, ext={"ack": 10**6}))
    assert client.session.queued_bytes == client.session.reserved_bytes == 0
