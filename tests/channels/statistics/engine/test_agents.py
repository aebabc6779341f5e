"""Agents on their media: statuses, their times, and the actions behind them. Times are seconds from 09:00."""

from __future__ import annotations

import pytest

from tests.channels.statistics.engine.scene import Scene

IN = "*,~LoggedOut,~NotMonitored"


def test_an_agent_nobody_has_heard_of_is_logged_out() -> None:
    scene = Scene()
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "LoggedOut"
    assert scene.number("Agent", "ann", "LoginDuration") == 0


def test_a_login_begins_not_ready() -> None:
    scene = Scene().at(0, "agent.login", agent="ann").until(30)
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "NotReadyForNextCall"
    assert (scene.number("Agent", "ann", "NotReadyDuration"), scene.number("Agent", "ann", "TimeInCurrentState")) == (30, 30)


def test_a_morning() -> None:
    scene = Scene().at(0, "agent.login", agent="ann").at(10, "agent.ready", agent="ann").at(70, "agent.notready", agent="ann")
    scene.at(100, "agent.ready", agent="ann").at(160, "agent.logout", agent="ann").until(1000)
    assert scene.number("Agent", "ann", "LoginDuration") == 160
    assert scene.number("Agent", "ann", "ReadyDuration") == 60 + 60
    assert scene.number("Agent", "ann", "NotReadyDuration") == 10 + 30
    assert scene.number("Agent", "ann", "TimeInCurrentState") == 840
    assert scene.status("ann", "TotalNumber", "WaitForNextCall") == 2
    assert scene.status("ann", "AverageTime", "WaitForNextCall") == 60
    assert scene.action("ann", "TotalNumber", "AgentLogin,AgentLogout") == 2


def test_a_status_in_progress_counts_and_an_action_only_when_it_completes() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").until(60)
    assert (scene.status("ann", "TotalTime", "WaitForNextCall"), scene.status("ann", "TotalNumber", "WaitForNextCall")) == (60, 1)
    assert (scene.action("ann", "TotalTime", "WaitForNextCall"), scene.action("ann", "TotalNumber", "WaitForNextCall")) == (0, 0)
    assert scene.action("ann", "TotalAdjustedTime", "WaitForNextCall") == 60
    scene.at(90, "agent.logout", agent="ann").until(100)
    assert (scene.action("ann", "TotalTime", "WaitForNextCall"), scene.action("ann", "TotalNumber", "WaitForNextCall")) == (90, 1)


def test_times_are_cut_to_whole_seconds_before_they_are_subtracted() -> None:
    scene = Scene().at(0.949, "agent.ready", agent="ann").at(11.042, "agent.notready", agent="ann").until(12)
    assert scene.status("ann", "TotalTime", "WaitForNextCall") == 11


def test_what_lasts_no_time_leaves_no_trace() -> None:
    scene = Scene().at(0, "agent.login", agent="ann").at(0, "agent.ready", agent="ann").until(9)
    assert scene.status("ann", "TotalNumber", "NotReadyForNextCall") == 0
    assert scene.action("ann", "TotalNumber", "NotReadyForNextCall") == 0
    assert scene.status("ann", "TotalNumber", "*") == 1


def test_being_ready_twice_begins_nothing_anew() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann").at(30, "agent.ready", agent="ann").at(40, "agent.login", agent="ann").until(50)
    assert (scene.number("Agent", "ann", "TimeInCurrentState"), scene.status("ann", "TotalNumber", "WaitForNextCall")) == (50, 1)
    assert scene.action("ann", "TotalNumber", "AgentLogin") == 1


def test_a_new_reason_begins_nothing_anew_but_is_shown() -> None:
    scene = Scene().at(0, "agent.notready", agent="ann", reason="lunch").at(30, "agent.notready", agent="ann", reason="meeting").until(50)
    assert scene.number("Agent", "ann", "TimeInCurrentState") == 50
    actions = scene.tree("ann")["place"]["dnStatuses"][0]["actions"]
    assert actions[1]["reasons"] == {"ReasonCode": "meeting"}


@pytest.mark.parametrize("kind", ["agent.ready", "agent.notready", "agent.aftercallwork"])
def test_an_agent_who_never_logged_in_is_logged_in_by_what_is_heard(kind: str) -> None:
    scene = Scene().at(0, kind, agent="ann").until(10)
    assert (scene.number("Agent", "ann", "LoginDuration"), scene.action("ann", "TotalNumber", "AgentLogin")) == (10, 1)


def test_a_logout_of_somebody_unknown_is_heard_and_does_nothing() -> None:
    scene = Scene().at(0, "agent.logout", agent="ann").until(10)
    assert scene.engine.objects(scene.open("Agent", "ann", "TalkDuration").object_type) == ["ann"]
    assert scene.action("ann", "TotalNumber", "AgentLogout") == 0


def test_current_numbers_and_times_look_at_this_moment() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"]).at(20, "agent.ready", agent="ann", media="chat").until(50)
    assert scene.status("ann", "CurrentNumber", IN) == 1
    dn = {"subject": "DNStatus", "mainMask": "*"}
    assert scene.number("Agent", "ann", category="CurrentNumber", **dn) == 2
    assert scene.number("Agent", "ann", category="CurrentTime", **dn) == 50 + 30
    assert scene.number("Agent", "ann", category="CurrentMaxTime", **dn) == 50
    assert scene.action("ann", "CurrentNumber", "LoggedIn") == 2


