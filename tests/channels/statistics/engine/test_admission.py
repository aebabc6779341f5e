"""How many objects, groups and members events may add, and that what events of one batch add is counted together."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from channels.events import RefusedEventError
from channels.statistics.engine import Bounds, Engine
from tests.channels.statistics.engine.scene import NINE, UTC, event

FEW = Bounds(objects=6, groups=2, members=3, member_groups=2)


class Desk:
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
        [("interaction.started", {"ixn": f"i{n}", "media": f"m{n}"}) for n in range(6)],
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
]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
@pytest.mark.parametrize(("before", "more", "refusal"), TOO_MANY)
def test_one_too_many_is_refused_by_name(
    before: list[tuple[str, dict[str, Any]]], more: tuple[str, dict[str, Any]], refusal: str, together: bool
) -> None:
    desk = Desk()
    for kind, data in before:
        desk.admit(kind, **data)
        if not together:
            desk.apply()
    with pytest.raises(RefusedEventError) as refused:
        desk.admit(more[0], **more[1])
    assert str(refused.value).startswith(refusal)
    assert "; got " in str(refused.value)
    desk.apply()
    with pytest.raises(RefusedEventError):
        desk.admit(more[0], **more[1])


def test_what_is_there_is_let_pass_at_the_bound() -> None:
    desk = Desk()
    desk.admit("group.changed", group="g", kind="agents", members=["a", "b", "c"])
    desk.admit("agent.login", agent="a", groups=["g", "h"])
    desk.apply()
    assert desk.engine.object_count == 5
    desk.admit("agent.login", agent="a", groups=["g", "h", "All"])
    desk.admit("group.changed", group="g", kind="agents", members=["a", "b", "b", "d"])
    desk.admit("group.changed", group="All", kind="agents", members=["x1", "x2", "x3", "x4"])
    desk.apply()
    assert desk.engine.object_count == 6


def test_what_was_admitted_and_is_skipped_makes_room() -> None:
    desk = Desk()
    for number in range(6):
        desk.admit("agent.ready", agent=f"a{number}")
    for found in desk.waiting:
        desk.engine.skip(found)
    for number in range(6):
        desk.admit("agent.ready", agent=f"b{number}")


def test_what_was_admitted_and_never_came_is_counted_for_ten_minutes() -> None:
    desk = Desk()
    for number in range(6):
        desk.admit("agent.ready", agent=f"a{number}")
    desk.engine.advance(NINE + 600_000)
    with pytest.raises(RefusedEventError):
        desk.admit("agent.ready", agent="b")
    desk.engine.advance(NINE + 600_001)
    desk.admit("agent.ready", agent="b")


def test_limits_do_not_apply_to_what_is_restored() -> None:
    desk = Desk(Bounds())
    for number in range(20):
        desk.admit("agent.login", agent="ann", groups=[f"g{number}"])
    desk.apply()
    restored = Engine.restore(desk.engine.save(), zone=UTC, bounds=FEW)
    assert restored.object_count == 21
    restored.admit(event(NINE, "agent.ready", agent="ann"))
    restored.admit(event(NINE, "agent.login", agent="ann", groups=["g7"]))
    with pytest.raises(RefusedEventError):
        restored.admit(event(NINE, "agent.login", agent="bob"))
