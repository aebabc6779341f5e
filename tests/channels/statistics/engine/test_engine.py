"""The engine as its users see it: opening, closing, what changed, objects, states, saving."""

from __future__ import annotations

import msgspec
import pytest

from channels.statistics.engine import Engine, ObjectType, SnapshotError
from tests.channels.statistics.engine.scene import UTC, Scene

TIME = {"category": "TotalTime", "subject": "AgentStatus", "mainMask": "*"}


def test_identical_statistics_are_one() -> None:
    scene = Scene()
    assert scene.open("Agent", "ann", **TIME) is scene.open("Agent", "ann", **TIME, notificationMode="Immediate")
    assert scene.open("Agent", "ann", **TIME) is not scene.open("Agent", "bob", **TIME)


def test_a_statistic_is_open_until_its_last_user_closes_it() -> None:
    scene = Scene()
    first, second = scene.open("Agent", "ann", **TIME), scene.open("Agent", "ann", **TIME)
    scene.engine.close(first)
    scene.at(0, "agent.ready", agent="ann")
    assert scene.engine.take_changed() == [second]
    scene.engine.close(second)
    with pytest.raises(ValueError, match="TotalTime of Agent ann is not open"):
        scene.engine.close(second)


def test_a_closed_statistic_has_not_changed() -> None:
    scene = Scene()
    statistic = scene.open("Agent", "ann", **TIME)
    scene.at(0, "agent.ready", agent="ann").engine.close(statistic)
    assert scene.engine.take_changed() == []


def test_what_an_event_touches_has_changed_once() -> None:
    scene = Scene()
    talk, wait = scene.open("Agent", "ann", "TalkDuration"), scene.open("Agent", "ann", "ReadyDuration")
    other = scene.open("Agent", "bob", "ReadyDuration")
    scene.at(0, "agent.ready", agent="ann").at(1, "agent.notready", agent="ann").at(2, "agent.ready", agent="ann")
    assert scene.engine.take_changed() == [wait]
    assert scene.engine.take_changed() == []
    scene.at(5, "interaction.established", ixn="i", agent="ann", type="inbound")
    assert set(scene.engine.take_changed()) == {talk, wait}
    assert scene.engine.value(other).int_value == 0


def test_what_a_relative_mask_selects_is_watched_too() -> None:
    scene = Scene()
    level = scene.open("Queue", "sales", "ServiceLevel")
    scene.at(0, "interaction.abandoned", ixn="i", queue="sales")
    assert scene.engine.take_changed() == [level]


@pytest.mark.parametrize("name", ["CurrentGroupState", "CurrentReadyAgents"])
def test_a_change_of_a_group_touches_its_statistics(name: str) -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    statistic = scene.open("GroupAgents", "team", name)
    scene.at(1, "group.changed", group="team", kind="agents", members=["ann"])
    assert scene.engine.take_changed() == [statistic]
    scene.at(2, "group.changed", group="team", kind="agents", members=[])
    assert scene.engine.take_changed() == [statistic]


def test_what_a_member_does_touches_the_group() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", groups=["team"])
    opened = {scene.open("GroupAgents", "team", "CurrentGroupState"), scene.open("GroupAgents", "All", "CurrentReadyAgents")}
    scene.at(1, "agent.ready", agent="ann")
    assert set(scene.engine.take_changed()) == opened


def test_a_reset_touches_what_has_that_window() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    quarter = scene.open("Agent", "ann", **TIME, dynamicTimeProfile="0:00 +0:15")
    scene.open("Agent", "ann", **TIME)
    scene.open("Agent", "ann", "TimeInCurrentState")
    scene.engine.take_changed()
    scene.until(900)
    assert scene.engine.take_changed() == [quarter]


