"""timesync, activity, replay in Salesforce's form, many tabs of one browser, and what the server ends by itself."""

from __future__ import annotations

from typing import Any

import pytest

from hub.bayeux.ports import Peer
from hub.core.limits import Limits
from tests.hub.bayeux.harness import NONE, RETRY, Bayeux, Client, Json, by_token, handshake

BY_TOKEN = {"authentication": {"token": "ann"}}


def data(messages: list[Json]) -> list[Any]:
    return [message["data"] for message in messages if "data" in message]


# -- timesync -----------------------------------------------------------------------------------------------------------


async def test_timesync_of_a_handshake() -> None:
    bayeux = Bayeux()
    now = bayeux.clock.wall_ms()
    client = Client(bayeux, message=handshake(ext={**BY_TOKEN, "timesync": {"tc": now - 100, "l": 0, "o": 0}}))
    assert (await client.shake())["ext"] == {"timesync": {"tc": now - 100, "ts": now, "p": 0, "a": -100}}


async def test_timesync_of_a_held_connect_counts_how_long_it_was_held() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    now = bayeux.clock.wall_ms()
    held = await client.hold(ext={"timesync": {"tc": now, "l": 10, "o": 40}})
    bayeux.pass_time(20.1)
    (reply,) = held.response()
    assert reply["ext"] == {"timesync": {"tc": now, "ts": now, "p": 20_100, "a": 50}}


@pytest.mark.parametrize(("lag", "offset", "answered"), [(0, 0, True), (5, 5, False), (12, 12, False), (12, 13, True), (5, -30, True)])
async def test_a_client_that_knows_the_time_is_not_answered(lag: int, offset: int, answered: bool) -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    timesync = {"tc": bayeux.clock.wall_ms(), "l": lag, "o": offset}
    (reply,) = await client.post(client.connect(timeout=0, ext={"timesync": timesync}))
    assert ("ext" in reply) == answered


@pytest.mark.parametrize("timesync", [1, [], "now", {"tc": "now"}, {"l": 1}, {"tc": 1, "l": None}, {"tc": True}])
async def test_a_timesync_that_is_none(timesync: object) -> None:
    client = await Bayeux().client()
    (reply,) = await client.post(client.connect(ext={"timesync": timesync}))
    assert reply["error"] == "400:ext.timesync:message_invalid"


# -- activity -----------------------------------------------------------------------------------------------------------


async def test_a_session_without_activity_is_ended() -> None:
    bayeux = Bayeux(limits=Limits(activity_ms=60_000))
    client = await bayeux.client()
    for _ in range(3):
        held = await client.hold()
        bayeux.pass_time(20.1)
        assert not bayeux.faults
        last = held.response()
    assert last == [
        {"channel": "/meta/disconnect", "successful": True},
        {"id": "9", "channel": "/meta/connect", "successful": True, "advice": NONE},
    ]
    assert not bayeux.server.sessions
    assert bayeux.server.counters.disconnected == 1


async def test_anything_but_a_connect_is_activity() -> None:
    bayeux = Bayeux(limits=Limits(activity_ms=30_000))
    client = await bayeux.client()
    for _ in range(4):
        held = await client.hold()
        bayeux.pass_time(20.1)
        held.response()
        await client.post(client.message("/a", data=1))
    assert client.id in bayeux.server.sessions


@pytest.mark.parametrize(("counts", "lives"), [(0, False), (1, True)])
async def test_deliveries_are_activity_where_the_setting_says_so(counts: int, lives: bool) -> None:
    bayeux = Bayeux(limits=Limits(activity_ms=30_000, activity_counts_deliveries=counts))
    client = await bayeux.client()
    await client.subscribed("/a")
    for _ in range(5):
        bayeux.pass_time(9)
        await bayeux.emit("/a")
        await client.post(client.connect(timeout=0))
    assert (client.id in bayeux.server.sessions) == lives


# -- replay ---------------------------------------------------------------------------------------------------------------


async def replaying(bayeux: Bayeux) -> Client:
    client = Client(bayeux, message=handshake(ext={**BY_TOKEN, "replay": True}))
    assert (await client.shake())["ext"] == {"replay": True}
    await client.post(client.connect(timeout=0))
    return client


async def connect(bayeux: Bayeux, client: Client) -> list[Json]:
    await bayeux.loop.run()
    return await client.post(client.connect(timeout=0))


