"""Groups: what their members do, from joining to leaving. Times are seconds from 09:00."""

from __future__ import annotations

from typing import Any

import orjson

from channels.statistics.engine import Bounds, Engine
from tests.channels.statistics.engine.scene import NINE, UTC, Scene

IN = "*,~LoggedOut,~NotMonitored"


def team(*members: str, at: float = 0, scene: Scene | None = None) -> Scene:
    return (scene or Scene()).at(at, "group.changed", group="team", kind="agents", members=list(members))


def group(scene: Scene, category: str, mask: str, *, subject: str = "AgentStatus", identifier: str = "team") -> int:
    return scene.number("GroupAgents", identifier, category=category, subject=subject, mainMask=mask)


def test_a_group_counts_its_members_by_status() -> None:
    scene = (
        team("ann", "bob", "cid")
        .at(10, "agent.ready", agent="ann")
        .at(20, "agent.notready", agent="bob")
        .at(20, "agent.ready", agent="dan")
    )
    scene.at(30, "interaction.established", ixn="i", agent="cid", type="inbound").at(35, "interaction.held", ixn="i", agent="cid").until(40)
    names = ("CurrentLoggedInAgents", "CurrentReadyAgents", "CurrentNotReadyAgents", "CurrentNumberInCall", "LongestIdleTime")
    assert [scene.number("GroupAgents", "team", name) for name in names] == [3, 1, 1, 1, 30]


def test_everybody_is_a_group() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(5, "agent.login", agent="bob")
    assert scene.number("GroupAgents", "All", "CurrentLoggedInAgents") == 2
    assert scene.number("GroupAgents", "All", "CurrentReadyAgents") == 1


def test_a_login_joins_the_groups_that_it_names() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", groups=["team", "night"]).at(9, "agent.login", agent="ann", groups=["team"])
    assert [scene.number("GroupAgents", name, "CurrentLoggedInAgents") for name in ("team", "night")] == [1, 1]
    assert group(scene, "TotalNumber", "AgentLogin", subject="DNAction") == 1


def test_who_joins_counts_from_then_on_and_is_as_old_as_what_is_going_on() -> None:
    scene = team("ann", at=60, scene=Scene().at(0, "agent.ready", agent="ann")).until(100)
    assert group(scene, "TotalTime", "WaitForNextCall") == 40
    assert group(scene, "CurrentMaxTime", "WaitForNextCall") == 100
    assert group(scene, "TotalNumber", "WaitForNextCall") == 1


def test_who_leaves_leaves_the_totals_behind() -> None:
    scene = team("ann").at(0, "agent.ready", agent="ann")
    scene.at(10, "interaction.established", ixn="i", agent="ann", type="inbound").at(40, "interaction.released", ixn="i", agent="ann")
    team(at=50, scene=scene).at(60, "interaction.established", ixn="j", agent="ann", type="inbound").at(
        65, "interaction.released", ixn="j", agent="ann"
    )
    assert group(scene, "TotalTime", IN) == 50
    assert group(scene, "CurrentNumber", "*") == 0
    assert scene.number("GroupAgents", "team", "InboundCalls") == 1
    assert scene.number("GroupAgents", "team", "TalkDuration") == 30


def test_a_call_in_progress_is_not_completed_by_leaving() -> None:
    scene = team("ann").at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
    team(at=30, scene=scene).at(50, "interaction.released", ixn="i", agent="ann")
    assert group(scene, "TotalNumber", "CallInbound", subject="DNAction") == 0
    assert group(scene, "TotalAdjustedTime", "CallInbound", subject="DNAction") == 30


