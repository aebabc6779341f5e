"""/meta/connect over long-polling: when it is answered, what it carries, what takes its place, and the clock behind it."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import pytest

from hub.bayeux.held_connect import HeldConnect
from hub.core.limits import Limits
from tests.hub.bayeux.harness import HANDSHAKE, NONE, RETRY, Bayeux, Client, HookedBus, by_token


def connected(identifier: str = "9", advice: dict[str, Any] = RETRY) -> dict[str, Any]:
    return {"id": identifier, "channel": "/meta/connect", "successful": True, "advice": advice}


async def test_first_is_answered_at_once() -> None:
    client = Client(Bayeux())
    await client.shake()
    assert await client.post(client.connect()) == [connected()]


async def test_second_is_held_until_its_time_is_over() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold(id="42")
    bayeux.pass_time(19.9)
    assert not held.done
    bayeux.pass_time(0.2)
    assert held.response() == [connected("42")]


@pytest.mark.parametrize(("timeout", "held_for"), [(500, 0.5), (20_000, 20), (60_000, 20), (-1, 20), (None, 20)])
async def test_client_may_shorten_the_time(timeout: int | None, held_for: float) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold(timeout=timeout)
    bayeux.pass_time(held_for - 0.01)
    assert not held.done
    bayeux.pass_time(0.1)
    assert held.done


async def test_timeout_zero_is_answered_at_once() -> None:
    client = await Bayeux().client()
    assert await client.post(client.connect(timeout=0)) == [connected()]


async def test_in_a_batch_it_is_never_held() -> None:
    client = await Bayeux().client()
    replies = await client.post(client.connect(id="1"), client.message("/a", id="2", data=1))
    assert replies == [connected("1"), {"id": "2", "channel": "/a", "successful": True}]


async def test_first_in_a_batch_with_others() -> None:
    client = Client(Bayeux())
    await client.shake()
    replies = await client.post(client.subscribe("/a", id="1"), client.connect(id="2"))
    assert [reply["id"] for reply in replies] == ["1", "2"]


async def test_what_waits_answers_it_at_once_and_stands_before_the_reply() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    assert await client.post(client.connect()) == [{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}, connected()]


async def test_message_wakes_the_held_one() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.emit("/a", b'{"b": 1.10}')
    assert held.done
    assert held.batch.parts()[0] == b'{"channel":"/a","data":{"b": 1.10}}'
    assert held.response()[1] == connected()


async def test_messages_of_one_tick_leave_together() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    for number in range(3):
        await bayeux.hub.publisher.emit("t", "/a", b"%d" % number)
    assert not held.done
    await bayeux.loop.run()
    assert [message.get("data") for message in held.response()] == [0, 1, 2, None]


async def test_message_after_the_answer_waits_for_the_next() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    assert [message.get("data") for message in held.response()] == [1, None]
    assert (await client.post(client.connect()))[0]["data"] == 2


async def test_own_copy_rides_on_the_publish_response_and_wakes_nothing() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    replies = await client.post(client.message("/a", id="5", data=1))
    await bayeux.loop.run()
    assert replies == [{"channel": "/a", "data": 1}, {"id": "5", "channel": "/a", "successful": True}]
    assert not held.done


async def test_held_one_is_woken_when_the_response_that_should_carry_it_is_lost() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    batch = await bayeux.request([client.message("/a", data=1)])
    batch.lost()
    await bayeux.loop.run()
    assert [message.get("data") for message in held.response()] == [1, None]


async def test_responses_that_are_lost_again_and_again_make_the_queue_no_longer() -> None:
    limits = Limits(max_queue_bytes=1000)
    bayeux = Bayeux(limits=limits)
    client = await bayeux.client()
    await client.subscribed("/a")
    for number in range(5):
        await _fill(bayeux, number)
        batch = await bayeux.request([client.connect(timeout=0)])
        await _fill(bayeux, number + 100)
        batch.lost()
    assert client.session.queued_bytes <= limits.max_queue_bytes
    events = (await client.post(client.connect(timeout=0)))[:-1]
    assert [event["data"] for event in events] == [0] * 10 + [100] * 4
    assert client.session.dropped == bayeux.hub.counters.dropped == 100 - len(events)


async def test_a_log_that_has_no_room_beside_a_lost_response_ends_the_session() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=1000))
    client = await bayeux.client()
    await client.subscribed("/log/a")
    for _ in range(8):
        await bayeux.hub.publisher.emit("t", "/log/a", b"1")
    batch = await bayeux.request([client.connect(timeout=0)])
    for _ in range(8):
        await bayeux.hub.publisher.emit("t", "/log/a", b"1")
    batch.lost()
    assert client.id not in bayeux.server.sessions
    assert bayeux.hub.counters.too_slow == 1


async def _fill(bayeux: Bayeux, number: int) -> None:
    for _ in range(10):
        await bayeux.hub.publisher.emit("t", "/a", b"%d" % number)


async def test_messages_wait_while_a_request_is_processed() -> None:
    """The flush comes while a second subscribe is still waiting for the bus: the event rides on the response."""
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold()

    async def slowly(topics: Any, *, positions: bool) -> Any:
        confirmed = await bayeux.bus.subscribe(topics, positions=positions)
        if topics[0].channel == "/b":
            await bayeux.emit("/a", b"1")
        return confirmed

    bayeux.hub.subscriptions.interest._bus = HookedBus(bayeux.bus, slowly)  # type: ignore[assignment]
    replies = await client.post(client.subscribe("/a"), client.subscribe("/b"))
    assert [message.get("data") for message in replies] == [1, None, None]
    assert not held.done


# -- a second one -------------------------------------------------------------------------------------------------------


async def test_second_takes_the_place_of_the_first() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    first = await client.hold(id="1")
    second = await client.hold(id="2")
    assert (first.done, first.batch.superseded, first.batch.parts()) == (True, True, [])
    assert not second.done
    assert bayeux.server.counters.duplicate_connects == 1
    bayeux.pass_time(20.1)
    assert second.response() == [connected("2")]


async def test_second_that_is_answered_at_once_ends_the_first_too() -> None:
    client = await Bayeux().client()
    first = await client.hold()
    await client.post(client.connect(timeout=0))
    assert first.batch.superseded


async def test_messages_go_to_the_second() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    await client.hold()
    second = await client.hold()
    await bayeux.emit("/a")
    assert [message.get("data") for message in second.response()] == [1, None]


async def test_stale_connect_cannot_start_the_clock() -> None:
    """The first one's end is noticed late, when the second is already held (docs/protocol/bayeux.md#held-connects)."""
    bayeux = Bayeux()
    client = await bayeux.client()
    first = await client.hold()
    second = await client.hold()
    first.batch.abandon()
    first.batch.written()
    bayeux.pass_time(15)
    assert not second.done
    assert client.id in bayeux.server.sessions


