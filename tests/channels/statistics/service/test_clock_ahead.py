"""A clock that was ahead for a moment: nothing is refused for it, totals of the day go on, also after a restart."""

from __future__ import annotations

from typing import Any

from channels.events import Event
from tests.channels.statistics.support import Centre, agent_item, call, login

YEAR_S = 365 * 86_400
TEAM: dict[str, object] = {"groupId": "g", "kind": "agents", "members": ["ana"]}


async def restarted(centre: Centre) -> Centre:
    again = Centre(eventlog=centre.log, clock=centre.clock)
    await again.server.restore()
    return again


async def values(centre: Centre, agent: str = "ana") -> dict[str, Any]:
    names = ("CurrentAgentState", "TimeInCurrentState", "InboundCalls", "ReadyDuration")
    done = await centre.server.read(login(), [agent_item(name=name, agent=agent) for name in names])
    return {str(reading.name): reading.value["stringValue"] for reading in done.readings}


async def ahead(centre: Centre, seconds: float, *events: tuple[str, dict[str, object]]) -> None:
    """Events that come while the clock is ahead."""
    centre.clock.wall += round(seconds * 1000)
    await centre.feed(*(centre.event(kind, **data) for kind, data in events))
    await centre.tick()
    centre.clock.wall -= round(seconds * 1000)


async def test_after_a_year_ahead_events_of_the_same_agent_are_taken_and_the_day_goes_on() -> None:
    centre = Centre()
    await centre.feed(*call(centre, agent="bob"))
    await ahead(centre, YEAR_S, ("cx.agent.ready", {"agentId": "ana"}), ("cx.group.changed", TEAM))
    await centre.tick(10)
    report = await centre.server.report("t")
    assert report.now_ms == centre.clock.wall
    await centre.feed(*call(centre), centre.event("cx.group.changed", **TEAM))
    centre.clock.advance(20)
    assert await values(centre) == {
        "CurrentAgentState": "WaitForNextCall",
        "TimeInCurrentState": "20",
        "InboundCalls": "1",
        "ReadyDuration": "20",
    }
    assert (await values(centre, "bob"))["InboundCalls"] == "1"
    assert centre.server.counters.events_late == 0
    assert centre.server.counters.times_set_back == 1


async def test_after_a_restart_from_a_snapshot_of_that_time_too() -> None:
    centre = Centre()
    centre.clock.wall += YEAR_S * 1000
    await centre.feed(centre.event("cx.agent.ready", agentId="ana"), *call(centre, agent="bob"))
    await centre.server.stop()
    centre.clock.wall -= YEAR_S * 1000
    again = await restarted(centre)
    assert (await again.server.report("t")).snapshot_position == 3
    await again.feed(again.event("cx.agent.notready", agentId="ana"), *call(again))
    again.clock.advance(5)
    found = await values(again)
    assert (found["CurrentAgentState"], found["TimeInCurrentState"], found["InboundCalls"]) == ("NotReadyForNextCall", "5", "1")
    assert (await again.server.report("t")).now_ms == again.clock.wall


async def test_after_a_restart_from_the_log_alone_too() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.notready", agentId="ana"))
    centre.clock.advance(1)
    await ahead(centre, YEAR_S, ("cx.agent.ready", {"agentId": "ana"}))
    centre.clock.advance(1)
    again = await restarted(centre)
    assert (await again.server.report("t")).held == 0
    assert (await values(again))["CurrentAgentState"] == "WaitForNextCall"
    assert again.server.counters.events_redated == 1
    await again.feed(again.event("cx.agent.notready", agentId="ana"))
    assert (await values(again))["CurrentAgentState"] == "NotReadyForNextCall"


async def test_a_little_ahead_refuses_nothing_either() -> None:
    centre = Centre()
    await ahead(centre, 120, ("cx.agent.ready", {"agentId": "ana"}), ("cx.interaction.queued", {"interactionId": "i", "queue": "q"}))
    centre.clock.advance(1)
    await centre.feed(
        centre.event("cx.agent.notready", agentId="ana"),
        centre.event("cx.interaction.distributed", interactionId="i", queue="q", toAgentId="ana"),
    )
    assert (await values(centre))["CurrentAgentState"] == "NotReadyForNextCall"
    assert centre.server.counters.events_late == 0


async def test_an_event_that_waited_for_a_time_of_the_wrong_clock_comes_now() -> None:
    centre = Centre()
    centre.clock.wall += YEAR_S * 1000
    waits: Event = centre.event("cx.agent.ready", YEAR_S + 60, agentId="ana")
    await centre.feed(waits)
    await centre.tick()
    assert (await centre.server.report("t")).held == 1
    centre.clock.wall -= YEAR_S * 1000
    await centre.tick(1)
    assert (await centre.server.report("t")).held == 0
    assert (await values(centre))["CurrentAgentState"] == "WaitForNextCall"


async def test_open_statistics_and_longer_windows_go_on() -> None:
    centre = Centre()
    await centre.server.open_subscription(
        login(),
        "sub",
        [agent_item("day"), agent_item("quarter", dynamicTimeProfile="0:00 +0:15"), agent_item("state", name="CurrentAgentState")],
    )
    await ahead(
        centre, YEAR_S, ("cx.agent.login", {"agentId": "ana"}), ("cx.interaction.dialing", {"interactionId": "i", "agentId": "ana"})
    )
    await centre.tick(1)
    await centre.feed(*call(centre))
    done = await centre.server.peek_subscription(login(), "sub", [])
    assert [reading.value["intValue"] for reading in done.readings[:2]] == [1, 1]