def test_a_call_that_completes_in_the_group_counts_whole() -> None:
    scene = team("ann", at=30, scene=Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound"))
    scene.at(50, "interaction.released", ixn="i", agent="ann")
    assert group(scene, "TotalTime", "CallInbound", subject="DNAction") == 50
    assert group(scene, "TotalAdjustedTime", "CallInbound", subject="DNAction") == 20
    assert group(scene, "TotalTime", "CallInbound") == 20


def test_members_that_nobody_has_heard_of_are_logged_out() -> None:
    scene = team("ann", "bob")
    assert group(scene, "CurrentNumber", "LoggedOut") == 2
    assert scene.engine.objects(scene.open("Agent", "x", "TalkDuration").object_type) == ["ann", "bob"]


def test_the_group_of_everybody_cannot_be_changed() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(1, "group.changed", group="All", kind="agents", members=[])
    assert scene.number("GroupAgents", "All", "CurrentReadyAgents") == 1


def test_a_group_nobody_has_heard_of_is_empty() -> None:
    assert Scene().value("GroupAgents", "team", "CurrentGroupState").state_value == {"groupId": "team", "agents": []}


def test_a_group_of_queues_counts_what_they_count() -> None:
    scene = Scene().at(0, "interaction.queued", ixn="i", queue="sales").at(0, "interaction.queued", ixn="j", queue="help")
    scene.at(5, "group.changed", group="desk", kind="queues", members=["sales"]).until(30)
    assert scene.number("GroupQueues", "desk", "CurrentInQueue") == 1
    assert scene.number("GroupQueues", "desk", "CurrMaxCallWaitingTime") == 30
    assert scene.number("GroupQueues", "desk", "CallsEntered") == 0, "it entered before the queue was in the group"
    assert scene.number("GroupQueues", "All", "CallsEntered") == 2
    scene.at(40, "interaction.abandoned", ixn="i", queue="sales")
    assert scene.number("GroupQueues", "desk", "TotalAbandoned") == 1


def test_groups_of_agents_and_of_queues_may_share_an_id() -> None:
    scene = team("ann").at(0, "agent.ready", agent="ann").at(0, "group.changed", group="team", kind="queues", members=["sales"])
    assert scene.number("GroupAgents", "team", "CurrentReadyAgents") == 1


def test_the_state_of_a_group_holds_that_of_each_member() -> None:
    scene = team("bob", "ann").at(5, "agent.ready", agent="bob")
    value = scene.value("GroupAgents", "team", "CurrentGroupState")
    assert (value.int_value, value.string_value) == (2, "2")
    assert value.state_value is not None
    agents = value.state_value["agents"]
    assert isinstance(agents, list)
    assert [(each["agentId"], each["statusName"]) for each in agents] == [("ann", "LoggedOut"), ("bob", "WaitForNextCall")]


def test_a_watched_group_counts_as_one_that_is_not() -> None:
    scene = team("ann")
    watched = scene.open("GroupAgents", "team", category="TotalTime", subject="AgentStatus", mainMask="*")
    scene.at(10, "agent.ready", agent="ann")
    team("ann", "bob", at=20, scene=scene)
    team("bob", at=30, scene=scene).until(60)
    assert scene.engine.value(watched).int_value == 30 + 40


def test_the_user_data_of_one_state_has_a_size() -> None:
    """An interaction's is repeated for each of its agents."""
    scene = Scene()
    scene.engine = Engine(zone=UTC, now_ms=NINE, bounds=Bounds(state_user_data_bytes=45))
    for agent, size in (("a", 12), ("b", 12), ("c", 2)):  # 20, 20 and 10 bytes of JSON
        scene.at(1, "agent.login", agent=agent, place=agent, media=["voice"])
        scene.at(2, "interaction.queued", ixn=agent, queue="q", user_data={"a": "x" * size})
        scene.at(3, "interaction.established", ixn=agent, agent=agent, type="inbound")

    def shown() -> list[tuple[str, bool]]:
        state = scene.value("GroupAgents", "All", "CurrentGroupState").state_value
        assert state is not None
        agents: Any = state["agents"]
        return [(agent["agentId"], "userDataLeftOut" in agent) for agent in agents]

    assert shown() == [("a", False), ("b", False), ("c", True)]
    assert scene.engine.states_cut == 1
    scene.at(4, "interaction.held", ixn="b", agent="b")  # shown twice
    assert shown() == [("a", False), ("b", True), ("c", False)]
    state = scene.value("Agent", "b", category="CurrentState", subject="AgentStatus", mainMask="*").state_value
    assert state is not None
    assert "userDataLeftOut" not in state
    scene.at(5, "interaction.queued", ixn="b", queue="q", user_data={"a": "x" * 30})
    state = scene.value("Agent", "b", category="CurrentState", subject="AgentStatus", mainMask="*").state_value
    assert state is not None
    assert state["userDataLeftOut"] is True
    assert b"xxx" not in orjson.dumps(state)
