"""Objects that nothing is heard of are forgotten, and what is left of them."""

from __future__ import annotations

from channels.statistics.engine import Engine, ObjectType
from tests.channels.statistics.engine.scene import UTC, Scene

WEEK = 7 * 86_400


MONTH = 30 * 86_400


def forget(scene: Scene) -> int:
    return sum(scene.engine.forget_unheard())


def end_lost(scene: Scene) -> int:
    return sum(scene.engine.end_lost_logins())


def known(scene: Scene) -> list[list[str]]:
    kinds = (ObjectType.AGENT, ObjectType.QUEUE, ObjectType.GROUP_AGENTS, ObjectType.GROUP_QUEUES, ObjectType.STAGING_AREA)
    return [scene.engine.objects(kind) for kind in kinds]


def everything() -> Scene:
    scene = Scene().at(0, "agent.login", agent="ann", groups=["team"]).at(0, "agent.logout", agent="ann")
    scene.at(0, "interaction.queued", ixn="i", queue="sales").at(0, "interaction.abandoned", ixn="i", queue="sales")
    scene.at(0, "group.changed", group="all-sales", kind="queues", members=["sales"])
    return scene.at(0, "interaction.started", ixn="j", media="chat").at(0, "interaction.finished", ixn="j", media="chat")


def test_what_nothing_is_heard_of_for_its_lifetime_is_forgotten() -> None:
    scene = everything().until(WEEK - 1)
    assert (forget(scene), scene.engine.object_count) == (0, 5)
    scene.until(WEEK)
    assert (forget(scene), scene.engine.object_count) == (5, 0)
    assert known(scene) == [[], [], ["All"], ["All"], []]


def test_it_is_forgotten_after_a_restart_too() -> None:
    scene = everything().until(WEEK - 10)
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    assert scene.engine.object_count == 5
    assert (forget(scene), scene.engine.object_count) == (0, 5)
    scene.until(WEEK)
    assert (forget(scene), scene.engine.object_count) == (5, 0)


def test_what_is_heard_of_stays() -> None:
    scene = everything().at(WEEK - 5, "agent.ready", agent="ann").at(WEEK - 5, "interaction.queued", ixn="k", queue="sales").until(WEEK)
    assert forget(scene) == 1
    assert known(scene) == [["ann"], ["sales"], ["All", "team"], ["All", "all-sales"], []]


def test_what_something_is_open_on_stays() -> None:
    scene = Scene()
    for agent in ("ann", "bob", "eve"):
        scene.at(0, "agent.login", agent=agent).at(0, "agent.logout", agent=agent)
    scene.at(0, "interaction.established", ixn="i", agent="bob", type="inbound", media="email")
    scene.at(WEEK - 10, "interaction.queued", ixn="i", queue="sales", media="email")  # of the interaction, not of the agent
    opened = scene.open("Agent", "eve", "InboundCalls")
    scene.until(WEEK + 5)
    assert (forget(scene), known(scene)[0]) == (1, ["bob", "eve"])
    scene.engine.close(opened)
    assert (forget(scene), known(scene)[0]) == (1, ["bob"])


def test_a_member_that_a_list_named_belongs_to_its_groups_again_when_it_comes_back() -> None:
    scene = (
        Scene()
        .at(0, "group.changed", group="team", kind="agents", members=["ann", "bob"])
        .at(0, "agent.login", agent="eve", groups=["team"])
        .at(0, "agent.logout", agent="eve")
    )
    scene.at(WEEK - 1, "agent.login", agent="bob").until(WEEK)
    assert (forget(scene), known(scene)[0]) == (2, ["bob"])
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    scene.at(WEEK + 1, "agent.ready", agent="ann").at(WEEK + 1, "agent.ready", agent="eve").until(WEEK + 11)
    state = scene.value("GroupAgents", "team", category="CurrentState", subject="AgentStatus", mainMask="*").state_value
    assert state is not None
    assert [agent["agentId"] for agent in state["agents"]] == ["ann", "bob"]  # type: ignore[attr-defined]
    assert scene.number("GroupAgents", "team", "ReadyDuration") == 10


def test_a_list_that_no_longer_names_a_forgotten_member_takes_it_out() -> None:
    scene = Scene().at(0, "group.changed", group="team", kind="agents", members=["ann", "bob"])
    scene.at(WEEK - 1, "agent.ready", agent="bob").until(WEEK)
    forget(scene)
    scene.at(WEEK + 1, "group.changed", group="team", kind="agents", members=["bob"]).at(WEEK + 2, "agent.ready", agent="ann")
    state = scene.value("GroupAgents", "team", category="CurrentState", subject="AgentStatus", mainMask="*").state_value
    assert state is not None
    assert [agent["agentId"] for agent in state["agents"]] == ["bob"]  # type: ignore[attr-defined]


def test_what_a_forgotten_member_did_stays_in_the_totals_of_its_groups() -> None:
    scene = Scene().at(WEEK - 50, "agent.login", agent="bob", groups=["team"]).at(0, "agent.login", agent="ann", groups=["team"])
    scene.at(0, "agent.logout", agent="ann")
    before = scene.until(WEEK).number("GroupAgents", "team", "LoginDuration")
    assert before > 0
    assert forget(scene) == 1
    assert scene.until(WEEK + 10).number("GroupAgents", "team", "LoginDuration") == before + 10


def test_who_is_logged_in_stays_however_quiet() -> None:
    scene = (
        Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"], groups=["team"]).at(0, "agent.logout", agent="ann", media="chat")
    )
    scene.until(MONTH - 1)
    assert (end_lost(scene), forget(scene), known(scene)[0]) == (0, 0, ["ann"])
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "NotReadyForNextCall"
    assert scene.number("GroupAgents", "team", category="CurrentNumber", subject="DNAction", mainMask="LoggedIn") == 1


def test_a_login_that_nobody_ends_is_over_after_a_month_and_then_forgotten() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"], place="P1").at(0, "agent.login", agent="ann", place="P2")
    before = scene.until(MONTH + 3600).number("Agent", "ann", "LoginDuration")
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    assert (end_lost(scene), end_lost(scene)) == (1, 0)
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "LoggedOut"
    assert scene.number("Agent", "ann", "LoginDuration") == before - 3600  # it was over an hour ago
    assert (forget(scene), known(scene)[0]) == (1, [])


def test_a_login_is_not_over_while_the_agent_takes_part_in_something_or_is_heard_of() -> None:
    scene = Scene().at(0, "agent.login", agent="ann").at(0, "agent.login", agent="bob").at(0, "agent.login", agent="eve")
    scene.at(10, "interaction.established", ixn="i", agent="ann", type="inbound", media="email")
    for day in range(5, 30, 5):  # of the interaction, not of the agent
        scene.at(day * 86_400, "interaction.queued", ixn="i", queue="sales", media="email")
    scene.at(MONTH - 10, "agent.notready", agent="bob")
    scene.until(MONTH + 20)
    assert (end_lost(scene), forget(scene), known(scene)[0]) == (1, 1, ["ann", "bob"])
