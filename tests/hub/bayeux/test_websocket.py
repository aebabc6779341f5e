"""Bayeux over a WebSocket: frames in, frames out."""

from __future__ import annotations

import asyncio
import json

import pytest

from hub.bayeux.ports import Peer
from hub.bayeux.websocket import UNREAD_QUEUES
from hub.core.errors import CloseCode
from hub.core.frames import text_frame
from hub.core.limits import Limits
from tests.hub.bayeux.harness import HANDSHAKE, NONE, RETRY, Bayeux, Client, SocketClient, by_token
from tests.hub.core.harness import principal
from tests.world import take_turns

REPLY = {"id": "9", "channel": "/meta/connect", "successful": True, "advice": RETRY}


async def opened(bayeux: Bayeux, subscription: str | None = None, **peer: object) -> SocketClient:
    client = bayeux.socket(**peer)
    await client.open()
    if subscription is not None:
        await client.subscribed(subscription)
    return client


async def resumed(client: Client, **peer: object) -> SocketClient:
    """A new socket of the same client, which has not said anything yet."""
    again = client.bayeux.socket(**peer)
    again.id = client.id
    return again


async def test_messages_are_pushed_as_they_come() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == [{"channel": "/a", "data": 1}]


async def test_messages_before_the_first_connect_are_pushed() -> None:
    bayeux = Bayeux()
    client = bayeux.socket()
    (reply,) = await client.send(by_token())
    client.id = reply["clientId"]
    await client.subscribed("/a")
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == [{"channel": "/a", "data": 1}]


async def test_messages_of_one_tick_are_one_frame() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    for _ in range(3):
        await bayeux.hub.publisher.emit("t", "/a", b"1")
    await bayeux.loop.run()
    assert client.wire.frames == [b"[" + b",".join([b'{"channel":"/a","data":1}'] * 3) + b"]"]


async def test_frames_are_bounded() -> None:
    bayeux = Bayeux(limits=Limits(max_frame_bytes=100))
    client = await opened(bayeux, "/a")
    for number in range(5):
        await bayeux.hub.publisher.emit("t", "/a", b'"%d%b"' % (number, b"x" * 20))
    await bayeux.hub.publisher.emit("t", "/a", b'"%b"' % (b"y" * 200))
    await bayeux.loop.run()
    assert [len(json.loads(frame)) for frame in client.wire.frames] == [2, 2, 1, 1]


async def test_own_copy_comes_before_the_reply() -> None:
    client = await opened(Bayeux(), "/a")
    assert await client.send(client.message("/a", data=1)) == [
        {"channel": "/a", "data": 1},
        {"id": "9", "channel": "/a", "successful": True},
    ]


async def test_snapshot_comes_with_the_subscribe() -> None:
    bayeux = Bayeux()
    bayeux.values = {"/state/a": b"1"}
    client = await opened(bayeux)
    replies = await client.send(client.subscribe("/state/a"))
    assert replies[0] == {"channel": "/state/a", "data": 1}


async def test_held_connect_is_answered_by_its_timer_alone() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    assert await client.send(client.connect()) == []
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == [{"channel": "/a", "data": 1}]
    bayeux.pass_time(20.1)
    assert await client.read() == [REPLY]


async def test_session_lives_as_long_as_connects_come() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    for _ in range(3):
        await client.send(client.connect())
        bayeux.pass_time(20.1)
    assert client.id in bayeux.server.sessions


async def test_session_without_a_connect_expires_and_the_socket_closes_later() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    bayeux.pass_time(10.1)
    assert client.id not in bayeux.server.sessions
    assert client.wire.open
    (reply,) = await client.send(client.connect())
    assert reply["advice"] == HANDSHAKE
    bayeux.pass_time(10.1)
    assert client.wire.closed == CloseCode.NORMAL


async def test_duplicate_connect_gets_no_answer_for_the_first() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    await client.send(client.connect(id="1"))
    assert await client.send(client.connect(id="2")) == []
    bayeux.pass_time(20.1)
    assert [reply["id"] for reply in await client.read()] == ["2"]


