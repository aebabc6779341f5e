"""Statistics of large groups: opening, computing and telling them gives way to others, slice by slice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from tests.channels.statistics.support import Centre, RestlessClock, items_of, login
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
    tenant = centre.server._slots["t"].tenant
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
    tenant = centre.server._slots["t"].tenant
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
    tenant = centre.server._slots["t"].tenant
    assert tenant is not None
    await centre.server.tick()
    assert (tenant.engine._open, tenant.notifier._immediate, tenant.statistics) == ({}, {}, 0)
