"""The conversation of /ws by messages in and messages out (docs/protocol/dashboard.md#conversation)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.limits import Limits
from tests.hub.dashboard.harness import Dashboard, Tokens, principal, welcomed

WELCOME = {"type": "welcome", "session": "s1", "heartbeat": 25}


# -- who is it ----------------------------------------------------------------------------------------------------------


async def test_known_credentials_are_welcomed_at_once() -> None:
    dashboard = Dashboard(who=principal())
    assert await dashboard.read() == [WELCOME]


async def test_hello_with_a_token_is_welcomed() -> None:
    dashboard = Dashboard()
    assert await dashboard.send({"type": "hello", "token": "ann"}) == [WELCOME]
    assert dashboard.tokens.asked == [({"token": "ann"}, "cookie")]


async def test_hello_and_commands_may_come_in_one_array() -> None:
    dashboard = Dashboard()
    assert await dashboard.send([{"type": "hello", "token": "ann"}, {"type": "ping", "id": 1}]) == [WELCOME, {"type": "pong", "id": 1}]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "hello", "token": "bad"},
        {"type": "hello", "token": 5},
        {"type": "hello"},
        {"type": "subscribe", "channels": ["/free/a"]},
        {"type": "ping"},
        {"type": 7},
        {},
    ],
)
async def test_anything_but_a_good_hello_first_closes_4401(message: object) -> None:
    dashboard = Dashboard()
    assert await dashboard.send(message) == []
    assert dashboard.wire.closed == 4401
    assert dashboard.counters.not_authenticated == 1
    assert not dashboard.hub.sessions.by_id


async def test_no_hello_in_time_closes_4401() -> None:
    dashboard = Dashboard(limits=Limits(hello_timeout_s=3))
    dashboard.pass_time(2.9)
    assert dashboard.wire.closed is None
    dashboard.pass_time(0.2)
    assert dashboard.wire.close_frame == (4401, "expected hello within 3 s")


async def test_the_hello_clock_stops_with_the_welcome() -> None:
    dashboard = Dashboard()
    await dashboard.send({"type": "hello", "token": "ann"})
    dashboard.pass_time(60)
    assert dashboard.wire.closed is None


async def test_a_client_that_went_while_its_token_was_looked_up_is_not_let_in() -> None:
    tokens = Tokens()
    dashboard = Dashboard(tokens=tokens)
    tokens.before_answer = dashboard.conversation.gone
    assert await dashboard.send({"type": "hello", "token": "ann"}) == []
    assert not dashboard.hub.sessions.by_id


async def test_bad_credentials_of_the_handshake_close_4401() -> None:
    dashboard = Dashboard(opened=False)
    dashboard.conversation.refuse()
    assert await dashboard.send({"type": "hello", "token": "ann"}) == []
    assert dashboard.wire.close_frame == (4401, "the credentials are wrong or expired")


async def test_hello_without_a_token_when_authenticated_already_is_an_error() -> None:
    dashboard = await welcomed()
    (error,) = await dashboard.send({"type": "hello", "id": 1})
    assert (error["type"], error["id"], error["code"]) == ("error", 1, 400)
    assert dashboard.wire.closed is None


async def test_an_open_hub_welcomes_who_has_no_credentials() -> None:
    dashboard = Dashboard(tokens=Tokens(open=True))
    assert await dashboard.read() == [WELCOME]
    assert await dashboard.send({"type": "hello"}) == [WELCOME]
    assert dashboard.hub.sessions.by_id["s1"].principal.anonymous


async def test_an_anonymous_client_may_still_say_who_it_is() -> None:
    dashboard = Dashboard(tokens=Tokens(open=True))
    await dashboard.read()
    assert await dashboard.send({"type": "hello", "token": "ann"}) == [WELCOME]
    assert dashboard.hub.sessions.by_id["s1"].principal.subject == "ann"


async def test_an_open_hub_still_refuses_a_bad_token() -> None:
    dashboard = Dashboard(tokens=Tokens(open=True))
    await dashboard.read()
    await dashboard.send({"type": "hello", "token": "bad"})
    assert dashboard.wire.close_frame == (4401, "the token is wrong or expired")
    assert not dashboard.hub.sessions.by_id


async def test_an_anonymous_client_with_subscriptions_stays_who_it_is() -> None:
    dashboard = Dashboard(tokens=Tokens(open=True))
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    (error,) = await dashboard.send({"type": "hello", "token": "ann"})
    assert error["code"] == 400


async def test_a_full_server_closes_4429() -> None:
    dashboard = Dashboard(who=principal(), limits=Limits(max_sessions=0))
    assert await dashboard.read() == []
    assert dashboard.wire.close_frame == (4429, "this server holds 0 sessions, its limit")
    assert dashboard.counters.too_many == 1


# -- bad frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"[1",
        b"5",
        b"null",
        b'"x"',
        b"[1]",
        b'[{"type":"ping"},[]]',
        b'{"type":"ping"}{}',
        b'{"a":NaN}',
        b'"\xff"',
        b"[" * 65 + b"]" * 65,
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_what_is_no_command_closes_4400(payload: bytes, known: bool) -> None:
    dashboard = Dashboard(who=principal() if known else None)
    await dashboard.send(payload)
    assert dashboard.wire.closed == 4400
    assert "expected" in dashboard.wire.reason
    assert dashboard.counters.bad_messages == 1


async def test_nothing_of_a_bad_array_is_carried_out() -> None:
    dashboard = await welcomed()
    assert await dashboard.send([{"type": "ping"}, 5]) == []


async def test_an_empty_array_is_no_fault() -> None:
    dashboard = await welcomed()
    assert await dashboard.send(b" [] ") == []
    assert dashboard.wire.closed is None


async def test_too_many_commands_in_a_frame_close_4429() -> None:
    dashboard = await welcomed(limits=Limits(max_batch=3))
    assert len(await dashboard.send([{"type": "ping"}] * 3)) == 3
    await dashboard.send([{"type": "ping"}] * 4)
    assert dashboard.wire.close_frame == (4429, "expected at most 3 commands in a frame, got 4")


async def test_a_long_array_of_commands_gives_way() -> None:
    dashboard = await welcomed()
    dashboard.clock.step = 0.0015
    answers = await dashboard.send([{"type": "ping", "id": number} for number in range(20)])
    assert [answer["id"] for answer in answers] == list(range(20))
    assert dashboard.loop.breaths >= 10


async def test_a_client_that_goes_amid_a_long_array_is_answered_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard = await welcomed()
    dashboard.clock.step = 1.0

    async def gone() -> None:
        dashboard.conversation.gone()

    monkeypatch.setattr(dashboard.loop, "breathe", gone)
    await dashboard.send([{"type": "subscribe", "channels": ["/a"]}, {"type": "subscribe", "channels": ["/b"]}])
    assert len(dashboard.hub.router) == 0
    assert dashboard.counters.commands == 0


async def test_the_values_of_many_channels_give_way() -> None:
    dashboard = await welcomed()
    dashboard.values = {f"/state/{number}": b"1" for number in range(3)}
    await dashboard.send({"type": "subscribe", "channels": ["/a"]})
    session = next(iter(dashboard.hub.sessions.by_id.values()))
    dashboard.clock.step = 0.0015
    before = dashboard.loop.breaths
    await dashboard.hub.snapshots.send(session, [f"/state/{number}" for number in range(20)])
    assert dashboard.loop.breaths - before >= 10


async def test_a_command_that_is_too_large_is_an_error() -> None:
    dashboard = await welcomed(limits=Limits(max_message_bytes=50))
    big, pong = await dashboard.send([{"type": "ping", "id": 1, "x": "y" * 50}, {"type": "ping", "id": 2}])
    assert (big["type"], big["id"], big["code"]) == ("error", 1, 413)
    assert pong == {"type": "pong", "id": 2}


async def test_after_the_end_nothing_is_answered() -> None:
    dashboard = await welcomed()
    dashboard.conversation.bad_frame(CloseCode.BAD_MESSAGE, "binary")
    assert await dashboard.send({"type": "ping"}) == []
    assert dashboard.wire.close_frame == (4400, "binary")


# -- wrong fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({}, "expected type to be a text, got nothing"),
        ({"type": None}, "expected type to be a text, got null"),
        ({"type": {}}, "expected type to be a text, got an object"),
        ({"type": "publish", "channel": "/a"}, 'expected type to be one of hello, subscribe, unsubscribe, ping, got a text, "publish"'),
        ({"type": "subscribe"}, "expected channels to be an array of texts, got nothing"),
        ({"type": "subscribe", "channels": "/a"}, 'expected channels to be an array of texts, got a text, "/a"'),
        ({"type": "subscribe", "channels": []}, "expected channels to hold at least one text, got an empty array"),
        ({"type": "subscribe", "channels": ["/free/a", 5]}, "expected channels[1] to be a text, got a number, 5"),
        ({"type": "subscribe", "channels": [True]}, "expected channels[0] to be a text, got true"),
        ({"type": "unsubscribe", "channels": {"a": 1}}, "expected channels to be an array of texts, got an object"),
        ({"type": "unsubscribe", "channels": [[]]}, "expected channels[0] to be a text, got an array"),
        (
            {"type": "subscribe", "channels": ["/log/a"], "since": "12"},
            'expected since to be a position, an integer from 0 to 2^53 - 1, got a text, "12"',
        ),
        (
            {"type": "subscribe", "channels": ["/log/a"], "since": -1},
            "expected since to be a position, an integer from 0 to 2^53 - 1, got a number, -1",
        ),
        (
            {"type": "subscribe", "channels": ["/log/a"], "since": 2**53},
            f"expected since to be a position, an integer from 0 to 2^53 - 1, got a number, {2**53}",
        ),
    ],
)
async def test_a_wrong_field_is_answered_and_ends_nothing(message: dict[str, Any], text: str) -> None:
    dashboard = await welcomed()
    assert await dashboard.send(message | {"id": 3}) == [{"type": "error", "id": 3, "code": 400, "message": text}]
    assert await dashboard.send({"type": "ping"}) == [{"type": "pong"}]
    assert dashboard.counters.errors == 1


async def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    dashboard = await welcomed()
    (error,) = await dashboard.send({"type": "x" * 1000})
    assert len(error["message"]) < 200


@pytest.mark.parametrize("identifier", [b"1", b"-1.50", b"1e2", b"123456789012345678901234567890", b'"a\\u00e9"', b'""'])
async def test_the_id_is_echoed_as_it_came(identifier: bytes) -> None:
    dashboard = await welcomed()
    await dashboard.conversation.receive(b'{"type":"ping","id": %b }' % identifier)
    await dashboard.loop.run()
    assert dashboard.wire.frames == [b'[{"type":"pong","id":%b}]' % identifier]


@pytest.mark.parametrize(("identifier", "kind"), [(None, "null"), ({}, "an object"), ([1], "an array"), (True, "true"), (False, "false")])
async def test_an_id_of_another_kind_is_an_error(identifier: object, kind: str) -> None:
    dashboard = await welcomed()
    assert await dashboard.send({"type": "ping", "id": identifier}) == [
        {"type": "error", "code": 400, "message": f"expected id to be a number or a text, got {kind}"}
    ]


# -- subscribing --------------------------------------------------------------------------------------------------------


async def test_subscribe_event_unsubscribe() -> None:
    dashboard = await welcomed()
    assert await dashboard.send({"type": "subscribe", "id": 1, "channels": ["/free/a", "/free/b/**", "/free/a"]}) == [
        {"type": "subscribed", "id": 1, "channels": [{"channel": "/free/a"}, {"channel": "/free/b/**"}]}
    ]
    await dashboard.emit("/free/a", b'{"x":1.10}')
    await dashboard.emit("/free/b/c/d")
    await dashboard.loop.run()
    assert dashboard.wire.frames == [
        b'[{"type":"event","channel":"/free/a","data":{"x":1.10}},{"type":"event","channel":"/free/b/c/d","data":1}]'
    ]
    await dashboard.read()
    assert await dashboard.send({"type": "unsubscribe", "id": 2, "channels": ["/free/a", "/never/there"]}) == [
        {"type": "unsubscribed", "id": 2, "channels": ["/free/a", "/never/there"]}
    ]
    await dashboard.emit("/free/a")
    assert await dashboard.read() == []


async def test_log_channels_carry_positions_and_say_that_nothing_was_recovered() -> None:
    dashboard = await welcomed()
    position = dashboard.clock.wall_us() - 1
    (subscribed,) = await dashboard.send({"type": "subscribe", "channels": ["/log/a", "/log/**", "/free/a"]})
    assert subscribed["channels"] == [
        {"channel": "/log/a", "position": position, "recovered": False},
        {"channel": "/log/**", "position": position, "recovered": False},
        {"channel": "/free/a"},
    ]
    await dashboard.emit("/log/a")
    (event,) = await dashboard.read()
    assert event == {"type": "event", "channel": "/log/a", "data": 1, "position": dashboard.clock.wall_us()}


async def test_the_present_values_of_state_channels_follow_the_answer() -> None:
    dashboard = await welcomed()
    dashboard.values = {"/state/a": b"5"}
    assert await dashboard.send([{"type": "subscribe", "id": 1, "channels": ["/state/a"]}, {"type": "ping"}]) == [
        {"type": "subscribed", "id": 1, "channels": [{"channel": "/state/a"}]},
        {"type": "event", "channel": "/state/a", "data": 5},
        {"type": "pong"},
    ]


async def test_a_subscription_is_in_force_once_the_bus_confirms_it() -> None:
    dashboard = await welcomed()
    await dashboard.send({"type": "subscribe", "channels": ["/free/old"]})

    async def meanwhile() -> None:
        await dashboard.emit("/free/new", b"2")
        await dashboard.loop.run()
        assert dashboard.wire.frames == []

    dashboard.bus.before_confirm = meanwhile
    await dashboard.emit("/free/old", b"1")
    events = await dashboard.send({"type": "subscribe", "id": 1, "channels": ["/free/new"]})
    assert [(e["type"], e.get("data")) for e in events] == [("event", 1), ("subscribed", None)]
    await dashboard.emit("/free/new", b"3")
    assert [e["data"] for e in await dashboard.read()] == [3]


async def test_a_refused_channel_is_named_and_the_whole_array_refused() -> None:
    dashboard = await welcomed()
    assert await dashboard.send({"type": "subscribe", "id": "x", "channels": ["/free/a", "/secret/a"]}) == [
        {
            "type": "error",
            "id": "x",
            "code": 403,
            "message": "subscribing to this channel is not allowed: no role of this credential allows it",
            "channel": "/secret/a",
        }
    ]
    assert dashboard.hub.sessions.by_id["s1"].subscriptions == {}


@pytest.mark.parametrize("channel", ["", "a", "/", "/a/", "/a//b", "/a/**/b", "/é", "/a b", "/meta/x", "/" + "a" * 255, "/a" * 17])
async def test_a_bad_channel_name_is_an_error(channel: str) -> None:
    dashboard = await welcomed()
    (error,) = await dashboard.send({"type": "subscribe", "channels": [channel]})
    assert (error["type"], error["code"]) == ("error", 403)
    assert error.get("channel", "") == channel


async def test_too_many_subscriptions_are_an_error() -> None:
    dashboard = await welcomed(limits=Limits(max_subscriptions=2))
    (error,) = await dashboard.send({"type": "subscribe", "channels": ["/free/a", "/free/b", "/free/c"]})
    assert (error["code"], error["message"]) == (429, "a session holds at most 2 subscriptions, got 3 channels")
    await dashboard.send({"type": "subscribe", "channels": ["/free/a", "/free/b"]})
    (error,) = await dashboard.send({"type": "subscribe", "channels": ["/free/c"]})
    assert (error["code"], error["channel"]) == (429, "/free/c")


async def test_a_client_that_goes_while_it_subscribes_leaves_nothing_behind() -> None:
    dashboard = await welcomed()

    async def leave() -> None:
        dashboard.conversation.gone()

    dashboard.bus.before_confirm = leave
    assert await dashboard.send({"type": "subscribe", "channels": ["/free/a"]}) == []
    assert not dashboard.hub.sessions.by_id
    assert len(dashboard.hub.router) == 0


async def test_a_snapshot_that_is_refused_is_an_error_after_the_answer() -> None:
    dashboard = await welcomed()

    class Unavailable(dict[str, bytes]):
        def items(self) -> Any:
            raise RefusedError(WireError.RATE_LIMITED, "not now", channel="/state/a")

    dashboard.values = Unavailable()
    subscribed, error = await dashboard.send({"type": "subscribe", "id": 1, "channels": ["/state/a"]})
    assert subscribed["type"] == "subscribed"
    assert error == {"type": "error", "id": 1, "code": 429, "message": "not now", "channel": "/state/a"}


# -- flushing and slow clients ------------------------------------------------------------------------------------------


async def test_messages_of_one_tick_leave_in_one_frame_up_to_its_limit() -> None:
    dashboard = await welcomed(limits=Limits(max_frame_bytes=150))
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    for number in range(5):
        await dashboard.emit("/free/a", b"%d" % number)
    await dashboard.loop.run()
    assert [len(json.loads(frame)) for frame in dashboard.wire.frames] == [3, 2]


async def test_a_message_above_the_frame_limit_leaves_alone() -> None:
    dashboard = await welcomed(limits=Limits(max_frame_bytes=100))
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    await dashboard.emit("/free/a", b'"%b"' % (b"x" * 500))
    await dashboard.emit("/free/a")
    await dashboard.loop.run()
    assert [len(json.loads(frame)) for frame in dashboard.wire.frames] == [1, 1]


async def test_a_client_that_does_not_read_is_written_to_again_once_it_has_read() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=1000))
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    dashboard.wire.buffered = 1001
    await dashboard.emit("/free/a")
    assert await dashboard.read() == []
    dashboard.wire.buffered = 0
    dashboard.conversation.drained()
    dashboard.conversation.drained()
    assert [event["data"] for event in await dashboard.read()] == [1]
    dashboard.conversation.drained()
    assert dashboard.loop.callbacks == []


async def test_a_slow_reader_of_state_gets_a_snapshot_of_all_in_the_end() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=500))
    await dashboard.send({"type": "subscribe", "channels": ["/state/a"]})
    dashboard.wire.buffered = 501
    for number in range(50):
        await dashboard.emit("/state/a", b"%d" % number)
        await dashboard.loop.run()
    dashboard.values = {"/state/a": b"49"}
    dashboard.wire.buffered = 0
    dashboard.conversation.drained()
    assert (await dashboard.read())[-1] == {"type": "event", "channel": "/state/a", "data": 49}
    assert dashboard.hub.counters.conflated > 0


async def test_a_slow_reader_of_events_loses_the_newest() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=500))
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    dashboard.wire.buffered = 501
    for number in range(50):
        await dashboard.emit("/free/a", b"%d" % number)
    dashboard.wire.buffered = 0
    kept = [event["data"] for event in await dashboard.read()]
    assert kept == list(range(len(kept)))
    assert dashboard.hub.counters.dropped == 50 - len(kept)


async def test_a_slow_reader_of_a_log_is_closed_4408() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=500))
    await dashboard.send({"type": "subscribe", "channels": ["/log/a"]})
    dashboard.wire.buffered = 501
    for _ in range(50):
        await dashboard.emit("/log/a")
    assert dashboard.wire.closed == 4408
    assert not dashboard.hub.sessions.by_id
    assert await dashboard.send({"type": "ping"}) == []


async def test_a_client_that_asks_and_never_reads_is_closed_4408() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=500))
    dashboard.wire.buffered = 501
    for _ in range(50):
        await dashboard.send({"type": "ping"})
    assert dashboard.wire.closed == 4408


async def test_a_revoked_credential_closes_4401() -> None:
    dashboard = await welcomed()
    dashboard.hub.sessions.by_id["s1"].end_revoked()
    assert dashboard.wire.close_frame == (4401, "the credential has ended: it ran out, was removed or changed")
    assert not dashboard.hub.sessions.by_id


async def test_what_waits_is_sent_before_the_connection_is_closed() -> None:
    dashboard = await welcomed()
    await dashboard.send({"type": "subscribe", "channels": ["/free/a"]})
    await dashboard.emit("/free/a")
    dashboard.conversation.close(CloseCode.RESTARTING, "the server stops")
    assert len(dashboard.wire.frames) == 1
    assert dashboard.wire.close_frame == (1012, "the server stops")


async def test_drained_before_anybody_was_welcomed_does_nothing() -> None:
    dashboard = Dashboard()
    dashboard.conversation.drained()
    assert dashboard.loop.callbacks == []


async def test_an_overflow_while_a_subscribe_is_under_way_keeps_the_answer() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=500))
    await dashboard.send({"type": "subscribe", "channels": ["/state/a"]})
    dashboard.wire.buffered = 501
    for _ in range(3):
        await dashboard.emit("/state/a")

    async def meanwhile() -> None:
        for _ in range(20):
            await dashboard.emit("/state/a")

    dashboard.bus.before_confirm = meanwhile
    await dashboard.conversation.receive(b'{"type":"subscribe","id":9,"channels":["/free/b"]}')
    dashboard.wire.buffered = 0
    dashboard.conversation.drained()
    assert {"type": "subscribed", "id": 9, "channels": [{"channel": "/free/b"}]} in await dashboard.read()


async def test_nothing_behind_a_bad_hello_is_carried_out() -> None:
    dashboard = Dashboard()
    assert await dashboard.send([{"type": "hello", "token": "bad"}, {"type": "hello", "token": "ann"}]) == []
    assert dashboard.tokens.asked == [({"token": "bad"}, "cookie")]


async def test_the_first_reason_to_close_stays() -> None:
    dashboard = await welcomed()
    session = dashboard.hub.sessions.by_id["s1"]
    session.end_revoked()
    session.end_too_slow()
    dashboard.conversation.gone()
    assert dashboard.wire.close_frame == (4401, "the credential has ended: it ran out, was removed or changed")


async def test_a_queue_that_was_given_up_whole_ends_in_a_snapshot_alone() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=300))
    await dashboard.send({"type": "subscribe", "channels": ["/state/a"]})
    await dashboard.emit("/state/a", b'"%b"' % (b"x" * 300))
    dashboard.values = {"/state/a": b"1"}
    assert [event["data"] for event in await dashboard.read()] == [1]