RUNNING = [
    ("CurrentTime", "AgentStatus", "WaitForNextCall", True),
    ("CurrentMaxTime", "AgentStatus", "WaitForNextCall", True),
    ("CurrentTime", "AgentStatus", "LoggedOut", False),
    ("CurrentNumber", "AgentStatus", "WaitForNextCall", False),
    ("TotalTime", "AgentStatus", "WaitForNextCall", True),
    ("AverageTime", "AgentStatus", "WaitForNextCall", True),
    ("TotalTime", "DNAction", "WaitForNextCall", False),
    ("TotalAdjustedTime", "DNAction", "WaitForNextCall", True),
    ("TotalNumber", "AgentStatus", "WaitForNextCall", False),
]


@pytest.mark.parametrize(("category", "subject", "mask", "running"), RUNNING)
def test_a_statistic_is_running_when_time_alone_changes_it(category: str, subject: str, mask: str, running: bool) -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    assert scene.open("Agent", "ann", category=category, subject=subject, mainMask=mask).running is running


def test_objects_are_those_that_events_spoke_of() -> None:
    scene = Scene().at(0, "agent.login", agent="bob", groups=["team"]).at(0, "agent.login", agent="ann")
    scene.at(0, "interaction.queued", ixn="i", queue="sales").at(0, "group.changed", group="desk", kind="queues", members=["help"])
    scene.at(0, "interaction.started", ixn="j", media="Chat")
    scene.open("Agent", "cid", **TIME)
    found = {kind.value: scene.engine.objects(kind) for kind in ObjectType}
    assert found == {
        "Agent": ["ann", "bob"],
        "GroupAgents": ["All", "team"],
        "Queue": ["help", "sales"],
        "RoutePoint": ["help", "sales"],
        "GroupQueues": ["All", "desk"],
        "StagingArea": ["chat"],
    }


@pytest.mark.parametrize("kind", list(ObjectType))
def test_what_was_only_asked_for_is_forgotten(kind: ObjectType) -> None:
    scene = Scene()
    name = {ObjectType.AGENT: "TalkDuration", ObjectType.GROUP_AGENTS: "TalkDuration", ObjectType.STAGING_AREA: "InteractionsEntered"}.get(
        kind, "CallsEntered"
    )
    empty = scene.engine.save()
    first, second = scene.open(kind, "x", name), scene.open(kind, "x", name)
    scene.engine.close(first)
    scene.engine.close(second)
    assert scene.engine._centre.of(kind).get("x") is None
    assert scene.engine.save() == empty


def test_what_is_still_asked_for_by_another_statistic_is_kept() -> None:
    scene = Scene()
    state, time = scene.open("Agent", "x", "CurrentAgentState"), scene.open("Agent", "x", "TalkDuration")
    scene.engine.close(time)
    assert scene.engine.value(state).string_value == "LoggedOut"
    scene.engine.close(state)
    assert scene.engine._centre.agents == {}


def test_the_state_of_an_agent_is_a_tree() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", place="P7", dn="7001").at(5, "agent.notready", agent="ann", reason="lunch")
    scene.at(6, "interaction.queued", ixn="i", queue="sales", user_data={"vip": True})
    scene.at(7, "interaction.established", ixn="i", agent="ann", type="inbound").at(9, "interaction.held", ixn="i", agent="ann")
    nine = scene.start_ms // 1000

    def action(name: str, at: int, ixn: str | None = None, **more: object) -> dict[str, object]:
        return {"action": name, "time": nine + at, "connectionId": ixn, "userData": {"vip": True} if ixn else {}, "reasons": {}} | more

    assert scene.tree("ann") == {
        "agentId": "ann",
        "loginId": "ann",
        "status": 13,
        "statusName": "CallOnHold",
        "time": nine + 9,
        "place": {
            "placeId": "P7",
            "status": 13,
            "time": nine + 9,
            "dnStatuses": [
                {
                    "dnId": "7001",
                    "switchId": None,
                    "dnType": 1,
                    "media": "voice",
                    "status": 13,
                    "statusName": "CallOnHold",
                    "time": nine + 9,
                    "actions": [
                        action("LoggedIn", 0),
                        action("NotReadyForNextCall", 0, reasons={"ReasonCode": "lunch"}),
                        action("CallInbound", 7, "i"),
                        action("CallOnHold", 9, "i"),
                    ],
                }
            ],
        },
    }