async def test_disconnect_answers_the_held_connect() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    await client.send(client.connect(id="c"))
    assert await client.send(client.message("/meta/disconnect")) == [
        {"id": "c", "channel": "/meta/connect", "successful": True, "advice": NONE},
        {"id": "9", "channel": "/meta/disconnect", "successful": True},
    ]


# -- bad frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"", b"{", b"1", b"[1]", b"\xff", b"[" * 100, b'["x"]'])
async def test_what_is_no_bayeux_closes_the_socket(payload: bytes) -> None:
    client = await opened(Bayeux())
    await client.connection.receive(payload)
    assert client.wire.closed == CloseCode.BAD_MESSAGE
    assert client.bayeux.server.counters.bad_requests == 1


async def test_empty_array_is_ignored() -> None:
    client = await opened(Bayeux())
    await client.connection.receive(b"[]")
    assert (client.wire.frames, client.wire.closed) == ([], None)


async def test_too_many_messages_close_the_socket() -> None:
    client = await opened(Bayeux(limits=Limits(max_batch=2)))
    await client.connection.receive(b"[{},{},{}]")
    assert client.wire.closed == CloseCode.TOO_LARGE


async def test_wrong_message_is_answered() -> None:
    client = await opened(Bayeux())
    assert await client.send({"id": "1", "clientId": client.id}) == [{"id": "1", "successful": False, "error": "400::channel_missing"}]


# -- sockets that come and go -------------------------------------------------------------------------------------------


async def test_closing_starts_the_clock_at_once() -> None:
    bayeux = Bayeux(limits=Limits(interval_ms=60_000, max_interval_ms=3000))
    client = await opened(bayeux)
    await client.send(client.connect())
    client.connection.gone()
    bayeux.pass_time(2.9)
    assert client.id in bayeux.server.sessions
    bayeux.pass_time(0.2)
    assert client.id not in bayeux.server.sessions


async def test_new_socket_resumes_the_session_and_gets_what_waited() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    client.connection.gone()
    await bayeux.emit("/a")
    again = await resumed(client)
    assert await again.send(again.connect(timeout=0)) == [{"channel": "/a", "data": 1}, REPLY]


async def test_new_socket_takes_over_at_its_first_message_of_any_kind() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    await client.send(client.connect())
    again = await resumed(client)
    await again.send(again.message("/b", data=0))
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await again.read() == [{"channel": "/a", "data": 1}]
    assert await client.read() == []


async def test_connect_held_on_the_old_socket_is_let_go() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    await client.send(client.connect())
    again = await resumed(client)
    await again.send(again.message("/b", data=0))
    client.connection.gone()
    bayeux.pass_time(10.1)  # the new socket never connects
    assert await client.read() == []
    assert client.id not in bayeux.server.sessions


async def test_end_of_the_old_socket_does_not_touch_the_session() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    again = await resumed(client)
    await again.send(again.connect())
    client.connection.gone()
    bayeux.pass_time(15)
    assert client.id in bayeux.server.sessions


async def test_another_caller_cannot_resume() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, principal=principal("ann"), presented=True)
    eve = await resumed(client, principal=principal("eve"), presented=True)
    (reply,) = await eve.send(eve.connect())
    assert reply["error"] == "402::session_unknown"
    assert client.session.websocket is client.connection


async def test_second_handshake_on_one_socket_leaves_the_first_session() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    first = client.id
    await client.open()
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == []
    await client.send(client.connect())
    bayeux.pass_time(10.1)
    assert list(bayeux.server.sessions) == [client.id] != [first]


async def test_second_handshake_on_one_socket_answers_the_connect_of_the_first_session() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    assert await client.send(client.connect()) == []
    replies = await client.send(by_token("bob"))
    assert [reply["channel"] for reply in replies] == ["/meta/connect", "/meta/handshake"]
    assert replies[0] == REPLY


async def test_socket_without_a_session_is_closed() -> None:
    bayeux = Bayeux()
    client = bayeux.socket()
    bayeux.pass_time(10.1)
    assert client.wire.closed == CloseCode.NORMAL