def test_ready_without_a_medium_is_ready_on_all() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"]).at(20, "agent.ready", agent="ann")
    assert scene.action("ann", "CurrentNumber", "WaitForNextCall") == 2


def test_a_logout_of_one_medium_leaves_the_others() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"]).at(20, "agent.logout", agent="ann", media="Voice").until(30)
    assert scene.number("Agent", "ann", "LoginDuration") == 30
    assert scene.action("ann", "CurrentNumber", "LoggedIn") == 1
    assert scene.action("ann", "CurrentNumber", "LoggedOut") == 0


def test_a_filter_counts_the_media_that_it_names() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"]).at(20, "agent.ready", agent="ann", media="chat").until(50)
    assert scene.status("ann", "TotalTime", "WaitForNextCall") == 0, "the status of the agent is that of voice"
    assert scene.status("ann", "TotalTime", "WaitForNextCall", dynamicFilter="Media=chat") == 30
    assert scene.status("ann", "TotalTime", "NotReadyForNextCall", dynamicFilter="Media=voice|chat") == 50 + 20
    assert scene.action("ann", "TotalAdjustedTime", "LoggedIn", dynamicFilter="Media=chat") == 50
    assert scene.action("ann", "TotalAdjustedTime", "LoggedIn", dynamicFilter="Media=email") == 0


STATUSES = [
    # voice, chat, the agent's status
    ("agent.ready", "agent.ready", "WaitForNextCall"),
    ("agent.ready", "agent.notready", "WaitForNextCall"),
    ("agent.notready", "agent.ready", "NotReadyForNextCall"),
    ("agent.aftercallwork", "agent.ready", "AfterCallWork"),
    ("agent.ready", "agent.aftercallwork", "AfterCallWork"),
    ("agent.notready", "agent.aftercallwork", "AfterCallWork"),
    ("agent.logout", "agent.ready", "WaitForNextCall"),
    ("agent.logout", "agent.logout", "LoggedOut"),
]


@pytest.mark.parametrize(("voice", "chat", "expected"), STATUSES)
def test_the_status_of_an_agent_on_several_media(voice: str, chat: str, expected: str) -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"])
    scene.at(1, voice, agent="ann", media="voice").at(1, chat, agent="ann", media="chat")
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == expected


def test_voice_above_not_ready_goes_before_other_media() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"])
    scene.at(1, "interaction.established", ixn="c", agent="ann", type="inbound", media="chat")
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "CallInbound"
    scene.at(2, "agent.aftercallwork", agent="ann", media="voice")
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "AfterCallWork"


def test_of_two_other_media_the_higher_status_counts() -> None:
    scene = Scene().at(0, "agent.ready", agent="ann", media="chat").at(1, "agent.notready", agent="ann", media="email")
    assert scene.value("Agent", "ann", "CurrentAgentState").string_value == "NotReadyForNextCall"


AFTER = [
    ({"media": "chat"}, "chat"),
    ({"ixn": "c"}, "chat"),
    ({}, "voice"),
]


@pytest.mark.parametrize(("named", "medium"), AFTER)
def test_after_call_work_is_on_the_medium_of_the_interaction(named: dict[str, str], medium: str) -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["voice", "chat"])
    scene.at(1, "interaction.established", ixn="c", agent="ann", type="inbound", media="chat")
    scene.at(2, "interaction.established", ixn="v", agent="ann", type="inbound", media="voice")
    scene.at(8, "interaction.released", ixn="c", agent="ann").at(9, "interaction.released", ixn="v", agent="ann")
    scene.at(9, "agent.aftercallwork", agent="ann", **named).until(19)
    assert scene.action("ann", "CurrentNumber", "AfterCallWork", dynamicFilter=f"Media={medium}") == 1


def test_after_call_work_without_a_call_is_on_the_medium_that_the_agent_is_logged_in_on() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["chat"]).at(1, "agent.aftercallwork", agent="ann")
    assert scene.action("ann", "CurrentNumber", "AfterCallWork", dynamicFilter="Media=chat") == 1


def test_after_call_work_after_a_logout_is_not_on_the_medium_of_before() -> None:
    scene = (
        Scene().at(0, "interaction.established", ixn="v", agent="ann", type="inbound").at(5, "interaction.released", ixn="v", agent="ann")
    )
    scene.at(6, "agent.logout", agent="ann").at(7, "agent.login", agent="ann", media=["chat"]).at(8, "agent.aftercallwork", agent="ann")
    assert scene.action("ann", "CurrentNumber", "AfterCallWork", dynamicFilter="Media=chat") == 1


def test_after_call_work_twice_is_once() -> None:
    scene = Scene().at(0, "agent.aftercallwork", agent="ann").at(5, "agent.aftercallwork", agent="ann").at(9, "agent.ready", agent="ann")
    assert (scene.action("ann", "TotalNumber", "AfterCallWork"), scene.number("Agent", "ann", "WrapDuration")) == (1, 9)


def test_asking_before_anything_was_heard_changes_no_total() -> None:
    scene = Scene()
    open_before = scene.open("Agent", "ann", category="TotalTime", subject="AgentStatus", mainMask="LoggedOut")
    scene.until(100).at(60, "agent.logout", agent="ann").until(160)
    assert scene.engine.value(open_before).int_value == 100
