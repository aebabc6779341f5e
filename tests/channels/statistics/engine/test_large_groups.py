"""Statistics of groups with many members: opened and computed in pieces, between which events go on, and always exact."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import pytest

from channels.statistics.engine import Engine, ObjectType, Statistic, parse_definition
from tests.channels.statistics.engine.scene import UTC, Scene

T = TypeVar("T")

AGENTS = 300

KINDS: dict[str, dict[str, Any]] = {
    "number": {"category": "CurrentNumber", "subject": "AgentStatus", "mainMask": "*"},
    "time": {"category": "CurrentTime", "subject": "AgentStatus", "mainMask": "*"},
    "longest": {"category": "CurrentMaxTime", "subject": "DNAction", "mainMask": "CallInbound, WaitForNextCall"},
    "total": {"category": "TotalTime", "subject": "AgentStatus", "mainMask": "*"},
    "adjusted": {"category": "TotalAdjustedTime", "subject": "DNAction", "mainMask": "*"},
    "average": {"category": "AverageTime", "subject": "DNStatus", "mainMask": "*"},
    "state": {"category": "CurrentState", "subject": "AgentStatus"},
}


def crowd() -> Scene:
    scene = Scene()
    for n in range(AGENTS):
        scene.at(n / 10, "agent.login", agent=f"a{n:03}", media=["voice", "chat"], groups=["team"])
        if n % 2:
            scene.at(n / 10, "interaction.established", ixn=f"i{n}", agent=f"a{n:03}", type="inbound")
    return scene.until(60)


def step(pieces: Generator[None, None, T]) -> T | None:
    """One piece; what the last returns."""
    try:
        next(pieces)
    except StopIteration as done:
        found: T = done.value
        return found
    return None


def opening(scene: Scene, kind: str, group: str = "team") -> Generator[None, None, Statistic]:
    return scene.engine.opening(parse_definition(KINDS[kind], ObjectType.GROUP_AGENTS).definition, ObjectType.GROUP_AGENTS, group)


def something_happens(scene: Scene, number: int) -> None:
    """Begins and ends things at members that the walk has been at, and at others."""
    at_s = 60 + number
    for n in (number, AGENTS - 1 - number):
        scene.at(at_s, "interaction.released", ixn=f"i{n}", agent=f"a{n:03}")
        scene.at(at_s, "interaction.established", ixn=f"j{n}", agent=f"a{n:03}", type="outbound", media="chat")
        scene.at(at_s, "agent.login", agent=f"new{number}-{n}", groups=["team"])
        scene.at(at_s, "agent.logout", agent=f"a{(n + 20) % AGENTS:03}")
    if number % 4 == 0:
        members = [f"a{n:03}" for n in range(number, AGENTS - number)]
        scene.at(at_s, "group.changed", group="team", kind="agents", members=members)


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_while_a_statistic_is_opened_is_in_its_value(kind: str) -> None:
    scene = crowd()
    pieces, number = opening(scene, kind), 0
    while (statistic := step(pieces)) is None:
        something_happens(scene, number)
        number += 1
    assert number >= 5 or kind == "state"
    scene.until(1000)
    fresh = Engine.restore(scene.engine.save(), zone=UTC)
    again = fresh.open(statistic.definition, statistic.object_type, statistic.object_id)
    assert scene.engine.value(statistic) == fresh.value(again)


def test_a_state_is_computed_in_pieces_and_says_afterwards_that_it_changed_meanwhile() -> None:
    scene = crowd()
    statistic = scene.open("GroupAgents", "team", **KINDS["state"])
    scene.engine.take_changed()
    pieces = scene.engine.valuing(statistic)
    for _ in range(4):
        next(pieces)
    scene.at(61, "agent.logout", agent="a000").at(61, "group.changed", group="team", kind="agents", members=["a000", "a001"])
    while (value := step(pieces)) is None:
        pass
    assert value.int_value <= AGENTS
    assert statistic in scene.engine.take_changed()
    assert scene.engine.value(statistic).int_value == 2


@pytest.mark.parametrize("kind", ["total", "longest"])
def test_an_opening_that_is_given_up_leaves_nothing(kind: str) -> None:
    scene = crowd()
    pieces = opening(scene, kind)
    next(pieces)
    pieces.close()
    assert scene.engine._open == {}
    group = scene.engine._centre.groups["team"]
    assert [a.key for a in group.board.accumulators.values() if a.watchers or a.ongoing or a.hooked] == []
    assert group.board.statistics == {}
    assert scene.number("GroupAgents", "team", **KINDS["number"]) == AGENTS


def test_the_oldest_is_found_when_somebody_else_watches_already() -> None:
    scene = crowd()
    others = scene.open("GroupAgents", "team", **KINDS["number"] | {"subject": "DNAction"})
    assert scene.number("GroupAgents", "team", **KINDS["longest"]) == 60
    for n in range(1, 100, 2):
        scene.at(70, "interaction.released", ixn=f"i{n}", agent=f"a{n:03}")
    assert scene.number("GroupAgents", "team", **KINDS["longest"]) == 60  # of i101, which began at 10.1
    scene.engine.close(others)


def test_what_is_over_does_not_pile_up_beside_the_oldest() -> None:
    scene = Scene().at(0, "agent.login", agent="ann").at(0, "interaction.queued", ixn="first", queue="sales")
    statistic = scene.open("Queue", "sales", category="CurrentMaxTime", subject="DNAction", mainMask="CallWait")
    (accumulator,) = statistic._main
    for n in range(2000):
        scene.at(n, "interaction.queued", ixn=f"i{n}", queue="sales").at(n, "interaction.abandoned", ixn=f"i{n}", queue="sales")
        scene.engine.value(statistic)
    assert accumulator._oldest is not None
    assert len(accumulator._oldest) < 300
    assert scene.engine.value(statistic).int_value == 1999


def test_no_more_states_of_an_agent_are_kept_than_a_few() -> None:
    scene = crowd()
    for n in range(20):
        scene.value("GroupAgents", "team", **KINDS["state"], dynamicFilter=f"Media=m{n}")
    assert len(scene.engine._centre.agents["a000"].states) <= 8