async def test_gone_socket_leaves_no_timer() -> None:
    bayeux = Bayeux()
    client = bayeux.socket()
    client.connection.gone()
    assert (len(bayeux.hub.timers), bayeux.server.registry.websockets) == (0, {})


async def test_session_that_ends_after_its_socket() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    client.connection.gone()
    client.connection.gone()
    bayeux.pass_time(10.1)
    assert not bayeux.server.sessions


async def test_socket_that_goes_while_its_message_is_processed() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    client.wire.lost = True
    await client.connection.receive(json.dumps([client.message("/a", data=1)]).encode())
    client.connection.gone()
    again = await resumed(client)
    assert (await again.send(again.connect(timeout=0)))[0] == {"channel": "/a", "data": 1}


async def test_push_that_fails_queues_again() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    client.wire.write = lambda payload: False  # type: ignore[method-assign]  # the transport has noticed, the socket has not
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    bayeux.loop.tick()
    client.connection.gone()
    assert len(client.session.queue) == 1


async def test_socket_that_breaks_amid_a_push_gets_nothing_twice() -> None:
    bayeux = Bayeux(limits=Limits(max_frame_bytes=40))
    client = await opened(bayeux, "/a")
    breaks_after(client, writes=1)
    for number in range(3):
        await bayeux.hub.publisher.emit("t", "/a", b"%d" % number)
    assert await client.read() == [{"channel": "/a", "data": 0}]
    again = await resumed(client)
    assert (await again.send(again.connect(timeout=0)))[:-1] == [{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}]


async def test_socket_that_breaks_amid_a_reply_gets_nothing_twice() -> None:
    bayeux = Bayeux(limits=Limits(max_frame_bytes=40))
    client = await opened(bayeux, "/a")
    breaks_after(client, writes=1)
    (event,) = await client.send(client.message("/a", data=0), client.message("/a", data=1))
    assert event == {"channel": "/a", "data": 0}
    again = await resumed(client)
    assert (await again.send(again.connect(timeout=0)))[:-1] == [{"channel": "/a", "data": 1}]


def breaks_after(client: SocketClient, *, writes: int) -> None:
    """The connection takes so many more writes, and is found to be broken at the next one."""
    write, left = client.wire.write, iter(range(writes))

    def limited(payload: bytes) -> bool:
        client.wire.lost = next(left, None) is None
        return write(payload)

    client.wire.write = limited  # type: ignore[method-assign]


async def test_handshake_of_a_lost_socket() -> None:
    bayeux = Bayeux()
    client = bayeux.socket()
    client.wire.lost = True
    await client.connection.receive(json.dumps([by_token()]).encode())
    client.connection.gone()
    bayeux.pass_time(10.1)
    assert not bayeux.server.sessions


# -- between the transports ---------------------------------------------------------------------------------------------


async def test_long_polling_connect_takes_over() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a", browsers=("browser",))
    await client.send(client.connect())
    polling = Client(bayeux, peer=Peer(browsers=("browser",)))
    polling.id = client.id
    held = await polling.hold()
    await bayeux.emit("/a")
    assert [message.get("data") for message in held.response()] == [1, None]
    assert client.connection.session is None


async def test_long_polling_publish_leaves_the_socket_its_messages() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a", browsers=("browser",))
    (reply,) = await bayeux.post(client.message("/a", data=1), peer=Peer(browsers=("browser",)))
    assert reply["successful"]
    assert await client.read() == [{"channel": "/a", "data": 1}]


async def test_socket_takes_over_from_long_polling() -> None:
    bayeux = Bayeux()
    polling = await bayeux.client(peer=Peer(offered="b"))
    await polling.subscribed("/a")
    held = await polling.hold()
    client = await resumed(polling)
    await client.send(client.connect())
    assert held.batch.superseded
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == [{"channel": "/a", "data": 1}]


async def test_long_polling_goes_on_when_a_socket_came_and_went() -> None:
    bayeux = Bayeux()
    polling = await bayeux.client(peer=Peer(offered="b"))
    await polling.subscribed("/a")
    held = await polling.hold()
    client = await resumed(polling)
    await client.send(client.message("/b", data=0))
    client.connection.gone()
    await bayeux.emit("/a")
    assert [message.get("data") for message in held.response()] == [1, None]