async def test_positions_stand_where_salesforce_has_them() -> None:
    bayeux = Bayeux()
    client = await replaying(bayeux)
    await client.subscribed("/log/a")
    for text in (b'{"x":1.10}', b'{"event":{"type":"t","replayId":"old"},"y":2}', b"{}", b"[1]", b'{"event":7}'):
        await bayeux.emit("/log/a", text)
    position = bayeux.hub.positions.newest("t")
    messages = (await connect(bayeux, client))[:-1]
    assert data(messages) == [
        {"event": {"replayId": position - 4}, "x": 1.1},
        {"event": {"replayId": position - 3, "type": "t"}, "y": 2},
        {"event": {"replayId": position - 2}},
        [1],
        {"event": 7},
    ]
    assert [message.get("replayId") for message in messages] == [None, None, None, position - 1, position]


async def test_who_did_not_ask_gets_the_data_verbatim() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/log/a")
    await bayeux.emit("/log/a", b'{"x":1}')
    (message, _) = await connect(bayeux, client)
    assert message == {"channel": "/log/a", "data": {"x": 1}}


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize(("since", "expected"), [(-1, []), (-2, [1, 2, 3]), (0, [2, 3])])
async def test_from_where(since: int, expected: list[int], quoted: bool) -> None:
    bayeux = Bayeux()
    await bayeux.emit("/log/a", b'{"n":1}')
    first = bayeux.hub.positions.newest("t")
    await bayeux.emit("/log/a", b'{"n":2}')
    await bayeux.emit("/log/a", b'{"n":3}')
    client = await replaying(bayeux)
    position: Any = since or first
    replies = await client.post(client.subscribe("/log/a", ext={"replay": {"/log/a": str(position) if quoted else position, "/x": 17}}))
    assert replies[-1]["successful"]
    assert [item["n"] for item in data(await connect(bayeux, client))] == expected


async def test_a_channel_without_a_log_has_no_position() -> None:
    """Who asks from where is told of every channel that has a log; of one that has none by its absence, also where none has."""
    client = await replaying(Bayeux())
    (reply,) = await client.post(client.subscribe(["/x"], ext={"replay": {"/x": -2}}))
    assert (reply["successful"], reply["ext"]) == (True, {"replay": {}})
    (reply,) = await client.post(client.subscribe(["/y"]))
    assert "ext" not in reply


async def test_a_wildcard_is_replayed_too() -> None:
    bayeux = Bayeux()
    await bayeux.emit("/log/a", b'{"n":1}')
    await bayeux.emit("/log/b/c", b'{"n":2}')
    client = await replaying(bayeux)
    await client.post(client.subscribe(["/log/**"], ext={"replay": {"/log/**": -2}}))
    assert [item["n"] for item in data(await connect(bayeux, client))] == [1, 2]


async def test_a_position_that_is_not_in_the_log() -> None:
    bayeux = Bayeux()
    await bayeux.emit("/log/a")
    client = await replaying(bayeux)
    (reply,) = await client.post(client.subscribe(["/log/a", "/b"], ext={"replay": {"/log/a": 55}}))
    assert (reply["successful"], reply["subscription"]) == (False, ["/log/a", "/b"])
    assert reply["error"] == (
        "400::The replayId {55} you provided was invalid. "
        "Please provide a valid ID, -2 to replay all events, or -1 to replay only new events."
    )
    assert client.session.subscriptions == {}
    assert bayeux.hub.counters.not_recovered == 1


@pytest.mark.parametrize("replay", [5, [], "x", {"/log/a": None}, {"/log/a": "x"}, {"/log/a": 1.5}, {"/log/a": -3}, {"/log/a": '"5'}])
async def test_a_map_that_is_none(replay: object) -> None:
    client = await replaying(Bayeux())
    (reply,) = await client.post(client.subscribe("/log/a", ext={"replay": replay}))
    assert reply["error"] == "400:ext.replay:message_invalid"


async def test_the_reply_to_a_subscribe_says_where_it_begins() -> None:
    bayeux = Bayeux()
    await bayeux.emit("/log/a")
    client = await replaying(bayeux)
    (reply,) = await client.post(client.subscribe(["/log/a", "/b"]))
    assert reply["ext"] == {"replay": {"/log/a": bayeux.hub.positions.newest("t")}}


async def test_an_idle_client_learns_how_far_the_log_is() -> None:
    bayeux = Bayeux()
    client = await replaying(bayeux)
    await client.subscribed("/log/a")
    await bayeux.emit("/log/other")
    (reply,) = await connect(bayeux, client)
    assert reply["ext"] == {"replay": bayeux.hub.positions.newest("t")}
    (reply,) = await connect(bayeux, client)
    assert "ext" not in reply


