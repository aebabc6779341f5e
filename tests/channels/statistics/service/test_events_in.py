"""Events: order, watermark, future, and which clock counts."""

from __future__ import annotations

import pytest

from channels.events import Event, LateEventError
from tests.channels.statistics.support import START_MS, Centre, agent_item, call, login


async def inbound_calls(centre: Centre, agent: str = "ana") -> int:
    done = await centre.server.read(login(), [agent_item(name="InboundCalls", agent=agent)])
    return int(done.readings[0].value["intValue"])


async def test_an_event_counts_as_soon_as_it_is_taken() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    assert await inbound_calls(centre) == 1


async def test_an_agent_is_at_no_more_places_than_the_settings_allow() -> None:
    centre = Centre(max_places=2)
    for place in ("P1", "P2", "P3"):
        await centre.feed(centre.event("cx.agent.login", agentId="ana", placeId=place))
    done = await centre.server.read(login(), [agent_item(name="CurrentAgentState")])
    assert [place["placeId"] for place in done.readings[0].value["stateValue"]["places"]] == ["P2", "P3"]


async def test_a_late_event_is_refused_and_counted() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.ready", 0, agentId="ana"))
    with pytest.raises(LateEventError, match="ana"):
        await centre.feed(centre.event("cx.agent.notready", -1, agentId="ana"))
    assert centre.server.counters.events_late == 1
    assert (await centre.server.report("t")).events_refused == 1


async def test_an_event_too_far_in_the_future_is_refused() -> None:
    centre = Centre()
    with pytest.raises(LateEventError, match=r"time: expected at most 300 s in the future \(statistics\.max_ahead_s\), got 300\.5 s"):
        await centre.feed(centre.event("cx.agent.ready", 300.5, agentId="ana"))
    assert centre.server.counters.events_ahead == 1


async def test_an_event_too_far_in_the_past_is_refused_by_name() -> None:
    centre = Centre()
    old = centre.event("cx.interaction.queued", -23_516_713, interactionId="i", queue="q")
    with pytest.raises(LateEventError, match=r"time: expected at most 86400 s in the past .*max_behind_s.*past=true.*, got 23516713\.0 s"):
        await centre.feed(old)
    assert centre.server.counters.events_behind == 1
    assert (await centre.server.report("t")).events_refused == 1
    await centre.feed(centre.event("cx.interaction.queued", -86_400, interactionId="j", queue="q"))


async def test_an_old_event_is_taken_if_it_ends_something_or_the_past_is_wanted() -> None:
    centre = Centre()
    old_s = -100_000
    centre.server.check("t", centre.event("cx.interaction.released", old_s, interactionId="i", agentId="ana"))
    centre.server.check("t", centre.event("cx.agent.logout", old_s, agentId="ana"))
    centre.server.check("t", centre.event("cx.interaction.queued", old_s, interactionId="i", queue="q"), past=True)
    assert centre.server.counters.events_behind == 0


async def test_the_limits_on_age_are_for_what_arrives_and_not_for_what_is_restored() -> None:
    centre = Centre()
    await centre.append(centre.event("cx.agent.ready", -100_000, agentId="ana"))
    again = Centre(eventlog=centre.log, clock=centre.clock)
    await again.server.restore()
    assert await again.server.objects("t", "Agent") == ["ana"]


async def test_with_the_clock_of_events_no_event_is_too_old() -> None:
    centre = Centre(time="events")
    await centre.feed(*call(centre, at_s=0))
    await centre.feed(*call(centre, agent="bob", at_s=-100_000))
    assert centre.server.counters.events_behind == 0


async def test_an_event_in_the_near_future_waits_for_its_time() -> None:
    centre = Centre()
    await centre.feed(*call(centre, at_s=10))
    await centre.feed(*call(centre, at_s=5))
    assert (await inbound_calls(centre), (await centre.server.report("t")).held) == (0, 4)
    centre.clock.advance(5)
    assert (await inbound_calls(centre), (await centre.server.report("t")).held) == (1, 2)
    await centre.tick(5)
    assert (await inbound_calls(centre), centre.server.counters.events_skipped) == (2, 0)