# -- slow readers -------------------------------------------------------------------------------------------------------


async def test_slow_reader_gets_messages_when_it_has_read() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await opened(bayeux, "/a")
    client.wire.buffered = 1001
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    assert await client.read() == []
    client.wire.buffered = 0
    client.connection.drained()
    assert await client.read() == [{"channel": "/a", "data": 1}]


async def test_replies_do_not_carry_messages_to_a_slow_reader() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await opened(bayeux, "/a")
    client.wire.buffered = 1001
    (reply,) = await client.send(client.message("/a", data=1))
    assert reply["successful"]
    assert len(client.session.queue) == 1


async def test_queue_of_a_slow_reader_is_bounded() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await opened(bayeux, "/a")
    client.wire.buffered = 1001
    for _ in range(10):
        await bayeux.emit("/a", b'"%b"' % (b"x" * 300))
    assert (len(client.session.queue), client.session.dropped) == (2, 8)


async def test_who_reads_no_replies_is_cut_off() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await opened(bayeux)
    client.wire.buffered = 1000 * UNREAD_QUEUES + 1
    await client.send(client.message("/a", data=1))
    assert client.wire.closed == CloseCode.TOO_SLOW


async def test_drained_without_a_session() -> None:
    client = Bayeux().socket()
    client.connection.drained()
    assert await client.read() == []


async def test_log_overflow_closes_the_socket() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    client = await opened(bayeux, "/log/**")
    await client.send(client.connect())
    client.wire.buffered = 501
    for _ in range(3):
        await bayeux.hub.publisher.emit("t", "/log/a", b'"%b"' % (b"x" * 300))
    assert await client.read() == [{**REPLY, "successful": False, "error": "402::session_unknown", "advice": HANDSHAKE}]
    assert client.wire.closed == CloseCode.TOO_SLOW


# -- ends from our side -------------------------------------------------------------------------------------------------


async def test_revoked() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux, "/a")
    await client.send(client.connect())
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    list(bayeux.server.revoke(lambda who: who.subject == "ann"))
    assert await client.read() == [
        {"channel": "/a", "data": 1},
        {"channel": "/meta/disconnect", "successful": True},
        {**REPLY, "advice": NONE},
    ]
    assert client.wire.closed == CloseCode.NOT_AUTHENTICATED


async def test_revoked_socket_without_a_session_is_closed() -> None:
    bayeux = Bayeux()
    ann = bayeux.socket(principal=principal("ann"), presented=True)
    eve = bayeux.socket(principal=principal("eve"), presented=True)
    nobody = bayeux.socket()
    list(bayeux.server.revoke(lambda who: who.subject == "ann"))
    assert [client.wire.closed for client in (ann, eve, nobody)] == [CloseCode.NOT_AUTHENTICATED, None, None]


async def test_drain_closes_every_socket() -> None:
    bayeux = Bayeux()
    client = await opened(bayeux)
    await client.send(client.connect())
    idle = bayeux.socket()
    assert len(list(bayeux.server.drain())) == 3
    (reply,) = await client.read()
    assert reply["advice"]["reconnect"] == "handshake"
    assert (client.wire.closed, idle.wire.closed) == (CloseCode.RESTARTING, CloseCode.RESTARTING)


@pytest.mark.parametrize("held", [True, False])
async def test_who_was_told_to_go_hears_nothing_more_on_its_socket(held: bool) -> None:
    """The client has forgotten its subscriptions by then, but a replay extension of it would note the position of what comes."""
    bayeux = Bayeux()
    client = await opened(bayeux, "/log/a")
    if held:
        await client.send(client.connect())
    steps = bayeux.server.drain()
    if held:
        next(steps)
        (reply,) = await client.read()
    else:
        (reply,) = await client.send(client.connect())
    assert reply["error"] == "402::session_unknown"
    await bayeux.hub.publisher.emit("t", "/log/a", b"1")
    await bayeux.loop.run()
    assert await client.read() == []
    list(steps)
    assert client.wire.closed == CloseCode.RESTARTING


