"""When a value is told: gaps, periods, insensitivity. The times are the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from channels.statistics.engine.engine import Engine
from channels.statistics.engine.statistic import Statistic
from channels.statistics.engine.values import Value
from hub.core.publisher import Publisher
from tests.channels.statistics.support import Centre, RestlessClock, agent_item, call, items_of, login, principal

GAP_S = 0.2
GROUP_GAP_S = 2.0


async def counting(**definition: object) -> tuple[Centre, object]:
    """A centre with one subscription of ana's inbound calls, and a listener."""
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item(**definition)])  # type: ignore[arg-type]
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    return centre, listener


def values(listener: object) -> list[int]:
    return [item["value"]["intValue"] for item in items_of(listener.taken())]  # type: ignore[attr-defined]


async def test_immediate_tells_the_first_change_at_once() -> None:
    centre, listener = await counting()
    await centre.feed(*call(centre))
    await centre.tick()
    assert values(listener) == [1]


async def test_immediate_tells_nothing_without_a_change() -> None:
    centre, listener = await counting()
    await centre.tick(60)
    assert values(listener) == []


async def test_immediate_changes_within_the_gap_wait_and_the_last_one_is_told() -> None:
    centre, listener = await counting()
    await centre.feed(*call(centre))
    await centre.tick()
    await centre.feed(*call(centre))
    await centre.tick(0.1)
    await centre.feed(*call(centre))
    await centre.tick(0.05)
    assert values(listener) == [1]
    await centre.tick(0.05)
    assert values(listener) == [3]


async def test_immediate_gap_counts_from_the_last_notification() -> None:
    centre, listener = await counting()
    await centre.feed(*call(centre))
    await centre.tick()
    await centre.feed(*call(centre))
    await centre.tick(GAP_S)
    await centre.feed(*call(centre))
    await centre.tick(GAP_S / 2)
    assert values(listener) == [1, 2]


async def test_immediate_of_a_group_has_the_longer_gap() -> None:
    centre = Centre()
    item = agent_item() | {"objectId": "All", "objectType": "GroupAgents"}
    await centre.server.open_subscription(login(), "sub", [item])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.feed(*call(centre))
    await centre.tick()
    await centre.feed(*call(centre, "bob"))
    await centre.tick(GROUP_GAP_S - 0.1)
    assert values(listener) == [1]
    await centre.tick(0.1)
    assert values(listener) == [2]


async def test_immediate_waits_until_the_change_reaches_the_insensitivity() -> None:
    centre, listener = await counting(insensitivity=3)
    for _ in range(2):
        await centre.feed(*call(centre))
        await centre.tick(1)
    assert values(listener) == []
    await centre.feed(*call(centre))
    await centre.tick(1)
    assert values(listener) == [3]


async def test_immediate_with_insensitivity_0_tells_every_change_and_nothing_else() -> None:
    centre, listener = await counting(insensitivity=0)
    await centre.tick(30)
    assert values(listener) == []
    await centre.feed(*call(centre))
    await centre.tick(1)
    await centre.tick(30)
    assert values(listener) == [1]


async def test_immediate_that_runs_is_told_once_a_second() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="ana"), centre.event("cx.agent.ready", agentId="ana"))
    item = agent_item(category="CurrentTime", subject="AgentStatus", mainMask="WaitForNextCall")
    await centre.server.open_subscription(login(), "sub", [item])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    for _ in range(30):
        await centre.tick(0.1)
    assert values(listener) == [1, 2, 3]


async def test_immediate_hears_of_a_reset_that_no_event_tells() -> None:
    centre, listener = await counting(dynamicTimeProfile="00:00 +1:00")
    await centre.feed(*call(centre))
    await centre.tick()
    assert values(listener) == [1]
    centre.clock.wall += 3600_000  # past 10:00
    await centre.tick(5)
    assert values(listener) == [0]


async def test_periodical_with_insensitivity_0_tells_every_period() -> None:
    centre, listener = await counting(notificationMode="Periodical", notificationFrequency=5, insensitivity=0)
    for _ in range(15):
        await centre.tick(1)
    assert values(listener) == [0, 0, 0]


async def test_periodical_tells_a_change_at_the_end_of_its_period() -> None:
    centre, listener = await counting(notificationMode="Periodical", notificationFrequency=5)
    await centre.feed(*call(centre))
    await centre.tick(4.9)
    assert values(listener) == []
    await centre.tick(0.1)
    assert values(listener) == [1]
    await centre.tick(5)
    assert values(listener) == []