async def test_no_position_is_told_while_a_response_may_still_be_lost() -> None:
    bayeux = Bayeux()
    client = await replaying(bayeux)
    await client.subscribed("/log/a")
    held = await client.hold()
    await bayeux.emit("/log/a")
    assert held.batch.messages
    (reply,) = await connect(bayeux, client)
    assert "ext" not in reply
    held.batch.lost()
    message, reply = await connect(bayeux, client)
    assert (message["channel"], message["data"], reply["successful"]) == ("/log/a", 1, True)


# -- many tabs ------------------------------------------------------------------------------------------------------------


async def test_a_browser_has_as_many_connects_held_as_it_may() -> None:
    bayeux = Bayeux(limits=Limits(max_held_per_browser=2))
    tabs = [await bayeux.client() for _ in range(3)]
    held = [await tab.hold(timeout=5000) for tab in tabs[:2]]
    (reply,) = await tabs[2].post(tabs[2].connect())
    assert reply["successful"]
    assert reply["advice"] == {"reconnect": "retry", "interval": 2000, "timeout": 20000, "multiple-clients": True}
    assert bayeux.server.counters.many_clients == 1
    bayeux.pass_time(5.1)
    assert held[0].response()[-1]["advice"] == RETRY
    again = await tabs[2].hold()
    bayeux.pass_time(20.1)
    again.response()
    assert not bayeux.server.registry.occupied


async def test_another_browser_has_connects_of_its_own() -> None:
    bayeux = Bayeux(limits=Limits(max_held_per_browser=1))
    await (await bayeux.client()).hold()
    other = Client(bayeux, peer=Peer(browsers=("other",)), message=by_token())
    await other.open()
    await other.hold()
    assert bayeux.server.counters.many_clients == 0


async def test_a_duplicate_does_not_count_twice() -> None:
    bayeux = Bayeux(limits=Limits(max_held_per_browser=1))
    client = await bayeux.client()
    await client.hold()
    await client.hold()
    assert bayeux.server.registry.occupied == {"browser": 1}


# -- the server ends it -----------------------------------------------------------------------------------------------------


async def test_a_held_connect_brings_the_end() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    held = await client.hold()
    client.session.deliver("/service/x", {"last": True})
    session = client.session
    session.disconnect()
    session.disconnect()
    assert held.response() == [
        {"channel": "/service/x", "data": {"last": True}},
        {"channel": "/meta/disconnect", "successful": True},
        {"id": "9", "channel": "/meta/connect", "successful": True, "advice": NONE},
    ]
    assert not bayeux.server.sessions


async def test_between_two_connects_the_next_one_brings_it() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    await client.subscribed("/a")
    client.session.deliver("/service/x", 1)
    client.session.disconnect()
    await bayeux.emit("/a", b"2")
    assert await client.post(client.connect()) == [
        {"channel": "/service/x", "data": 1},
        {"channel": "/meta/disconnect", "successful": True},
        {"id": "9", "channel": "/meta/connect", "successful": True, "advice": NONE},
    ]
    (reply,) = await client.post(client.connect())
    assert reply["error"] == "402::session_unknown"
    assert len(bayeux.hub.router) == 0


async def test_until_then_it_does_nothing_more() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    client.session.disconnect()
    told, *replies = await client.post(client.message("/a", data=1), client.message("/meta/subscribe", subscription="/a"))
    assert told == {"channel": "/meta/disconnect", "successful": True}
    assert [reply["error"] for reply in replies] == ["402::session_unknown"] * 2
    (reply,) = await client.post(client.message("/meta/disconnect"))
    assert reply["successful"] is True
    assert not bayeux.server.sessions


async def test_a_client_that_does_not_come_back_is_forgotten_all_the_same() -> None:
    bayeux = Bayeux()
    client = await bayeux.client()
    client.session.disconnect()
    bayeux.pass_time(10.1)
    assert not bayeux.server.sessions


async def test_a_websocket_is_told_at_once() -> None:
    bayeux = Bayeux()
    client = bayeux.socket()
    await client.open()
    assert await client.send(client.connect()) == []
    client.session.disconnect()
    assert await client.read() == [
        {"channel": "/meta/disconnect", "successful": True},
        {"id": "9", "channel": "/meta/connect", "successful": True, "advice": NONE},
    ]
