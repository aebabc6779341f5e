"""Nothing overtakes a response whose messages may come again (docs/protocol/bayeux.md#order-in-a-response)."""

from __future__ import annotations

from tests.hub.bayeux.harness import NONE, Bayeux
from tests.hub.bayeux.test_connect import connected


async def test_nothing_overtakes_a_response_that_may_still_be_lost() -> None:
    """The client gave it up, and has sent its next connect by another connection before the hub knows."""
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    first = await client.hold()
    await bayeux.emit("/a", b"1")
    assert first.done
    second = await client.hold()
    await bayeux.emit("/a", b"2")
    published = await bayeux.request([client.message("/b", data=1)])
    published.written()
    assert not published.messages
    assert not second.done
    first.batch.lost()
    await bayeux.loop.run()
    assert [message.get("data") for message in second.response()] == [1, 2, None]


async def test_what_waited_for_a_response_goes_when_that_was_written() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    first = await client.hold()
    await bayeux.emit("/a", b"1")
    second = await client.hold()
    await bayeux.emit("/a", b"2")
    assert not second.done
    assert first.response()[0]["data"] == 1
    await bayeux.loop.run()
    assert [message.get("data") for message in second.response()] == [2, None]


async def test_connects_that_cannot_be_held_are_answered_without_what_waits() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    first = await client.hold()
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    assert await client.post(client.connect(timeout=0)) == [connected()]
    second = await client.hold()
    bayeux.pass_time(20.1)
    assert second.response() == [connected()]
    first.batch.lost()
    assert [message.get("data") for message in await client.post(client.connect())] == [1, 2, None]


async def test_a_response_of_another_request_that_may_be_lost_is_not_overtaken_either() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    published = await bayeux.request([client.message("/a", data=1)])
    assert [message.data for message in published.messages] == [b"1"]
    held = await client.hold()
    await bayeux.emit("/a", b"2")
    assert not held.done
    published.lost()
    await bayeux.loop.run()
    assert [message.get("data") for message in held.response()] == [1, 2, None]


async def test_a_websocket_does_not_overtake_a_response_either() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.emit("/a", b"1")
    socket = bayeux.socket(browsers=("browser",))
    socket.id = client.id
    await socket.send(socket.connect())
    await bayeux.emit("/a", b"2")
    assert await socket.read() == []
    held.batch.lost()
    assert [message["data"] for message in await socket.read()] == [1, 2]
    await bayeux.emit("/a", b"3")
    assert [message["data"] for message in await socket.read()] == [3]


async def test_a_drained_client_gets_nothing_that_would_overtake_a_response() -> None:
    """It would come back with the position of the later one, and miss the earlier."""
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    first = await client.hold()
    await bayeux.emit("/a", b"1")
    second = await client.hold()
    await bayeux.emit("/a", b"2")
    for _ in bayeux.server.drain():
        pass
    (reply,) = second.response()
    assert reply["error"] == "402::session_unknown"
    first.batch.lost()
    assert [message.get("data") for message in await client.post(client.connect())] == [1, 2, None]


async def test_a_session_that_the_server_ends_says_so_behind_what_may_come_again() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    first = await client.hold()
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    client.session.disconnect()  # no connect is held: it waits for the next one
    second = await client.hold()
    assert not second.done
    first.batch.lost()
    await bayeux.loop.run()
    assert [message.get("data", message["channel"]) for message in second.response()] == [1, 2, "/meta/disconnect", "/meta/connect"]
    (reply,) = await client.post(client.connect())
    assert reply["advice"] == NONE
    assert client.id not in bayeux.server.sessions


async def test_a_session_that_the_server_ends_while_it_holds_a_connect_sends_its_last_word_alone() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    await client.hold()
    await bayeux.emit("/a", b"1")
    second = await client.hold()
    await bayeux.emit("/a", b"2")
    client.session.disconnect()
    assert [message.get("data", message["channel"]) for message in second.response()] == ["/meta/disconnect", "/meta/connect"]