async def test_periodical_adds_up_changes_below_the_insensitivity() -> None:
    centre, listener = await counting(notificationMode="Periodical", notificationFrequency=1, insensitivity=2)
    await centre.feed(*call(centre))
    await centre.tick(1)
    assert values(listener) == []
    await centre.feed(*call(centre))
    await centre.tick(1)
    assert values(listener) == [2]


async def test_periodical_keeps_its_rhythm_after_a_late_tick_and_skips_what_it_missed() -> None:
    centre, listener = await counting(notificationMode="Periodical", notificationFrequency=5, insensitivity=0)
    await centre.tick(17)
    assert values(listener) == [0]
    await centre.tick(3)
    assert values(listener) == [0]


async def test_one_update_for_a_login_and_tick() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "one", [agent_item("a"), agent_item("b", agent="bob")])
    await centre.server.open_subscription(login(), "two", [agent_item("c")])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.feed(*call(centre), *call(centre, "bob"))
    await centre.tick()
    received = listener.taken()
    assert len(received) == 1
    assert {(i["subscriptionId"], i["statisticId"]) for i in items_of(received)} == {("one", "a"), ("one", "b"), ("two", "c")}


async def test_many_statistics_are_told_in_slices_and_none_is_lost() -> None:
    centre = Centre(clock=RestlessClock())
    agents = [f"agent{n}" for n in range(50)]
    await centre.server.open_subscription(login(), "sub", [agent_item(agent, agent=agent) for agent in agents])
    listener = await centre.subscribe("/statistics/v3/updates")
    assert len(items_of(listener.taken())) == 50
    for agent in agents:
        await centre.feed(*call(centre, agent))
    await centre.tick(1)
    received = listener.taken()
    assert len(received) == 1
    assert sorted(i["statisticId"] for i in items_of(received)) == sorted(agents)


async def test_what_ends_between_two_slices_is_told_no_more() -> None:
    centre = Centre(clock=RestlessClock())
    await centre.server.open_subscription(login(), "kept", [agent_item("k")])
    await centre.server.open_subscription(login("other"), "ended", [agent_item("o")])
    agents = [f"agent{n}" for n in range(5)]
    items = [agent_item(str(n)) for n in range(10)] + [agent_item(agent, agent=agent) for agent in agents]
    await centre.server.open_subscription(login(), "ended", items)
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    for agent in ("ana", *agents):
        await centre.feed(*call(centre, agent))
    ticking = asyncio.ensure_future(centre.server.tick())
    for _ in range(4):  # a slice for each agent: some are looked at already, others not yet
        await asyncio.sleep(0)
    await centre.server.close_subscription(login(), "ended")
    await centre.server.close_subscription(login("other"), "ended")
    await ticking
    await centre.settle()
    assert centre.server.counters.updates == 1
    assert {i["subscriptionId"] for i in items_of(listener.taken())} == {"kept"}