def test_the_state_of_a_logged_out_agent_has_no_media() -> None:
    tree = Scene().at(0, "agent.logout", agent="ann").tree("ann")
    assert (tree["status"], tree["place"]["placeId"], tree["place"]["dnStatuses"]) == (23, None, [])


def test_a_filtered_state_is_that_of_the_media_chosen() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"]).at(5, "agent.ready", agent="ann", media="chat")
    tree = scene.tree("ann", dynamicFilter="Media=chat")
    assert (tree["statusName"], tree["time"]) == ("WaitForNextCall", scene.start_ms // 1000 + 5)
    assert [dn["media"] for dn in tree["place"]["dnStatuses"]] == ["chat"]
    assert scene.tree("ann", dynamicFilter="Media=email")["statusName"] == "LoggedOut"


def test_user_data_that_comes_during_a_call_is_shown() -> None:
    scene = Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
    state = scene.open("Agent", "ann", "CurrentAgentState")
    before = scene.engine.value(state)
    scene.engine.take_changed()
    scene.at(5, "interaction.queued", ixn="i", queue="help", user_data={"step": 2})
    assert scene.engine.take_changed() == [state]
    assert scene.engine.value(state).changed_from(before, 1)


def test_a_state_that_did_not_change_is_the_same() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    before = scene.value("Agent", "ann", "CurrentAgentState")
    scene.until(60)
    assert not scene.value("Agent", "ann", "CurrentAgentState").changed_from(before, 1)


def test_a_restart_keeps_the_totals_of_the_day() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(100, "interaction.established", ixn="i", agent="ann", type="inbound")
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    scene.at(160, "interaction.released", ixn="i", agent="ann").until(200)
    assert scene.number("Agent", "ann", "ReadyDuration") == 140
    assert (scene.number("Agent", "ann", "InboundCalls"), scene.number("Agent", "ann", "TalkDuration")) == (1, 60)


def test_a_restart_after_midnight_begins_the_new_day() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(100, "agent.notready", agent="ann")
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    scene.until(15 * 3600 + 7)
    assert (scene.number("Agent", "ann", "ReadyDuration"), scene.number("Agent", "ann", "NotReadyDuration")) == (0, 7)


def test_a_restored_engine_still_refuses_what_is_late() -> None:
    scene = Scene().at(10, "agent.ready", agent="ann")
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    with pytest.raises(ValueError, match="agent ann"):
        scene.at(9, "agent.ready", agent="ann")


@pytest.mark.parametrize("state", [b"", b"nonsense", msgspec.msgpack.encode([1, 2])])
def test_bytes_that_are_no_state_are_refused(state: bytes) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        Engine.restore(state, zone=UTC)


def test_a_state_of_another_version_is_refused() -> None:
    state = msgspec.msgpack.decode(Scene().engine.save())
    state[0] = 99
    with pytest.raises(SnapshotError, match="expected a saved state of version 1 or 2; got version 99"):
        Engine.restore(msgspec.msgpack.encode(state), zone=UTC)


def test_many_durations_survive_a_restart() -> None:
    scene = Scene()
    for number in range(600):
        scene.at(number, "interaction.queued", ixn="i", queue="sales").at(number + 0.5, "interaction.abandoned", ixn="i", queue="sales")
    scene.engine = Engine.restore(scene.engine.save(), zone=UTC)
    assert scene.number("Queue", "sales", "TotalAbandoned") == 600
    assert scene.queue("sales", "TotalNumberInTimeRange", "CallAbandoned", timeRange="0-1") == 600


def test_a_state_is_no_view_of_totals() -> None:
    with pytest.raises(ValueError, match="not a view of accumulators"):
        Scene().open("Agent", "ann", "CurrentAgentState").compute(0)