async def test_what_waited_is_taken_before_a_later_event_of_the_present() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.ready", 5, agentId="ana"))
    centre.clock.advance(6)
    await centre.feed(centre.event("cx.agent.notready", 6, agentId="ana"))
    done = await centre.server.read(login(), [agent_item(name="CurrentAgentState")])
    assert done.readings[0].value["stringValue"] == "NotReadyForNextCall"


async def test_the_watermark_puts_events_of_slower_producers_in_order() -> None:
    centre = Centre(watermark_s=2)
    await centre.feed(centre.event("cx.agent.login", 0, agentId="ana"), centre.event("cx.agent.notready", 0, agentId="ana"))
    await centre.feed(centre.event("cx.agent.ready", -1, agentId="ana"))
    centre.clock.advance(2)
    done = await centre.server.read(login(), [agent_item(name="CurrentAgentState")])
    assert done.readings[0].value["stringValue"] == "NotReadyForNextCall"
    assert centre.server.counters.events_skipped == 0


async def test_an_event_that_a_newer_one_overtook_is_skipped_and_counted() -> None:
    centre = Centre()
    checked = centre.event("cx.agent.notready", 0, agentId="ana")
    await centre.feed(centre.event("cx.agent.ready", 1, agentId="ana"))
    centre.server.check("t", checked)
    await centre.tick(1)  # the newer one is released while the checked one is written to the log
    await centre.append(checked)
    assert centre.server.counters.events_skipped == 1


async def test_with_the_clock_of_events_only_events_move_time() -> None:
    centre = Centre(time="events")
    day_s = 86_400
    for at_s in (-400 * day_s, 0, 400 * day_s):
        await centre.feed(*call(centre, at_s=at_s))
    done = await centre.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].timestamp == START_MS + 400 * day_s * 1000
    assert done.readings[0].value["intValue"] == 1
    centre.clock.advance(3600)
    await centre.tick()
    assert (await centre.server.report("t")).now_ms == START_MS + 400 * day_s * 1000


async def test_a_batch_is_consumed_in_its_order() -> None:
    centre = Centre()
    batch: list[Event] = [event for _ in range(5) for event in call(centre)]
    await centre.feed(*batch)
    report = await centre.server.report("t")
    assert (report.position, report.events_applied) == (10, 10)


async def test_an_event_that_is_handed_over_twice_counts_once() -> None:
    centre = Centre()
    batch = call(centre)
    await centre.feed(*batch)
    centre.server.consume("t", list(enumerate(batch, 1)))
    report = await centre.server.report("t")
    assert (report.position, report.events_applied) == (2, 2)
    await centre.feed(*call(centre))
    centre.server.consume("t", [(1, batch[0])])
    assert await inbound_calls(centre) == 2
    assert centre.server._entries["t"].seen == 4


async def test_an_event_that_is_handed_over_twice_during_a_snapshot_counts_once() -> None:
    centre = Centre()
    batch = call(centre)
    tenant = centre.server._entry("t").tenant
    assert tenant is not None
    tenant.freeze()
    await centre.feed(*batch)
    centre.server.consume("t", list(enumerate(batch, 1)))
    assert (tenant.position, tenant.waiting) == (0, 4)
    tenant.thaw()
    await centre.tick()
    assert (tenant.position, tenant.changes) == (2, 2)


async def test_an_empty_batch_changes_nothing() -> None:
    centre = Centre()
    centre.server.consume("t", [])
    assert (await centre.server.report("t")).position == 0


async def test_objects_that_events_named() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="zoe"), centre.event("cx.agent.login", agentId="ana"))
    assert await centre.server.objects("t", "Agent") == ["ana", "zoe"]
    assert "All" in await centre.server.objects("t", "GroupAgents")
    assert await centre.server.objects("u", "Agent") == []
