"""How much of each thing there may be, what is forgotten, and that large work is done in slices."""

from __future__ import annotations

from typing import Any

import pytest

from channels.events import RefusedEventError
from channels.statistics.service.interface import LimitError, Login
from tests.channels.statistics.support import Centre, RestlessClock, agent_item, login
from tests.support.turns import Turns

DAY_S = 86_400


async def restarted(centre: Centre, **settings: Any) -> Centre:
    again = Centre(eventlog=centre.log, clock=centre.clock, **settings)
    await again.server.restore()
    return again


async def test_an_object_too_many_is_refused_and_counted() -> None:
    centre = Centre(max_objects=2)
    await centre.feed(centre.event("cx.agent.ready", agentId="a"), centre.event("cx.agent.ready", agentId="b"))
    with pytest.raises(RefusedEventError, match=r"data\.agentId: expected at most 2 .*; got one more, the agent c"):
        await centre.feed(centre.event("cx.agent.ready", agentId="c"))
    await centre.feed(centre.event("cx.agent.notready", agentId="a"))
    assert (centre.server.counters.events_over_limit, (await centre.server.report("t")).events_refused) == (1, 1)
    assert (await centre.server.report("t")).objects == centre.server.object_count() == 2


async def test_what_is_restored_is_not_limited() -> None:
    centre = Centre()
    await centre.feed(*(centre.event("cx.agent.ready", agentId=f"a{n}") for n in range(5)))
    assert (await restarted(centre, max_objects=2)).server.object_count() == 5


async def test_objects_that_nothing_is_heard_of_are_forgotten_also_after_a_restart() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="old"), centre.event("cx.agent.logout", agentId="old"))
    await centre.server.stop()  # saves
    centre.clock.advance(5 * DAY_S)
    again = await restarted(centre)
    await again.feed(again.event("cx.agent.login", agentId="young"))
    again.clock.advance(2 * DAY_S)
    await again.server.run_housekeeping()
    assert await again.server.objects("t", "Agent") == ["young"]
    assert again.server.counters.objects_forgotten == 1
    assert await (await restarted(again)).server.objects("t", "Agent") == ["young"]


async def test_a_login_whose_logout_was_lost_is_over_after_a_while_also_after_a_restart() -> None:
    centre = Centre(agent_idle_s=14 * DAY_S)
    await centre.feed(centre.event("cx.agent.login", agentId="ana"), centre.event("cx.agent.login", agentId="bob"))
    await centre.subscribe("/statistics/v3/values/Agent/ana/InboundCalls")
    centre.clock.advance(10 * DAY_S)
    await centre.server.run_housekeeping()
    await centre.feed(centre.event("cx.agent.ready", agentId="bob"))
    assert await centre.server.objects("t", "Agent") == ["ana", "bob"]
    centre.clock.advance(4 * DAY_S)
    await centre.server.run_housekeeping()
    assert (centre.server.counters.logins_ended, centre.server.counters.objects_forgotten) == (1, 0)  # ana is watched still
    again = await restarted(centre)
    states = [{"name": "CurrentAgentState", "objectId": agent, "objectType": "Agent"} for agent in ("ana", "bob")]
    done = await again.server.read(login(), states)
    assert [reading.value["stringValue"] for reading in done.readings] == ["LoggedOut", "WaitForNextCall"]


async def test_an_interaction_too_many_is_refused_and_counted_and_what_ends_one_makes_room() -> None:
    centre = Centre(max_interactions=2)
    await centre.feed(*(centre.event("cx.interaction.queued", interactionId=f"i{n}", queue="sales") for n in range(2)))
    more = centre.event("cx.interaction.ringing", interactionId="i2", agentId="ana")
    with pytest.raises(RefusedEventError, match=r"data\.interactionId: expected at most 2 interactions .*; got one more, i2"):
        await centre.feed(more)
    assert (
        centre.server.interaction_count(),
        (await centre.server.report("t")).interactions,
        centre.server.counters.events_over_limit,
    ) == (
        2,
        2,
        1,
    )
    await centre.feed(more, tenant="another")
    await centre.feed(
        centre.event("cx.interaction.abandoned", interactionId="i0", queue="sales"),
        centre.event("cx.interaction.finished", interactionId="unknown", media="voice"),
    )
    await centre.feed(more)
    assert (await (await restarted(centre, max_interactions=1)).server.report("t")).interactions == 2


async def test_a_medium_too_many_is_refused() -> None:
    centre = Centre(max_media=3)
    await centre.feed(centre.event("cx.agent.login", agentId="a", media=["voice", "chat", "Email"]))
    with pytest.raises(RefusedEventError, match=r"data\.media: expected at most 3 media of a tenant; got one more, fax"):
        await centre.feed(centre.event("cx.interaction.queued", interactionId="i", queue="q", media="fax"))
    assert centre.server.counters.events_over_limit == 1


async def test_an_object_that_is_watched_is_not_forgotten() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="ana"), centre.event("cx.agent.logout", agentId="ana"))
    await centre.subscribe("/statistics/v3/values/Agent/ana/InboundCalls")
    centre.clock.advance(8 * DAY_S)
    await centre.server.run_housekeeping()
    assert await centre.server.objects("t", "Agent") == ["ana"]


