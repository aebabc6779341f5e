"""Statistics of large groups: opening, computing and telling them gives way to others, slice by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from tests.channels.statistics.support import Centre, Listener, RestlessClock, call, items_of, login, principal
from tests.support.turns import Turns

AGENTS = 500

STATE: dict[str, object] = {"statisticId": "state", "objectId": "All", "objectType": "GroupAgents", "name": "CurrentGroupState"}
READY: dict[str, object] = {"statisticId": "ready", "objectId": "All", "objectType": "GroupAgents"} | {
    "definition": {"category": "CurrentTime", "subject": "AgentStatus", "mainMask": "*", "notificationMode": "Immediate"}
}
STATE_CHANNEL = "/statistics/v3/values/GroupAgents/All/CurrentGroupState"


async def large(clock: RestlessClock | None = None) -> Centre:
    """A centre of many agents; with a restless clock every look at it ends a slice."""
    centre = Centre(clock=clock)
    await centre.feed(*(centre.event("cx.agent.ready", agentId=f"a{n}") for n in range(AGENTS)))
    await centre.server.tick()
    return centre


async def open_statistic(centre: Centre, item: dict[str, object]) -> None:
    assert (await centre.server.open_subscription(login(), "sub", [item])).readings


async def peek(centre: Centre) -> None:
    (reading,) = (await centre.server.peek_subscription(login(), "sub", [])).readings
    assert reading.value["intValue"] == AGENTS


async def read(centre: Centre) -> None:
    (reading,) = (await centre.server.read(login(), [STATE])).readings
    assert orjson.loads(reading.encoded) == reading.value
    assert len(reading.value["stateValue"]["agents"]) == AGENTS


async def present_updates(centre: Centre) -> None:
    told = await centre.server.present_updates("t", "login")
    assert told is not None
    assert len(orjson.loads(told)["data"]["statistics"][0]["value"]["stateValue"]["agents"]) == AGENTS


async def tick(centre: Centre) -> None:
    await centre.feed(centre.event("cx.agent.notready", agentId="a7"))
    await centre.tick(2)


async def watch(centre: Centre) -> None:
    await centre.server.watch("t", STATE_CHANNEL)


TREES, BYTES = AGENTS // 32, AGENTS // 64
"""Slices in which the states of all are made, and encoded."""

CALLS: list[tuple[str, dict[str, object] | None, Callable[[Centre], Awaitable[None]], int]] = [
    ("open a time", None, lambda centre: open_statistic(centre, READY), AGENTS * 4 // 128),
    ("open a state", None, lambda centre: open_statistic(centre, STATE), TREES + BYTES),
    ("peek at a state", STATE, peek, TREES + BYTES),
    ("read a state", None, read, TREES + BYTES),
    ("subscribe to updates", STATE, present_updates, TREES + BYTES),
    ("tell a state", STATE, tick, TREES + BYTES),
    ("watch a state", None, watch, TREES),
]


@pytest.mark.parametrize(("opened", "call", "slices"), [pytest.param(*rest, id=name) for name, *rest in CALLS])
async def test_a_large_group_gives_way_to_others(
    opened: dict[str, object] | None, call: Callable[[Centre], Awaitable[None]], slices: int
) -> None:
    centre = await large(RestlessClock())
    if opened is not None:
        await open_statistic(centre, opened)
    turns = Turns()
    await call(centre)
    assert turns.stop() >= slices


async def test_the_state_of_a_large_group_is_told_whole() -> None:
    centre = await large()
    listener = await centre.subscribe("/statistics/v3/updates")
    await open_statistic(centre, STATE)
    listener.taken()
    await centre.feed(centre.event("cx.agent.notready", agentId="a7", reason="l\u00fcnch"))
    await centre.tick(2)
    (item,) = items_of(listener.taken()) or items_of([("/statistics/v3/updates", await _snapshot(centre))])
    agents: dict[str, Any] = {agent["agentId"]: agent for agent in item["value"]["stateValue"]["agents"]}
    assert list(agents) == sorted(f"a{n}" for n in range(AGENTS))
    assert {name for name, agent in agents.items() if agent["statusName"] != "WaitForNextCall"} == {"a7"}
    assert agents["a7"]["place"]["dnStatuses"][0]["actions"][1]["reasons"] == {"ReasonCode": "l\u00fcnch"}


async def _snapshot(centre: Centre) -> Any:
    """What a session gets whose queue is too small for a message."""
    told = await centre.server.present_updates("t", "login")
    assert told is not None
    return orjson.loads(told)


async def test_a_values_channel_whose_last_subscriber_leaves_while_it_is_opened_is_closed() -> None:
    centre = await large(RestlessClock())
    watching = asyncio.ensure_future(centre.server.watch("t", STATE_CHANNEL))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not watching.done()
    centre.server.unwatch("t", STATE_CHANNEL)
    await watching
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert (tenant.values, tenant.engine._open, len(tenant.notifier)) == ({}, {}, 0)


async def test_a_subscription_that_ends_while_its_state_is_put_together_is_told_no_more() -> None:
    centre = await large(RestlessClock())
    listener = await centre.subscribe("/statistics/v3/updates")
    await open_statistic(centre, STATE)
    listener.taken()
    await centre.feed(centre.event("cx.agent.notready", agentId="a7"))
    centre.clock.advance(2)
    ticking = asyncio.ensure_future(centre.server.tick())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not ticking.done()
    await centre.server.close_subscription(login(), "sub")
    await ticking
    await centre.settle()
    assert listener.taken() == []
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert (tenant.engine._open, tenant.notifier._newest, len(tenant.notifier)) == ({}, {}, 0)
    assert centre.server.counters.tick_failures == 0


async def test_an_opening_that_is_given_up_leaves_nothing() -> None:
    centre = await large(RestlessClock())
    opening = asyncio.ensure_future(centre.server.open_subscription(login(), "sub", [READY, STATE]))
    for _ in range(25):
        await asyncio.sleep(0)
    assert not opening.done()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    await centre.server.tick()
    assert (tenant.engine._open, tenant.notifier._immediate, tenant.subscriptions.statistics) == ({}, {}, 0)


async def test_the_present_values_of_many_channels_are_offered_some_at_a_time_and_none_is_older_than_what_was_told() -> None:
    centre = Centre(clock=RestlessClock())
    channels = [f"/statistics/v3/values/Agent/a{n:03}/InboundCalls" for n in range(300)]
    for channel in channels:
        await centre.server.watch("t", channel)
    listener = Listener(centre.hub, "s2", principal("another"))
    centre.hub.sessions.attach(listener)
    await centre.hub.subscriptions.subscribe(listener, ["/statistics/v3/values/**"])
    await centre.server.tick()
    await centre.settle()
    listener.taken()
    turns = Turns()
    snapshot = asyncio.ensure_future(centre.hub.snapshots.send(listener, ["/statistics/v3/values/**"]))
    for _ in range(50):
        await asyncio.sleep(0)
    assert 0 < len(listener.received) < 300  # what is there is sent before the rest is put together
    await centre.feed(*call(centre, "a000"), *call(centre, "a299"))
    await centre.server.tick()
    await snapshot
    assert turns.stop() >= 300
    for _ in range(3):
        await centre.tick(10)
    last = dict(listener.taken())  # by channel, what came last
    assert sorted(last) == channels
    assert {channel for channel, data in last.items() if data["value"]["intValue"] == 1} == {channels[0], channels[299]}


async def test_who_leaves_while_present_values_are_offered_keeps_nobody_waiting() -> None:
    centre = Centre(clock=RestlessClock())
    for n in range(100):
        await centre.server.watch("t", f"/statistics/v3/values/Agent/a{n}/InboundCalls")
    listener = Listener(centre.hub, "s2", principal("another"))
    centre.hub.sessions.attach(listener)
    await centre.hub.subscriptions.subscribe(listener, ["/statistics/v3/values/**"])
    snapshot = asyncio.ensure_future(centre.hub.snapshots.send(listener, ["/statistics/v3/values/**"]))
    for _ in range(10):
        await asyncio.sleep(0)
    centre.hub.subscriptions.unsubscribe(listener, ["/statistics/v3/values/**"])
    await snapshot
    assert len(listener.received) < 100
    assert not centre.server._entries["t"].lock.locked()


async def test_values_are_told_in_slices_when_the_service_is_back() -> None:
    centre = Centre(clock=RestlessClock())
    for n in range(200):
        await centre.server.watch("t", f"/statistics/v3/values/Agent/a{n}/InboundCalls")
    await centre.server.stop_service("t")
    turns = Turns()
    await centre.server.start_service("t")
    assert turns.stop() >= 3 * 200 - 10  # opened, computed, told
