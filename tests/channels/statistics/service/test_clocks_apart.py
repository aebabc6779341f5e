"""Nodes whose clocks are an hour apart: the owner's clock counts, as that of a hub that is alone does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from channels.events import ACCEPTED, DUPLICATE, Event
from channels.ingest.sequencer import Sequencer
from tests.channels.statistics.service.nodes import StatNodes, until
from tests.channels.statistics.support import START_MS, Centre, agent_item, login
from tests.world import ManualClock

HOUR_S = 3600.0
NAMES = ("InboundCalls", "CurrentAgentState", "TimeInCurrentState", "ReadyDuration")
ITEMS = [agent_item(name=name) for name in NAMES]
APART = pytest.mark.parametrize("hours", [1, -1])


def made(events: list[Event], *, arrived_ms: int | None) -> list[Event]:
    """The events as ingest parses them; with ``arrived_ms`` their producer gave no time."""
    if arrived_ms is None:
        return events
    return [msgspec.structs.replace(event, time_ms=arrived_ms, arrival=True) for event in events]


def story(centre: Any) -> list[Event]:
    return [centre.event("cx.agent.ready", agentId="ana"), *centre.call()]


async def single(ahead_s: float, *, timed: bool) -> tuple[list[str], list[Any]]:
    """What a hub that is alone answers, whose clock is ahead: outcomes and values of the story."""
    clock = ManualClock(wall=START_MS + round(ahead_s * 1000))
    centre = Centre(clock=clock)
    sequencer = Sequencer(
        eventlog=centre.log, clock=clock, loop=centre.loop, find_consumers=lambda: [centre.server], repeats_s=600, repeats_max=100
    )
    await sequencer.start()
    async with StatNodes() as maker:
        events = made(story(maker), arrived_ms=None if timed else clock.wall_ms())
    outcomes = await sequencer.accept("t", events)
    clock.advance(20)
    await centre.server.tick()
    done = await centre.server.read(login(), ITEMS)
    return outcomes, [reading.value for reading in done.readings]


async def several(ahead_s: tuple[float, float], *, timed: bool) -> tuple[list[str], list[Any]]:
    """The same of two nodes: the first one is the owner, the second one is asked."""
    async with StatNodes(2, ahead_s=ahead_s) as nodes:
        await nodes.give(0)
        events = made(story(nodes), arrived_ms=None if timed else nodes[1].clock.wall_ms())
        outcomes = await nodes[1].sink.accept("t", events)
        await nodes.tick(20)
        done = await nodes[1].server.read(login(), ITEMS)
        assert done == await nodes[0].server.read(login(), ITEMS)
        return outcomes, [reading.value for reading in done.readings]


@APART
@pytest.mark.parametrize("timed", [True, False])
async def test_the_owner_s_clock_counts_as_that_of_a_hub_that_is_alone(hours: int, timed: bool) -> None:
    assert await several((hours * HOUR_S, 0.0), timed=timed) == await single(hours * HOUR_S, timed=timed)


@APART
@pytest.mark.parametrize("timed", [True, False])
async def test_the_clock_of_the_node_that_takes_the_events_does_not_count(hours: int, timed: bool) -> None:
    found = await several((0.0, hours * HOUR_S), timed=timed)
    assert found == await single(0.0, timed=timed)
    assert found[0] == [ACCEPTED] * 3


@APART
async def test_a_new_owner_whose_clock_is_wrong_loses_nothing(hours: int) -> None:
    """What was counted stays, a client hears the change of the owner and the value, and what comes again within the window is known."""
    async with StatNodes(2, ahead_s=(0.0, hours * HOUR_S)) as nodes:
        await nodes.give(0)
        value = "/statistics/v3/values/Agent/ana/InboundCalls"
        listener = await nodes[0].subscribe(value)
        events = story(nodes)
        assert await nodes[0].sink.accept("t", events) == [ACCEPTED] * 3
        await nodes.tick(11)
        await nodes.owners.release("t")
        await nodes.give(1)
        await until(lambda: len(nodes[1].local._entries["t"].watched) == 1)
        readings = await nodes[0].server.read(login(), [agent_item(name="InboundCalls")])
        assert readings.readings[0].value["intValue"] == 1
        await until(lambda: len(listener.received) >= 3)
        assert {int(data["value"]["intValue"]) for channel, data in listener.received if channel == value} == {0, 1}
        if hours < 0:
            assert await nodes[0].sink.accept("t", events) == [DUPLICATE] * 3
