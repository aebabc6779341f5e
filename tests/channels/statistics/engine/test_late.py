"""The order of events: what is too late, and what may come a little late."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from channels.events import LateEventError
from channels.statistics.engine import ObjectType
from tests.channels.statistics.engine.scene import Scene, event

LATE: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]], str]] = [
    (("agent.ready", {"agent": "ann"}), ("agent.notready", {"agent": "ann"}), "agent ann"),
    (("agent.ready", {"agent": "ann"}), ("interaction.ringing", {"agent": "ann", "ixn": "i"}), "agent ann"),
    (("interaction.ringing", {"agent": "ann", "ixn": "i"}), ("interaction.held", {"agent": "ann", "ixn": "i"}), "agent ann"),
    (("agent.ready", {"agent": "ann"}), ("interaction.transferred", {"giver": "bob", "to": "ann", "ixn": "i"}), "agent ann"),
    (("interaction.transferred", {"giver": "ann", "to": "bob", "ixn": "i"}), ("agent.ready", {"agent": "ann"}), "agent ann"),
    (
        ("interaction.queued", {"ixn": "i", "queue": "q"}),
        ("interaction.distributed", {"ixn": "i", "queue": "q", "to": "a"}),
        "interaction i",
    ),
    (
        ("interaction.queued", {"ixn": "i", "queue": "q"}),
        ("interaction.started", {"ixn": "i", "media": "voice"}),
        "interaction i",
    ),
    (("interaction.finished", {"ixn": "i", "media": "voice"}), ("interaction.queued", {"ixn": "i", "queue": "q"}), "interaction i"),
    (
        ("group.changed", {"group": "g", "kind": "agents", "members": ["ann"]}),
        ("group.changed", {"group": "g", "kind": "agents", "members": []}),
        "group g",
    ),
]


@pytest.mark.parametrize(("before", "late", "named"), LATE)
def test_what_is_older_than_the_last_of_its_object_is_refused(
    before: tuple[str, dict[str, Any]], late: tuple[str, dict[str, Any]], named: str
) -> None:
    scene = Scene().at(10, before[0], **before[1])
    with pytest.raises(LateEventError) as refusal:
        scene.engine.check(event(scene.ms(9.5), late[0], **late[1]))
    assert f"event of {named};" in str(refusal.value)
    assert "expected 2026-03-10T09:00:10.000Z or later" in str(refusal.value)
    assert "got 2026-03-10T09:00:09.500Z, 500 ms earlier" in str(refusal.value)


@pytest.mark.parametrize(("before", "same", "named"), LATE)
def test_what_is_as_old_is_taken(before: tuple[str, dict[str, Any]], same: tuple[str, dict[str, Any]], named: str) -> None:
    Scene().at(10, before[0], **before[1]).at(10, same[0], **same[1])


APART: list[tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = [
    (("agent.ready", {"agent": "ann"}), ("agent.ready", {"agent": "bob"})),
    (("interaction.distributed", {"ixn": "i", "queue": "q", "to": "ann"}), ("interaction.ringing", {"ixn": "i", "agent": "ann"})),
    (("interaction.ringing", {"ixn": "i", "agent": "ann"}), ("interaction.queued", {"ixn": "i", "queue": "q"})),
    (("interaction.ringing", {"ixn": "i", "agent": "ann"}), ("interaction.abandoned", {"ixn": "i", "queue": "q"})),
    (("interaction.queued", {"ixn": "i", "queue": "q"}), ("interaction.queued", {"ixn": "j", "queue": "q"})),
    (
        ("group.changed", {"group": "g", "kind": "agents", "members": []}),
        ("group.changed", {"group": "g", "kind": "queues", "members": []}),
    ),
    (("group.changed", {"group": "g", "kind": "agents", "members": ["ann"]}), ("agent.ready", {"agent": "ann"})),
]


@pytest.mark.parametrize(("before", "late"), APART)
def test_producers_whose_clocks_differ_do_not_refuse_each_other(
    before: tuple[str, dict[str, Any]], late: tuple[str, dict[str, Any]]
) -> None:
    Scene().at(10, before[0], **before[1]).at(9.5, late[0], **late[1])


def test_an_event_that_was_only_checked_changes_nothing() -> None:
    scene = Scene()
    scene.engine.check(event(scene.ms(10), "agent.ready", agent="ann"))
    assert scene.engine.objects(ObjectType.AGENT) == []


def test_an_older_event_counts_at_its_own_time() -> None:
    scene = Scene().until(100).at(40, "agent.ready", agent="ann")
    assert scene.number("Agent", "ann", "ReadyDuration") == 60
    assert scene.engine.now_ms == scene.ms(100)


def test_engine_time_follows_the_events() -> None:
    scene = Scene().at(50, "agent.ready", agent="ann").until(20)
    assert scene.engine.now_ms == scene.ms(50)


def test_an_effect_is_never_dated_before_what_is_known_of_the_agent() -> None:
    scene = Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
    scene.at(10, "interaction.held", ixn="i", agent="ann").at(9, "interaction.finished", ixn="i", media="voice").until(20)
    assert scene.action("ann", "TotalTime", "CallInbound") == 10
    assert scene.action("ann", "TotalTime", "CallOnHold") == 0


def test_an_event_after_an_effect_with_a_faster_clock_is_taken() -> None:
    scene = Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
    scene.at(10.2, "interaction.finished", ixn="i", media="voice").at(10, "agent.notready", agent="ann").until(20)
    assert scene.number("Agent", "ann", "NotReadyDuration") == 10


def test_a_member_may_do_something_before_it_is_known_to_have_joined() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(10, "group.changed", group="team", kind="agents", members=["ann"])
    scene.at(5, "interaction.established", ixn="i", agent="ann", type="inbound").at(8, "interaction.released", ixn="i", agent="ann").until(
        20
    )
    assert scene.number("GroupAgents", "team", "InboundCalls") == 0
    assert scene.number("GroupAgents", "team", "ReadyDuration") == 10
    assert scene.number("GroupAgents", "All", "InboundCalls") == 1


ENDING: list[tuple[list[tuple[str, dict[str, Any]]], tuple[str, dict[str, Any]], tuple[str, str, str, str]]] = [
    (
        [("interaction.established", {"agent": "ann", "ixn": "i", "type": "inbound"}), ("agent.notready", {"agent": "ann"})],
        ("interaction.released", {"agent": "ann", "ixn": "i"}),
        ("Agent", "ann", "DNAction", "CallInbound"),
    ),
    (
        [("agent.login", {"agent": "ann"}), ("agent.ready", {"agent": "ann"})],
        ("agent.logout", {"agent": "ann"}),
        ("Agent", "ann", "DNAction", "LoggedIn"),
    ),
    (
        [("interaction.started", {"ixn": "i", "media": "voice"}), ("interaction.queued", {"ixn": "i", "queue": "q"})],
        ("interaction.finished", {"ixn": "i", "media": "voice"}),
        ("Queue", "q", "DNAction", "CallWait"),
    ),
    (
        [("interaction.queued", {"ixn": "i", "queue": "p"}), ("interaction.queued", {"ixn": "i", "queue": "q"})],
        ("interaction.abandoned", {"ixn": "i", "queue": "q"}),
        ("Queue", "q", "DNAction", "CallWait"),
    ),
    (
        [("interaction.ringing", {"agent": "ann", "ixn": "i"}), ("agent.ready", {"agent": "ann"})],
        ("interaction.abandoned", {"agent": "ann", "ixn": "i"}),
        ("Agent", "ann", "DNAction", "CallRinging"),
    ),
    (
        [("interaction.ringing", {"agent": "ann", "ixn": "i"}), ("agent.ready", {"agent": "ann"})],
        ("interaction.rejected", {"agent": "ann", "ixn": "i", "reason": "missed"}),
        ("Agent", "ann", "DNAction", "CallRinging"),
    ),
]


@pytest.mark.parametrize(("before", "end", "what"), ENDING)
def test_what_ends_something_and_comes_late_is_taken_at_the_time_of_the_newest_event(
    before: list[tuple[str, dict[str, Any]]], end: tuple[str, dict[str, Any]], what: tuple[str, str, str, str]
) -> None:
    scene = Scene()
    for at, (kind, data) in zip((0, 10), before, strict=True):
        scene.at(at, kind, **data)
    object_type, object_id, subject, mask = what
    assert scene.number(object_type, object_id, category="CurrentNumber", subject=subject, mainMask=mask) == 1
    scene.at(5, end[0], **end[1]).until(20)
    assert scene.number(object_type, object_id, category="CurrentNumber", subject=subject, mainMask=mask) == 0


def test_a_late_end_lasts_until_the_newest_event_and_keeps_the_order_behind_it() -> None:
    scene = Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound").at(10, "agent.notready", agent="ann")
    scene.at(5, "interaction.released", ixn="i", agent="ann").until(20)
    assert scene.action("ann", "TotalTime", "CallInbound") == 10
    with pytest.raises(LateEventError):
        scene.at(9, "agent.ready", agent="ann")


def test_an_event_without_a_time_of_its_own_is_never_late() -> None:
    scene = Scene().at(10, "agent.ready", agent="ann")
    untimed = structs.replace(event(scene.ms(5), "agent.notready", agent="ann"), arrival=True)
    scene.engine.check(untimed)
    scene.engine.apply(untimed)
    scene.until(20)
    assert scene.number("Agent", "ann", "NotReadyDuration") == 10
    assert scene.number("Agent", "ann", "ReadyDuration") == 0


def test_an_object_whose_last_event_lies_ahead_of_the_clock_refuses_nothing() -> None:
    scene = Scene().at(100, "agent.ready", agent="ann").at(100, "group.changed", group="g", kind="agents", members=["ann"])
    for late in (
        event(scene.ms(50), "agent.notready", agent="ann"),
        event(scene.ms(50), "group.changed", group="g", kind="agents", members=[]),
    ):
        with pytest.raises(LateEventError):
            scene.engine.check(late, scene.ms(100))
        scene.engine.check(late, scene.ms(60))
        scene.engine.apply(late)
    assert scene.number("Agent", "ann", category="CurrentNumber", subject="AgentStatus", mainMask="NotReadyForNextCall") == 1