async def test_whoever_comes_late_is_told_at_once() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    batch = await bayeux.request([client.connect()])
    assert batch.held is not None
    bayeux.pass_time(20.1)
    ended: list[object] = []
    batch.on_ready(ended.append)
    assert ended == [batch]


# -- a client that goes -------------------------------------------------------------------------------------------------


async def test_abandoned_connect_starts_the_clock_and_keeps_messages() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    held.batch.abandon()
    await bayeux.emit("/a")
    assert not held.done
    assert (await client.post(client.connect()))[0] == {"channel": "/a", "data": 1}


async def test_abandoned_client_expires() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold()
    bayeux.pass_time(15)
    held.batch.abandon()
    bayeux.pass_time(9.9)
    assert client.id in bayeux.server.sessions
    bayeux.pass_time(0.2)
    assert client.id not in bayeux.server.sessions


async def test_lost_response_is_queued_again_in_order() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.emit("/a", b"1")
    await bayeux.emit("/a", b"2")
    held.batch.lost()
    assert [message.get("data") for message in await client.post(client.connect())] == [1, 2, None]


async def test_lost_response_of_an_ended_session_is_let_go() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.emit("/a")
    session = client.session
    bayeux.pass_time(0)
    await client.post(client.message("/meta/disconnect"))
    held.batch.lost()
    assert not session.queue


# -- the clock ----------------------------------------------------------------------------------------------------------


async def test_session_expires_after_interval_and_max_interval() -> None:
    bayeux = Bayeux(limits=Limits(interval_ms=2000, max_interval_ms=3000))
    client = await bayeux.client()
    bayeux.pass_time(4.9)
    assert client.id in bayeux.server.sessions
    bayeux.pass_time(0.2)
    assert client.id not in bayeux.server.sessions
    assert bayeux.server.counters.expired == 1


@pytest.mark.parametrize(("announced", "lives"), [(5_000, 15), (600_000, 70), (-1, 10), (0, 10)])
async def test_a_pause_that_the_client_announces_keeps_its_session(announced: int, lives: int) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.post(client.connect(advice={"timeout": 0, "interval": announced}))
    bayeux.pass_time(lives - 0.1)
    assert client.id in bayeux.server.sessions
    bayeux.pass_time(0.2)
    assert not bayeux.server.sessions