async def test_a_new_cookie_at_each_request_does_not_escape_the_limit_of_a_subject() -> None:
    centre = Centre(max_subject_statistics=3, max_tenant_statistics=5)
    for cookie in range(3):
        await centre.server.open_subscription(Login("t", f"sam/{cookie}", "sam", "sam"), None, [agent_item()])
    with pytest.raises(LimitError, match=r"data\.statistics: expected at most 3 statistics of one subject, got 1 more than the 3 open"):
        await centre.server.open_subscription(Login("t", "sam/4", "sam", "sam"), None, [agent_item()])
    await centre.server.open_subscription(Login("t", "eve/1", "eve", "eve"), None, [agent_item("1"), agent_item("2")])
    with pytest.raises(LimitError, match=r"data\.statistics: expected at most 5 statistics of a tenant, got 1 more than the 5 open"):
        await centre.server.open_subscription(Login("t", "bob/1", "bob", "bob"), None, [agent_item()])


async def test_a_time_profile_too_many_is_refused_by_name() -> None:
    centre = Centre(max_profiles=3)  # the day's is one
    items = [agent_item(str(n), dynamicTimeProfile=f"0{n}:30") for n in range(4)] + [agent_item("same", dynamicTimeProfile="01:30")]
    done = await centre.server.open_subscription(login(), "sub", items)
    assert [reading.statistic_id for reading in done.readings] == ["0", "1", "same"]
    assert [(refusal.statistic_id, refusal.field) for refusal in done.refusals] == [
        ("2", "dynamicTimeProfile"),
        ("3", "dynamicTimeProfile"),
    ]
    assert "expected at most 3 different ones open in a tenant, got one more" in done.refusals[0].message
    await centre.server.close_subscription(login(), "sub")
    assert not (await centre.server.open_subscription(login(), "sub", items[2:4])).refusals


async def test_what_ends_makes_room() -> None:
    centre = Centre(max_subject_statistics=2, max_tenant_statistics=2)
    sam = [Login("t", f"sam/{cookie}", "sam", "sam") for cookie in range(3)]
    await centre.server.open_subscription(sam[0], "a", [agent_item("1"), agent_item("2")])
    await centre.server.open_subscription(sam[0], "a", [agent_item("3"), agent_item("4")])  # in its place
    with pytest.raises(LimitError):
        await centre.server.open_subscription(sam[1], "a", [agent_item()])
    await centre.server.close_subscription(sam[0], "a")
    await centre.server.open_subscription(sam[1], "a", [agent_item("1")])
    await centre.server.open_subscription(sam[2], "a", [agent_item("1")])
    centre.server._login_gone("t", "sam/1")
    await centre.server.open_subscription(sam[0], "a", [agent_item("1")])
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert (tenant.subscriptions.statistics, tenant.subscriptions.subjects) == (2, {"sam": 2})


async def test_an_event_of_the_near_future_too_many_is_refused() -> None:
    centre = Centre(max_held=2)
    await centre.feed(*(centre.event("cx.agent.ready", 60, agentId=f"a{n}") for n in range(2)))
    with pytest.raises(RefusedEventError, match=r"time: expected one that is over, since 2 events .*max_held.*; got 60\.0 s in the future"):
        centre.server.check("t", centre.event("cx.agent.ready", 60, agentId="b"))
    await centre.feed(centre.event("cx.agent.ready", agentId="c"))
    assert centre.server.counters.events_over_limit == 1


async def test_events_of_the_near_future_have_a_size() -> None:
    centre = Centre(max_held_bytes=1000)
    large = centre.event("cx.interaction.queued", 60, interactionId="i", queue="q", userData={"a": "x" * 1000})
    await centre.feed(large)
    held = centre.server.held_bytes()
    assert 1000 < held < 1500
    with pytest.raises(RefusedEventError, match=r"since events of 1000 bytes \(statistics\.max_held_bytes\) wait for their time already"):
        centre.server.check("t", centre.event("cx.agent.ready", 60, agentId="b"))
    assert (await restarted(centre)).server.held_bytes() == held  # in a snapshot they are still held
    centre.clock.advance(61)
    await centre.feed(centre.event("cx.agent.ready", agentId="c"))
    assert centre.server.held_bytes() == 0


async def test_an_interaction_is_cleared_and_stays_so_after_a_restart() -> None:
    centre = Centre()
    await centre.feed(
        centre.event("cx.interaction.queued", interactionId="i", queue="sales"),
        centre.event("cx.interaction.established", interactionId="j", agentId="ana", callType="inbound"),
    )
    assert await centre.server.clear_interaction("t", "i")
    assert not await centre.server.clear_interaction("t", "i")
    assert not await centre.server.clear_interaction("u", "j")
    assert centre.server.counters.interactions_cleared == 1
    for server in (centre.server, (await restarted(centre)).server):
        done = await server.read(
            login(),
            [
                {"name": "CurrentInQueue", "objectId": "sales", "objectType": "Queue"},
                {"name": "CurrentAgentState", "objectId": "ana", "objectType": "Agent"},
            ],
        )
        assert [reading.value["stringValue"] for reading in done.readings] == ["0", "CallInbound"]


