"""How many objects, groups and members events may add, and that what events of one batch add is counted together."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from channels.events import RefusedEventError
from channels.statistics.engine import Bounds, Engine
from tests.channels.statistics.engine.scene import NINE, UTC, event

FEW = Bounds(objects=6, groups=2, members=3, member_groups=2, interactions=4, media=8)


class Batch:
    """Admits events as a batch is: all of them, before any is applied."""

    def __init__(self, bounds: Bounds = FEW) -> None:
        self.engine = Engine(zone=UTC, now_ms=NINE, bounds=bounds)
        self.waiting: list[Any] = []
        self.number = 0

    def admit(self, kind: str, /, **data: Any) -> None:
        self.number += 1
        found = structs.replace(event(NINE, kind, **data), id=str(self.number))
        self.engine.admit(found)
        self.waiting.append(found)

    def apply(self) -> None:
        for found in self.waiting:
            self.engine.apply(found)
        self.waiting.clear()


TOO_MANY: list[tuple[list[tuple[str, dict[str, Any]]], tuple[str, dict[str, Any]], str]] = [
    (
        [("agent.ready", {"agent": f"a{n}"}) for n in range(6)],
        ("agent.ready", {"agent": "one-more"}),
        "data.agentId: expected at most 6 agents, queues, groups and staging areas of a tenant; got one more, the agent one-more",
    ),
    (
        [("agent.ready", {"agent": f"a{n}"}) for n in range(6)],
        ("interaction.transferred", {"ixn": "i", "giver": "a1", "to": "one-more"}),
        "data.toAgentId: expected at most 6",
    ),
    (
        [("interaction.queued", {"ixn": "i", "queue": f"q{n}"}) for n in range(6)],
        ("interaction.queued", {"ixn": "i", "queue": "one-more"}),
        "data.queue: expected at most 6",
    ),
    (
        [("interaction.finished", {"ixn": f"i{n}", "media": f"m{n}"}) for n in range(6)],
        ("interaction.finished", {"ixn": "j", "media": "one-more"}),
        "data.media: expected at most 6",
    ),
    (
        [("agent.ready", {"agent": f"a{n}"}) for n in range(4)],
        ("group.changed", {"group": "g", "kind": "agents", "members": ["b1", "b2"]}),
        "data.members: expected at most 6 agents, queues, groups and staging areas of a tenant; got 2 more than 5",
    ),
    (
        [("group.changed", {"group": f"g{n}", "kind": kind, "members": []}) for n, kind in enumerate(("agents", "queues"))],
        ("group.changed", {"group": "g3", "kind": "agents", "members": []}),
        "data.groupId: expected at most 2 groups of a tenant; got one more, g3",
    ),
    (
        [("agent.login", {"agent": "ann", "groups": ["g1", "g2"]})],
        ("agent.login", {"agent": "bob", "groups": ["g1", "g3"]}),
        "data.groups: expected at most 2 groups of a tenant; got one more, g3",
    ),
    (
        [],
        ("group.changed", {"group": "g", "kind": "agents", "members": ["a", "b", "c", "d"]}),
        "data.members: expected at most 3 members of a group; got 4",
    ),
    (
        [("group.changed", {"group": "g", "kind": "agents", "members": ["a", "b"]}), ("agent.login", {"agent": "c", "groups": ["g"]})],
        ("agent.login", {"agent": "d", "groups": ["g"]}),
        "data.groups: expected at most 3 members of a group; got one more of g",
    ),
    (
        [],
        ("agent.login", {"agent": "ann", "groups": ["g1", "g2", "g3"]}),
        "data.groups: expected at most 2 groups of a member; got 3 of ann",
    ),
    (
        [("agent.login", {"agent": "ann", "groups": ["g1"]}), ("group.changed", {"group": "g2", "kind": "agents", "members": ["ann"]})],
        ("agent.login", {"agent": "ann", "groups": ["g3"]}),
        "data.groups: expected at most 2 groups of a member; got 3 of ann",
    ),
    *(
        (
            [("interaction.queued", {"ixn": f"i{n}", "queue": "q"}) for n in range(4)],
            (f"interaction.{kind}", {"ixn": "one-more"} | data),
            "data.interactionId: expected at most 4 interactions of a tenant in which something goes on; got one more, one-more",
        )
        for kind, data in (
            ("queued", {"queue": "q"}),
            ("distributed", {"queue": "q", "toAgentId": "ann"}),
            ("distributed", {"queue": "q", "to_queue": "r"}),
            ("ringing", {"agent": "ann"}),
            ("dialing", {"agent": "ann"}),
            ("established", {"agent": "ann", "type": "inbound"}),
            ("held", {"agent": "ann"}),
            ("retrieved", {"agent": "ann"}),
            ("transferred", {"giver": "ann", "to": "bob"}),
            ("started", {"media": "voice"}),
        )
    ),
    (
        [("agent.login", {"agent": "ann", "media": [f"m{n}" for n in range(7)]})],
        ("agent.ready", {"agent": "ann", "media": "M7"}),
        "data.media: expected at most 8 media of a tenant; got one more, m7",
    ),
    (
        [],
        ("agent.login", {"agent": "ann", "media": ["voice"] * 9}),
        "data.media: expected at most 8 media of a tenant; got 9",
    ),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
@pytest.mark.parametrize(("before", "more", "refusal"), TOO_MANY)
def test_one_too_many_is_refused_by_name(
    before: list[tuple[str, dict[str, Any]]], more: tuple[str, dict[str, Any]], refusal: str, together: bool
) -> None:
    batch = Batch()
    for kind, data in before:
        batch.admit(kind, **data)
        if not together:
            batch.apply()
    with pytest.raises(RefusedEventError) as refused:
        batch.admit(more[0], **more[1])
    assert str(refused.value).startswith(refusal)
    assert "; got " in str(refused.value)
    batch.apply()
    with pytest.raises(RefusedEventError):
        batch.admit(more[0], **more[1])


def test_what_is_there_is_let_pass_at_the_bound() -> None:
    batch = Batch()
    batch.admit("group.changed", group="g", kind="agents", members=["a", "b", "c"])
    batch.admit("agent.login", agent="a", groups=["g", "h"])
    batch.apply()
    assert batch.engine.object_count == 5
    batch.admit("agent.login", agent="a", groups=["g", "h", "All"])
    batch.admit("group.changed", group="g", kind="agents", members=["a", "b", "b", "d"])
    batch.admit("group.changed", group="All", kind="agents", members=["x1", "x2", "x3", "x4"])
    batch.apply()
    assert batch.engine.object_count == 6


def test_what_was_admitted_and_is_skipped_makes_room() -> None:
    batch = Batch()
    for number in range(6):
        batch.admit("agent.ready", agent=f"a{number}")
    for found in batch.waiting:
        batch.engine.skip(found)
    for number in range(6):
        batch.admit("agent.ready", agent=f"b{number}")


def test_what_was_admitted_and_never_came_is_counted_for_ten_minutes() -> None:
    batch = Batch()
    for number in range(6):
        batch.admit("agent.ready", agent=f"a{number}")
    batch.engine.advance(NINE + 600_000)
    with pytest.raises(RefusedEventError):
        batch.admit("agent.ready", agent="b")
    batch.engine.advance(NINE + 600_001)
    batch.admit("agent.ready", agent="b")


def test_limits_do_not_apply_to_what_is_restored() -> None:
    batch = Batch(Bounds())
    for number in range(20):
        batch.admit("agent.login", agent="ann", groups=[f"g{number}"])
    batch.apply()
    restored = Engine.restore(batch.engine.save(), zone=UTC, bounds=FEW)
    assert restored.object_count == 21
    restored.admit(event(NINE, "agent.ready", agent="ann"))
    restored.admit(event(NINE, "agent.login", agent="ann", groups=["g7"]))
    with pytest.raises(RefusedEventError):
        restored.admit(event(NINE, "agent.login", agent="bob"))


ENDING: list[tuple[str, dict[str, Any]]] = [
    ("released", {"agent": "ann"}),
    ("rejected", {"agent": "ann", "reason": "missed"}),
    ("abandoned", {"queue": "q"}),
    ("abandoned", {"agent": "ann"}),
    ("finished", {"media": "voice"}),
]


@pytest.mark.parametrize(("kind", "data"), ENDING)
def test_what_ends_an_interaction_is_never_one_too_many_and_opens_none(kind: str, data: dict[str, Any]) -> None:
    batch = Batch()
    for n in range(4):
        batch.admit("interaction.queued", ixn=f"i{n}", queue="q")
    batch.apply()
    batch.admit(f"interaction.{kind}", ixn="unheard", **data)
    batch.apply()
    assert batch.engine.interaction_count == 4


def test_interactions_of_one_batch_are_counted_once_each() -> None:
    batch = Batch()
    for n in range(4):
        batch.admit("interaction.queued", ixn=f"i{n}", queue="q")
        batch.admit("interaction.ringing", ixn=f"i{n}", agent="ann")
    batch.apply()
    batch.admit("interaction.established", ixn="i0", agent="ann", type="inbound")
    batch.admit("interaction.abandoned", ixn="i3", queue="q")
    batch.apply()
    batch.admit("interaction.queued", ixn="i4", queue="q")
    batch.apply()
    assert batch.engine.interaction_count == 4
    assert batch.engine._machine._admission._interactions == {}


def test_an_interaction_that_is_over_is_not_opened_by_what_comes_late() -> None:
    batch = Batch()
    batch.admit("interaction.finished", ixn="over", media="voice")
    batch.apply()
    for n in range(4):
        batch.admit("interaction.queued", ixn=f"i{n}", queue="q")
    batch.admit("interaction.held", ixn="over", agent="ann")
    with pytest.raises(RefusedEventError):
        batch.admit("interaction.started", ixn="over", media="voice")


def test_no_more_interactions_that_are_over_are_remembered_than_may_go_on() -> None:
    batch = Batch()
    for n in range(10):
        batch.admit("interaction.finished", ixn=f"i{n}", media="voice")
        batch.apply()
    assert list(batch.engine._centre.idle) == ["i6", "i7", "i8", "i9"]


def test_media_are_known_after_a_restart() -> None:
    batch = Batch()
    batch.admit("agent.login", agent="ann", media=["m1", "M2"])
    batch.admit("interaction.queued", ixn="i", queue="q", media="m3")
    batch.admit("interaction.started", ixn="j", media="m4")
    batch.apply()
    again = Engine.restore(batch.engine.save(), zone=UTC, bounds=FEW)
    assert again._centre.media == {"voice", "m1", "m2", "m3", "m4"}


SMALL = Bounds(interaction_agents=3, agent_interactions=3)

PARTS: list[tuple[str, dict[str, Any]]] = [
    ("ringing", {"agent": "one-more"}),
    ("dialing", {"agent": "one-more"}),
    ("established", {"agent": "one-more", "type": "inbound"}),
    ("held", {"agent": "one-more"}),
    ("retrieved", {"agent": "one-more"}),
    ("transferred", {"giver": "nobody", "to": "one-more"}),
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
@pytest.mark.parametrize(("kind", "data"), PARTS)
def test_an_agent_too_many_in_an_interaction_is_refused(kind: str, data: dict[str, Any], together: bool) -> None:
    batch = Batch(SMALL)
    for agent in ("a", "b", "c"):
        batch.admit("interaction.ringing", ixn="i", agent=agent)
        batch.admit("interaction.established", ixn="i", agent=agent, type="inbound")
        if not together:
            batch.apply()
    with pytest.raises(RefusedEventError, match=r"gentId: expected at most 3 agents in one interaction; got one more in i, one-more"):
        batch.admit(f"interaction.{kind}", ixn="i", **data)
    batch.apply()
    batch.admit("interaction.held", ixn="i", agent="a")
    batch.admit("interaction.transferred", ixn="i", giver="a", to="d")
    batch.admit("interaction.released", ixn="i", agent="b")
    batch.apply()
    batch.admit(f"interaction.{kind}", ixn="i", **data)
    batch.apply()
    assert batch.engine._machine._admission._parts_of_interaction == {}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
def test_an_interaction_too_many_of_one_agent_is_refused(together: bool) -> None:
    batch = Batch(SMALL)
    for n in range(3):
        batch.admit("interaction.established", ixn=f"i{n}", agent="ann", type="inbound", media="chat" if n % 2 else "email")
        if not together:
            batch.apply()
    with pytest.raises(
        RefusedEventError, match=r"data\.interactionId: expected at most 3 interactions of one agent; got one more of ann, j"
    ):
        batch.admit("interaction.ringing", ixn="j", agent="ann")
    batch.admit("interaction.ringing", ixn="j", agent="bob")
    batch.admit("interaction.finished", ixn="i0", media="email")
    batch.apply()
    batch.admit("interaction.ringing", ixn="j", agent="ann")
    batch.apply()
    admission = batch.engine._machine._admission
    assert (admission._parts, admission._parts_of_agent) == ({}, {})


def test_user_data_that_is_kept_has_a_size() -> None:
    batch = Batch(Bounds(user_data_bytes=20))
    batch.admit("interaction.queued", ixn="i", queue="q", user_data={"a": "123456789012"})
    with pytest.raises(RefusedEventError, match=r"data\.userData: expected at most 20 bytes of JSON; got 21"):
        batch.admit("interaction.queued", ixn="j", queue="q", user_data={"a": "1234567890123"})
    batch.admit("interaction.started", ixn="j", media="chat", user_data={"a": "1234567890123"})  # which is not kept here


def test_the_user_data_of_all_interactions_has_a_size() -> None:
    batch = Batch(Bounds(all_user_data_bytes=40))

    def kept() -> int:
        return batch.engine.user_data_bytes

    batch.admit("interaction.queued", ixn="i", queue="q", user_data={"a": "123456789012"})  # 20 bytes
    batch.admit("interaction.queued", ixn="j", queue="q", user_data={"a": "123456789012"})
    refusal = r"data\.userData: expected at most 40 bytes of JSON in all interactions of a tenant that are not over; got 7 more than 40"
    with pytest.raises(RefusedEventError, match=refusal):  # what was let pass counts before it is applied
        batch.admit("interaction.queued", ixn="k", queue="q", user_data={"a": 1})
    batch.apply()
    assert kept() == 40
    with pytest.raises(RefusedEventError, match=refusal):
        batch.admit("interaction.queued", ixn="k", queue="q", user_data={"a": 1})
    batch.admit("interaction.queued", ixn="k", queue="q")  # without user data there is room
    batch.admit("interaction.queued", ixn="i", queue="q2", user_data={"a": "123456789012"})  # in place of the same
    batch.apply()
    assert kept() == 40
    restored = Engine.restore(batch.engine.save(), zone=UTC, bounds=Bounds(all_user_data_bytes=40))
    assert restored.user_data_bytes == 40
    batch.admit("interaction.finished", ixn="i", media="chat")
    batch.apply()
    assert kept() == 20  # it is over
    batch.admit("interaction.queued", ixn="k", queue="q", user_data={"a": 1})
    batch.apply()
    assert kept() == 27