async def test_who_leaves_while_a_group_is_told_is_told_no_more_and_the_others_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same wallboard for many logins: they are told in pieces."""
    centre = Centre(clock=RestlessClock(), server={"sent_together": 2})
    names = [f"login{number}" for number in range(9)]
    listeners = {}
    for name in names:
        await centre.server.open_subscription(login(name), "board", [agent_item("a"), agent_item("b", agent="bob")])
        listeners[name] = await centre.subscribe("/statistics/v3/updates", who=principal(name), identifier=name)
        listeners[name].taken()
    pieces: list[int] = []
    emit_to_logins = Publisher.emit_to_logins

    def leave(publisher: Publisher, tenant: str, channel: str, data: bytes, logins: Sequence[str], **more: Any) -> None:
        pieces.append(len(logins))
        emit_to_logins(publisher, tenant, channel, data, logins, **more)
        present = centre.server._entries["t"].tenant
        assert present is not None
        if len(pieces) == 2:
            present.close_subscription("login6", "board")

    monkeypatch.setattr(Publisher, "emit_to_logins", leave)
    await centre.feed(*call(centre), *call(centre, "bob"))
    await centre.tick(1)
    assert pieces == [2, 2]
    told = {name: [item["statisticId"] for item in items_of(listener.taken())] for name, listener in listeners.items()}
    assert told == {name: [] if name == "login6" else ["a", "b"] for name in names}
    assert (centre.server.counters.updates, centre.server.counters.update_items) == (8, 16)


async def test_closed_statistics_leave_no_entries_behind() -> None:
    centre = Centre()
    for n in range(40):
        items = [agent_item(str(k), notificationMode="Periodical", notificationFrequency=86_400) for k in range(50)]
        await centre.server.open_subscription(login(), f"sub{n}", items)
        await centre.server.close_subscription(login(), f"sub{n}")
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    assert len(tenant.notifier) < 600


async def test_a_fault_in_one_tick_does_not_end_the_next() -> None:
    centre, listener = await counting()
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    engine = tenant.engine
    tenant.engine = None  # type: ignore[assignment]
    await centre.tick()
    tenant.engine = engine
    assert centre.server.counters.tick_failures == 1
    await centre.feed(*call(centre))
    await centre.tick()
    assert values(listener) == [1]


@pytest.mark.parametrize("mode", [{}, {"notificationMode": "Periodical", "notificationFrequency": 1}])
async def test_a_statistic_that_fails_takes_nothing_from_the_others_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, mode: dict[str, object]
) -> None:
    centre = Centre()
    items = [agent_item(agent, agent=agent, **mode) for agent in ("bad1", "bad2", "good")]  # type: ignore[arg-type]
    await centre.server.open_subscription(login(), "sub", items)
    await centre.server.open_subscription(login("other"), "sub", [agent_item("good", agent="good")])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    for agent in ("bad1", "bad2", "good"):
        await centre.feed(*call(centre, agent))
    value = Engine.value

    def broken(engine: Engine, statistic: Statistic) -> Value:
        found = value(engine, statistic)
        if statistic in bad:
            raise TypeError("fault")
        return found

    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    bad = {
        opened.statistic for name, opened in tenant.subscriptions.logins["login"].subscriptions["sub"].statistics.items() if name != "good"
    }
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "value", broken)
        await centre.tick(1)
    assert [item["statisticId"] for item in items_of(listener.taken())] == ["good"]
    assert (centre.server.counters.updates, centre.server.counters.tick_failures) == (2, 2)
    await centre.tick(1)
    assert sorted(item["statisticId"] for item in items_of(listener.taken())) == ["bad1", "bad2"]


@pytest.mark.parametrize("mode", [{}, {"notificationMode": "Periodical", "notificationFrequency": 1}])
async def test_a_target_that_fails_takes_nothing_from_the_others_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, mode: dict[str, object]
) -> None:
    centre = Centre()
    await centre.server.open_subscription(login("first"), "sub", [agent_item(**mode)])  # type: ignore[arg-type]
    await centre.server.open_subscription(login("first"), "ended", [agent_item(**mode)])  # type: ignore[arg-type]
    await centre.server.open_subscription(login(), "sub", [agent_item(**mode)])  # type: ignore[arg-type]
    listener = await centre.subscribe("/statistics/v3/updates")
    first = await centre.subscribe("/statistics/v3/updates", who=principal("first"), identifier="s2")
    listener.taken()
    first.taken()
    await centre.feed(*call(centre))
    emit, emit_to_logins = Publisher.emit, Publisher.emit_to_logins

    def fail() -> None:
        tenant = centre.server._entries["t"].tenant
        assert tenant is not None
        tenant.close_subscription("first", "ended")
        raise ConnectionError("fault")

    async def broken(publisher: Publisher, *args: Any, audience: str = "", **more: Any) -> None:
        if audience == "first":
            fail()
        await emit(publisher, *args, audience=audience, **more)

    def broken_too(publisher: Publisher, tenant: str, channel: str, data: bytes, logins: Sequence[str], **more: Any) -> None:
        if "first" in logins:
            fail()
        emit_to_logins(publisher, tenant, channel, data, logins, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Publisher, "emit", broken)
        patched.setattr(Publisher, "emit_to_logins", broken_too)
        await centre.tick(1)
    assert (values(listener), values(first)) == ([1], [])
    assert (centre.server.counters.updates, centre.server.counters.tick_failures) == (1, 1)
    await centre.tick(1)
    assert (values(listener), values(first)) == ([], [1])


async def test_immediate_that_runs_is_told_of_an_event_before_its_next_look() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="ana"), centre.event("cx.agent.ready", agentId="ana"))
    item = agent_item(category="CurrentTime", subject="AgentStatus", mainMask="WaitForNextCall")
    await centre.server.open_subscription(login(), "sub", [item])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await centre.tick(5)
    await centre.feed(centre.event("cx.agent.notready", agentId="ana"))
    await centre.tick(GAP_S)
    assert values(listener) == [5, 0]
