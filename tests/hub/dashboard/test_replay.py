"""``since``: a client that comes back gets what it missed, and is told the truth about it; one that hears nothing learns its position."""

from __future__ import annotations

from typing import Any

from hub.core.limits import Limits
from tests.hub.dashboard.harness import Dashboard, welcomed

Json = dict[str, Any]


def subscribe(*channels: str, **fields: Any) -> Json:
    return {"type": "subscribe", "id": 1, "channels": list(channels), **fields}


async def publish(dashboard: Dashboard, *numbers: int, channel: str = "/log/a") -> int:
    for number in numbers:
        await dashboard.emit(channel, b"%d" % number)
    position = dashboard.hub.positions.newest("t")
    assert position is not None
    return position


async def test_what_was_missed_follows_the_answer() -> None:
    dashboard = await welcomed()
    position = await publish(dashboard, 1)
    last = await publish(dashboard, 2)
    assert await dashboard.send([subscribe("/log/a", since=position), {"type": "ping"}]) == [
        {"type": "subscribed", "id": 1, "channels": [{"channel": "/log/a", "position": position, "recovered": True}]},
        {"type": "pong"},
        {"type": "event", "channel": "/log/a", "data": 2, "position": last},
    ]
    await publish(dashboard, 3)
    assert [event["data"] for event in await dashboard.read()] == [3]


async def test_each_channel_is_told_the_truth() -> None:
    dashboard = await welcomed()
    position = await publish(dashboard, 1)
    subscribed, *_ = await dashboard.send(subscribe("/log/a", "/free/a", "/state/a", "/log/**", since=position))
    assert subscribed["channels"] == [
        {"channel": "/log/a", "position": position, "recovered": True},
        {"channel": "/free/a", "recovered": False},
        {"channel": "/state/a", "recovered": False},
        {"channel": "/log/**", "position": position, "recovered": True},
    ]


async def test_a_position_that_the_log_does_not_know() -> None:
    dashboard = await welcomed()
    position = await publish(dashboard, 1)
    subscribed, event = await dashboard.send(subscribe("/log/a", since=17))
    assert not subscribed["channels"][0]["recovered"]
    assert subscribed["channels"][0]["position"] < position
    assert event["data"] == 1


async def test_everything_that_is_kept() -> None:
    dashboard = await welcomed()
    await publish(dashboard, 1, 2, 3)
    _, *events = await dashboard.send(subscribe("/log/**", since=0))
    assert [event["data"] for event in events] == [1, 2, 3]


async def test_a_subscribe_with_since_of_what_is_subscribed_already_replays() -> None:
    dashboard = await welcomed()
    await dashboard.send(subscribe("/log/a"))
    position = await publish(dashboard, 1, 2)
    await dashboard.read()
    await publish(dashboard, 3)
    await dashboard.read()
    _, *events = await dashboard.send(subscribe("/log/a", since=position))
    assert [event["data"] for event in events] == [3]


async def test_a_long_replay_waits_for_a_slow_reader() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=2000))
    await publish(dashboard, *range(100))
    dashboard.wire.buffered = 2001
    assert await dashboard.send(subscribe("/log/a", since=0)) == []
    dashboard.wire.buffered = 0
    dashboard.conversation.drained()
    _, *events = await dashboard.read()
    assert [event["data"] for event in events] == list(range(100))
    assert dashboard.wire.closed is None


async def test_an_idle_subscriber_learns_its_position() -> None:
    dashboard = await welcomed(limits=Limits(heartbeat_s=25))
    await dashboard.send(subscribe("/log/a"))
    position = await publish(dashboard, 1, channel="/log/other")
    dashboard.pass_time(26)
    assert await dashboard.read() == [{"type": "position", "position": position}]
    dashboard.pass_time(26)
    assert await dashboard.read() == []


async def test_who_hears_no_log_is_told_no_position() -> None:
    dashboard = await welcomed(limits=Limits(heartbeat_s=25))
    await dashboard.send(subscribe("/free/a"))
    await publish(dashboard, 1)
    dashboard.pass_time(26)
    assert await dashboard.read() == []


async def test_nothing_is_left_when_it_ends() -> None:
    dashboard = await welcomed()
    await publish(dashboard, 1)
    await dashboard.send(subscribe("/log/a", since=0))
    dashboard.conversation.gone()
    assert len(dashboard.hub.timers) == 0
    assert len(dashboard.hub.router) == 0


async def test_who_is_cut_off_by_the_answer_to_its_subscribe_leaves_no_timer() -> None:
    dashboard = await welcomed(limits=Limits(max_queue_bytes=120))
    assert await dashboard.send(subscribe("/log/a")) == []
    assert dashboard.wire.closed == 4408
    assert len(dashboard.hub.timers) == 0