async def test_a_pause_is_of_the_connect_that_announced_it() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.post(client.connect(advice={"timeout": 0, "interval": 5_000}))
    await client.post(client.connect(timeout=0))
    bayeux.pass_time(10.1)
    assert not bayeux.server.sessions


async def test_handshake_alone_expires() -> None:
    bayeux = Bayeux()
    await bayeux.post(by_token())
    bayeux.pass_time(10.1)
    assert not bayeux.server.sessions


async def test_any_message_puts_the_clock_back() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    for _ in range(4):
        bayeux.pass_time(9)
        (reply,) = await client.post(client.message("/a", data=1))
        assert reply["successful"]
    bayeux.pass_time(10.1)
    assert client.id not in bayeux.server.sessions


async def test_held_connect_stops_the_clock() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    bayeux.pass_time(9)
    await client.hold()
    bayeux.pass_time(15)
    assert client.id in bayeux.server.sessions


async def test_clock_starts_when_the_reply_was_written() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    batch = await bayeux.request([client.connect(timeout=0)])
    bayeux.pass_time(15)  # a slow reader
    batch.written()
    bayeux.pass_time(9.9)
    assert client.id in bayeux.server.sessions
    bayeux.pass_time(0.2)
    assert client.id not in bayeux.server.sessions


async def test_cycles_leave_one_timer() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    for _ in range(10):
        held = await client.hold()
        bayeux.pass_time(20.1)
        held.response()
    assert len(bayeux.hub.timers) == 1


async def test_expired_session_leaves_nothing() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed(["/a", "/b/**"])
    bayeux.pass_time(10.1)
    assert (len(bayeux.hub.router), len(bayeux.hub.timers), bayeux.hub.sessions.by_id) == (0, 0, {})
    assert not bayeux.hub.logins.has("t", "token-ann")
    (reply,) = await client.post(client.connect())
    assert (reply["error"], reply["advice"]) == ("402::session_unknown", HANDSHAKE)


async def test_message_in_the_tick_of_the_end_harms_nothing() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    bayeux.pass_time(10.1)
    await bayeux.loop.run()
    assert not bayeux.faults


# -- its end ------------------------------------------------------------------------------------------------------------


async def test_disconnect_answers_the_held_connect_with_none() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold(id="7")
    assert await client.post(client.message("/meta/disconnect")) == [{"id": "9", "channel": "/meta/disconnect", "successful": True}]
    assert held.response() == [connected("7", NONE)]
    assert not bayeux.server.sessions
    assert bayeux.server.counters.disconnects == 1


async def test_disconnect_carries_what_waits() -> None:
    client = await Bayeux().client()
    await client.subscribed("/a")
    replies = await client.post(client.message("/a", data=1), client.message("/meta/disconnect"))
    assert [(reply["channel"], reply.get("data")) for reply in replies] == [("/a", 1), ("/a", None), ("/meta/disconnect", None)]


async def test_after_disconnect_the_session_is_unknown() -> None:
    client = await Bayeux().client()
    replies = await client.post(client.message("/meta/disconnect"), client.message("/a", data=1), client.connect())
    assert [reply.get("error") for reply in replies] == [None, "402::session_unknown", "402::session_unknown"]


async def test_revoked_while_held() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    list(bayeux.server.revoke(lambda who: who.subject == "ann"))
    assert held.response() == [{"channel": "/a", "data": 1}, {"channel": "/meta/disconnect", "successful": True}, connected(advice=NONE)]
    assert not bayeux.server.sessions
    assert bayeux.server.counters.revoked == 1


async def test_revoked_between_two_connects() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    list(bayeux.server.revoke(lambda who: True))
    assert (await client.post(client.connect()))[0]["error"] == "402::session_unknown"


async def test_others_are_not_revoked() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    list(bayeux.server.revoke(lambda who: who.subject == "eve"))
    assert client.id in bayeux.server.sessions


async def test_of_many_that_are_revoked_one_ends_at_each_step_unless_it_showed_a_newer_credential() -> None:
    bayeux = Bayeux()
    clients = [await bayeux.client() for _ in range(3)]
    gone = {session.principal for session in bayeux.server.sessions.values()}
    steps = bayeux.server.revoke(lambda who: who in gone)
    next(steps)
    assert [client.id in bayeux.server.sessions for client in clients] == [False, True, True]
    renewed = bayeux.server.sessions[clients[1].id]
    renewed.principal = dataclasses.replace(renewed.principal, credential="token:newer")
    assert len(list(steps)) == 2
    assert [client.id in bayeux.server.sessions for client in clients] == [False, True, False]