# -- frames that are written at once ------------------------------------------------------------------------------------


class Direct:
    """What takes frames at once; ``lost`` says that the connection is found to be broken by the next one."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost = False

    def __call__(self, frames: bytes) -> None:
        if self.lost:
            raise OSError("the connection was lost")
        self.frames.append(frames)


async def direct(bayeux: Bayeux, **members: object) -> tuple[SocketClient, Direct]:
    """A client whose connection takes frames at once, from some time after it was opened on."""
    client = bayeux.socket()
    client._message = {**by_token(), "ext": {"authentication": {"token": "ann"}, **members}}
    await client.open()
    await client.subscribed("/a")
    way = Direct()
    assert client.wire.writable_changed is not None
    client.wire.direct_write = way
    client.wire.writable_changed(way)
    return client, way


async def test_events_and_replies_are_written_at_once_while_the_connection_takes_them() -> None:
    bayeux = Bayeux()
    client, way = await direct(bayeux)
    assert await client.send(client.message("/b", data=1)) == []
    await bayeux.emit("/a", b"1")
    assert way.frames == [text_frame(b'[{"id":"9","channel":"/b","successful":true}]'), text_frame(b'[{"channel":"/a","data":1}]')]
    way.frames.clear()
    assert client.wire.writable_changed is not None
    client.wire.writable_changed(None)
    await bayeux.hub.publisher.emit("t", "/a", b"2")
    assert (await client.read(), way.frames) == ([{"channel": "/a", "data": 2}], [])


async def test_a_connection_that_is_lost_while_it_is_written_to_keeps_what_was_to_be_sent() -> None:
    bayeux = Bayeux()
    client, way = await direct(bayeux)
    way.lost = client.wire.lost = True
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    await bayeux.loop.run()
    await client.connection.receive(json.dumps([client.message("/b", data=1)]).encode())
    client.connection.gone()
    assert [message.data for message in client.session.queue] == [b"1"]


async def test_what_is_to_be_acknowledged_is_not_written_at_once() -> None:
    bayeux = Bayeux()
    client, way = await direct(bayeux, ack=True)
    await client.send(client.connect(ext={"ack": 1}))
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    (event, reply) = await client.read()
    assert (event["data"], reply["channel"], way.frames) == (1, "/meta/connect", [])


async def test_what_is_written_at_once_counts_as_activity_where_deliveries_do() -> None:
    bayeux = Bayeux(limits=Limits(activity_ms=60_000, activity_counts_deliveries=1))
    client, way = await direct(bayeux)
    bayeux.pass_time(5)
    await bayeux.emit("/a", b"1")
    assert way.frames == [text_frame(b'[{"channel":"/a","data":1}]')]
    assert client.session.active_at == bayeux.clock.now


async def test_a_client_whose_handshake_waits_for_its_turn_is_not_idle() -> None:
    """While thousands of clients come back, a turn may be longer away than a client may stay without a session."""
    bayeux = Bayeux(limits=Limits(hello_timeout_s=10))
    client = bayeux.socket()
    await bayeux.hub.arrivals.turn()
    bayeux.clock.advance(1)
    answering = asyncio.create_task(client.connection.receive(json.dumps([by_token()]).encode()))
    await take_turns()
    assert len(bayeux.hub.arrivals) == 1
    for _ in range(3):
        bayeux.clock.advance(11)
        bayeux.hub.timers.sweep()
    assert client.wire.closed is None
    bayeux.loop.tick()
    await answering
    (reply,) = await client.read()
    assert reply["successful"]
    bayeux.clock.advance(11)
    bayeux.hub.timers.sweep()
    assert client.wire.closed is None


async def test_a_client_that_says_no_handshake_is_idle() -> None:
    bayeux = Bayeux(limits=Limits(hello_timeout_s=10))
    client = bayeux.socket()
    bayeux.clock.advance(9)
    await client.send({"channel": "/meta/connect", "clientId": "0" * 60, "connectionType": "websocket"})
    bayeux.clock.advance(2)
    bayeux.hub.timers.sweep()
    assert client.wire.close_frame == (CloseCode.NORMAL, "no session")
