"""Growing windows: resets at midnight and at other times, in the tenant's zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from tests.channels.statistics.engine.scene import Scene, moment

BERLIN = ZoneInfo("Europe/Berlin")


def evening(zone: ZoneInfo | None = None) -> Scene:
    """23:50 of a Tuesday."""
    chosen = zone or ZoneInfo("UTC")
    return Scene(zone=chosen, start_ms=moment("2026-03-10 23:50:00", chosen))


def test_a_status_in_progress_is_split_at_the_reset() -> None:
    scene = evening().at(0, "agent.ready", agent="ann").until(600 + 300)
    assert (scene.status("ann", "TotalTime", "WaitForNextCall"), scene.number("Agent", "ann", "TimeInCurrentState")) == (300, 900)
    assert scene.status("ann", "TotalNumber", "WaitForNextCall") == 1


def test_an_action_counts_whole_in_the_window_in_which_it_completes() -> None:
    scene = evening().at(0, "interaction.established", ixn="i", agent="ann", type="inbound").until(899)
    assert scene.number("Agent", "ann", "InboundCalls") == 0
    scene.at(900, "interaction.released", ixn="i", agent="ann")
    assert (scene.number("Agent", "ann", "InboundCalls"), scene.action("ann", "TotalTime", "CallInbound")) == (1, 900)
    assert scene.action("ann", "TotalAdjustedTime", "CallInbound") == 300


def test_what_was_counted_before_midnight_is_gone_after_it() -> None:
    scene = (
        evening()
        .at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
        .at(10, "interaction.released", ixn="i", agent="ann")
    )
    assert scene.number("Agent", "ann", "InboundCalls") == 1
    scene.until(600)
    assert scene.number("Agent", "ann", "InboundCalls") == 0
    assert scene.number("Agent", "ann", "LoginDuration") == 0


def test_the_reset_belongs_to_the_window_that_it_begins() -> None:
    scene = (
        evening()
        .at(0, "interaction.established", ixn="i", agent="ann", type="inbound")
        .at(600, "interaction.released", ixn="i", agent="ann")
    )
    assert scene.number("Agent", "ann", "InboundCalls") == 1
    assert scene.status("ann", "TotalNumber", "CallInbound") == 0, "a status that ended at the reset was not in progress after it"


def test_days_without_a_sound_are_passed_over() -> None:
    scene = evening().at(0, "agent.ready", agent="ann").until(600 + 3 * 86_400 + 60)
    assert scene.status("ann", "TotalTime", "WaitForNextCall") == 60


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clocks_change_has_its_own_length(day: str, hours: int) -> None:
    scene = Scene(zone=BERLIN, start_ms=moment(f"{day} 00:00:00", BERLIN)).at(0, "agent.ready", agent="ann")
    scene.until(hours * 3600 - 1)
    assert scene.number("Agent", "ann", "ReadyDuration") == hours * 3600 - 1
    scene.until(hours * 3600 + 5)
    assert scene.number("Agent", "ann", "ReadyDuration") == 5


def test_midnight_is_that_of_the_zone() -> None:
    scene = evening(ZoneInfo("America/New_York")).at(0, "agent.ready", agent="ann").until(700)
    assert scene.number("Agent", "ann", "ReadyDuration") == 100


def test_the_whole_day_is_there_whenever_a_statistic_is_opened() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(100, "agent.notready", agent="ann").until(5 * 3600)
    assert scene.number("Agent", "ann", "ReadyDuration") == 100


def test_another_window_begins_when_it_is_opened_and_is_reset_by_its_profile() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").until(300)
    quarter = scene.open("Agent", "ann", category="TotalTime", subject="AgentStatus", mainMask="*", dynamicTimeProfile="0:00 +0:15")
    values = [scene.until(at).engine.value(quarter).int_value for at in (300, 400, 899, 900, 1000)]
    assert values == [0, 100, 599, 0, 100]


def test_a_window_sees_what_begins_after_it_was_opened() -> None:
    scene = Scene()
    hourly = {"dynamicTimeProfile": "0:00 +1:00"}
    number = scene.open("Queue", "sales", category="TotalNumber", subject="DNAction", mainMask="CallEntered", **hourly)
    in_range = scene.open("Queue", "sales", category="TotalNumberInTimeRange", subject="DNAction", mainMask="CallAbandoned", **hourly)
    scene.at(10, "interaction.queued", ixn="i", queue="sales").at(15, "interaction.abandoned", ixn="i", queue="sales")
    assert [scene.engine.value(each).int_value for each in (number, in_range)] == [1, 1]
    scene.at(3600, "interaction.queued", ixn="j", queue="sales")
    assert [scene.engine.value(each).int_value for each in (number, in_range)] == [1, 0]


def test_two_statistics_share_a_window() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    quarter = {"subject": "AgentStatus", "mainMask": "*", "dynamicTimeProfile": "0:00 +0:15"}
    first = scene.open("Agent", "ann", category="TotalTime", **quarter)
    scene.until(100)
    second = scene.open("Agent", "ann", category="AverageTime", **quarter)
    scene.engine.close(first)
    scene.until(200)
    assert scene.engine.value(second).int_value == 200


def test_a_window_that_was_closed_begins_anew() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    quarter = {"category": "TotalTime", "subject": "AgentStatus", "mainMask": "*", "dynamicTimeProfile": "0:00 +0:15"}
    scene.engine.close(scene.open("Agent", "ann", **quarter))
    scene.until(100)
    again = scene.open("Agent", "ann", **quarter)
    scene.until(130)
    assert scene.engine.value(again).int_value == 30


def test_several_windows_are_open_at_once() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    raw = {"category": "TotalTime", "subject": "AgentStatus", "mainMask": "*"}
    opened = [scene.open("Agent", "ann", **raw, dynamicTimeProfile=p) for p in ("00:00", "0:00 +0:15", "0:00 +1:00")]
    scene.until(1000)
    assert [scene.engine.value(each).int_value for each in opened] == [1000, 100, 1000]
    scene.engine.close(opened[1])
    scene.at(3700, "agent.notready", agent="ann").until(3800)
    assert [scene.engine.value(each).int_value for each in (opened[0], opened[2])] == [3800, 200]


def test_an_event_from_before_the_reset_is_not_counted_after_it() -> None:
    scene = evening().at(0, "agent.ready", agent="ann").at(0, "agent.ready", agent="bob").until(601)
    scene.at(590, "interaction.established", ixn="i", agent="ann", type="inbound").at(598, "interaction.released", ixn="i", agent="ann")
    scene.at(599, "agent.notready", agent="ann").until(610)
    assert scene.number("Agent", "ann", "InboundCalls") == 0
    assert scene.number("Agent", "ann", "TalkDuration") == 0
    assert scene.number("Agent", "ann", "NotReadyDuration") == 10
    assert scene.number("GroupAgents", "All", "InboundCalls") == 0
    assert scene.number("GroupAgents", "All", "LoginDuration") == 20


def test_an_instant_from_before_the_reset_is_not_counted_after_it() -> None:
    scene = evening().until(601).at(590, "interaction.queued", ixn="i", queue="sales")
    assert (scene.number("Queue", "sales", "CallsEntered"), scene.number("Queue", "sales", "CurrentInQueue")) == (0, 1)


def test_a_late_instant_is_not_counted_in_another_window_either() -> None:
    scene = Scene()
    quarter = scene.open("Queue", "sales", category="TotalNumber", subject="DNAction", mainMask="*", dynamicTimeProfile="0:00 +0:15")
    scene.until(901).at(890, "interaction.queued", ixn="i", queue="sales").at(905, "interaction.queued", ixn="j", queue="sales")
    assert scene.engine.value(quarter).int_value == 1