async def test_events_that_waited_for_a_snapshot_are_applied_in_slices() -> None:
    centre = Centre(clock=RestlessClock())
    tenant = centre.server._entry("t").tenant
    assert tenant is not None
    tenant.freeze()
    await centre.feed(*(centre.event("cx.agent.ready", agentId=f"a{n}") for n in range(100)))
    assert tenant.waiting == 100
    tenant.thaw()
    turns = Turns()
    await centre.server.tick()
    assert turns.stop() >= 90
    assert (tenant.waiting, tenant.position) == (0, 100)


async def test_what_is_consumed_beyond_a_slice_is_done_by_the_next_tick() -> None:
    centre = Centre(clock=RestlessClock())
    await centre.feed(*(centre.event("cx.agent.ready", agentId=f"a{n}") for n in range(20)))
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert 0 < tenant.waiting < 20
    assert len(await centre.server.objects("t", "Agent")) == 20


async def test_a_group_of_thousands_joins_in_slices_and_events_behind_it_wait() -> None:
    centre = Centre(clock=RestlessClock())
    members = [f"a{n}" for n in range(1000)]
    await centre.feed(
        centre.event("cx.group.changed", groupId="g", kind="agents", members=members), centre.event("cx.agent.ready", agentId="a999")
    )
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    turns = Turns()
    await centre.server.tick()
    assert turns.stop() >= 1000 / 32
    done = await centre.server.read(login(), [agent_item(name="CurrentAgentState", agent="a999")])
    assert done.readings[0].value["stringValue"] == "WaitForNextCall"
    assert centre.server.counters.events_applied == 2


async def test_a_state_is_not_saved_while_an_event_is_applied_in_part() -> None:
    centre = Centre(clock=RestlessClock(), snapshot_events=1)
    members = [f"a{n}" for n in range(1000)]
    await centre.feed(centre.event("cx.group.changed", groupId="g", kind="agents", members=members))
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    while not tenant.halfway:
        assert tenant.step()
    with pytest.raises(RuntimeError):
        tenant.freeze()
    await centre.server.run_housekeeping()
    assert centre.server.counters.snapshots == 1
    again = await restarted(centre)
    assert len(await again.server.objects("t", "Agent")) == 1000


async def test_events_that_become_due_together_are_released_in_slices() -> None:
    centre = Centre(clock=RestlessClock())
    await centre.feed(*(centre.event("cx.agent.ready", 60, agentId=f"a{n}") for n in range(100)))
    centre.clock.advance(61)
    turns = Turns()
    await centre.server.tick()
    assert turns.stop() >= 90
    assert (await centre.server.report("t")).held == 0


async def test_a_log_is_read_again_in_slices() -> None:
    centre = Centre()
    await centre.feed(*(centre.event("cx.agent.ready", agentId=f"a{n}") for n in range(100)))
    turns = Turns()
    await restarted(centre)
    quick = turns.stop()
    again = Centre(eventlog=centre.log, clock=RestlessClock())
    turns = Turns()
    await again.server.restore()
    assert turns.stop() - quick >= 90


async def test_a_large_subscription_is_closed_in_slices_and_told_of_no_more() -> None:
    centre = Centre(clock=RestlessClock())
    listener = await centre.subscribe("/statistics/v3/updates")
    await centre.server.open_subscription(login(), "sub", [agent_item(str(n), agent=f"a{n}") for n in range(200)])
    await centre.server.close_subscription(login(), "sub")
    listener.taken()
    await centre.feed(
        *(centre.event("cx.interaction.established", interactionId=f"i{n}", agentId=f"a{n}", callType="inbound") for n in range(200)),
        *(centre.event("cx.interaction.released", interactionId=f"i{n}", agentId=f"a{n}") for n in range(200)),
    )
    await centre.tick(1)
    assert listener.taken() == []
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert (len(tenant.notifier), tenant.subscriptions.statistics, len(tenant.engine._open)) == (0, 0, 0)


async def test_statistics_that_midnight_resets_are_told_in_slices() -> None:
    centre = Centre(clock=RestlessClock(), max_subscription_statistics=2000)
    await centre.feed(
        *(centre.event("cx.interaction.established", interactionId=f"i{n}", agentId="ana", callType="inbound") for n in range(2))
    )
    await centre.feed(*(centre.event("cx.interaction.released", interactionId=f"i{n}", agentId="ana") for n in range(2)))
    await centre.subscribe("/statistics/v3/updates")
    items = [agent_item(str(n), agent=f"a{n}") for n in range(600)] + [agent_item("ana")]
    await centre.server.open_subscription(login(), "sub", items)
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    centre.clock.advance(DAY_S)
    tenant.catch_up()
    assert (len(tenant.engine.take_changed(256)), len(tenant.engine.take_changed(256)), len(tenant.engine.take_changed(256))) == (
        256,
        256,
        89,
    )