async def test_revoked_twice() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    session = client.session
    session.end_revoked()
    session.end_revoked()
    session.end_too_slow()
    assert bayeux.server.counters.revoked == 1


async def test_log_overflow_sends_the_client_to_a_new_handshake() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    client = await bayeux.client()
    await client.subscribed("/log/**")
    held = await client.hold()
    for _ in range(3):
        await bayeux.hub.publisher.emit("t", "/log/a", b'"%b"' % (b"x" * 300))
    (reply,) = held.response()
    assert reply == {"id": "9", "channel": "/meta/connect", "successful": False, "error": "402::session_unknown", "advice": HANDSHAKE}
    assert not bayeux.server.sessions
    assert bayeux.hub.counters.too_slow == 1
    await bayeux.loop.run()
    assert not bayeux.faults


async def test_log_overflow_of_a_client_that_is_away() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    client = await bayeux.client()
    await client.subscribed("/log/**")
    for _ in range(3):
        await bayeux.emit("/log/a", b'"%b"' % (b"x" * 300))
    assert (await client.post(client.connect()))[0]["advice"] == HANDSHAKE


async def test_state_overflow_ends_in_a_snapshot() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    client = await bayeux.client()
    await client.subscribed("/state/**")
    for number in range(5):
        bayeux.values["/state/a"] = b'{"number":%d,"pad":"%b"}' % (number, b"x" * 200)
        await bayeux.emit("/state/a", bayeux.values["/state/a"])
    await client.post(client.connect(timeout=0))
    await bayeux.loop.run()
    replies = await client.post(client.connect())
    assert replies[0]["data"]["number"] == 4


async def test_snapshot_larger_than_the_queue_is_sent_once() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    bayeux.values = {f"/state/{number}": b'"%b"' % (b"x" * 300) for number in range(4)}
    client = await bayeux.client()
    replies = await client.post(client.subscribe("/state/**"))
    await bayeux.loop.run()
    assert [reply["channel"] for reply in replies] == [*bayeux.values, "/meta/subscribe"]


async def test_snapshot_that_is_due_comes_to_the_held_connect() -> None:
    bayeux = Bayeux(limits=Limits(max_queue_bytes=500))
    client = await bayeux.client()
    await client.subscribed("/state/**")
    bayeux.values["/state/a"] = b'"now"'
    await bayeux.emit("/state/a", b'"%b"' % (b"x" * 600))  # too large for the queue: given up for a snapshot
    held = await client.hold()
    await bayeux.loop.run()
    assert [message.get("data") for message in held.response()] == ["now", None]


# -- the server stops ---------------------------------------------------------------------------------------------------

LATER = {"reconnect": "handshake", "interval": 5000, "timeout": 20000}


def sent_away() -> dict[str, Any]:
    return {"id": "9", "channel": "/meta/connect", "successful": False, "error": "402::session_unknown", "advice": LATER}


async def test_drain_answers_held_connects() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    held = await client.hold()
    assert len(list(bayeux.server.drain())) == 1
    assert held.response() == [sent_away()]
    assert bayeux.server.draining


async def test_draining_holds_no_connect() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    list(bayeux.server.drain())
    assert await client.post(client.connect()) == [sent_away()]


async def test_drain_loses_no_message() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    await bayeux.hub.publisher.emit("t", "/a", b"1")
    list(bayeux.server.drain())
    assert [message.get("data") for message in held.response()] == [1, None]


async def test_draining_opens_no_session() -> None:
    bayeux = Bayeux()
    list(bayeux.server.drain())
    (reply,) = await bayeux.post(by_token())
    assert (reply["error"], reply["advice"]) == ("429::rate_limited", {**LATER, "interval": 4999})


async def test_draining_spreads_the_handshakes_of_unknown_clients() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    list(bayeux.server.drain())
    (reply,) = await bayeux.post({**client.connect(), "clientId": "unknown"})
    assert reply["advice"] == LATER


def held_connects() -> int:
    return sum(isinstance(thing, HeldConnect) for thing in gc.get_objects())


async def test_a_connect_that_has_ended_leaves_no_reference_cycle() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    gc.collect()
    before = held_connects()
    gc.disable()
    try:
        held = await client.hold()
        await bayeux.emit("/a")
        held.response()
        del held
        assert held_connects() == before
    finally:
        gc.enable()
