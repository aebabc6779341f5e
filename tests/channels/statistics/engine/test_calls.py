"""Calls of agents: what rings, talks, holds, and is transferred. Times are seconds from 09:00."""

from __future__ import annotations

import pytest

from channels.statistics.engine import Engine
from tests.channels.statistics.engine.scene import UTC, Scene

CALLS = "CallInbound,CallOutbound,CallInternal,CallConsult,CallUnknown"


def ready(agent: str = "ann") -> Scene:
    return Scene().at(0, "agent.login", agent=agent).at(0, "agent.ready", agent=agent)


def call(scene: Scene, at: float, *, ixn: str = "i", agent: str = "ann", type: str = "inbound") -> Scene:
    return scene.at(at, "interaction.established", ixn=ixn, agent=agent, type=type)


def status(scene: Scene, agent: str = "ann") -> str:
    return scene.value("Agent", agent, "CurrentAgentState").string_value


def test_one_call_from_ringing_to_ready_again() -> None:
    scene = ready().at(10, "interaction.ringing", ixn="i", agent="ann")
    assert status(scene) == "CallRinging"
    call(scene, 15)
    assert status(scene) == "CallInbound"
    scene.at(25, "interaction.held", ixn="i", agent="ann")
    assert status(scene) == "CallOnHold"
    scene.at(30, "interaction.retrieved", ixn="i", agent="ann")
    assert status(scene) == "CallInbound"
    scene.at(60, "interaction.released", ixn="i", agent="ann").at(60, "agent.aftercallwork", agent="ann", ixn="i")
    assert status(scene) == "AfterCallWork"
    scene.at(80, "agent.ready", agent="ann").until(100)
    assert scene.number("Agent", "ann", "ReadyDuration") == 10 + 20
    assert scene.number("Agent", "ann", "TalkDuration") == 10 + 30
    assert scene.number("Agent", "ann", "HoldDuration") == 5
    assert scene.number("Agent", "ann", "WrapDuration") == 20
    assert scene.number("Agent", "ann", "InboundCalls") == 1
    assert scene.number("Agent", "ann", "AverageHandlingTime") == 45 + 20
    assert scene.action("ann", "TotalTime", "CallReleased") == 45
    assert scene.action("ann", "TotalTime", "CallRetrievedFromHold") == 5
    instants = "CallRingingStarted,CallInboundStarted,CallInboundCompleted,CallHeld,CallRetrievedFromHold,CallReleased"
    assert scene.action("ann", "TotalNumber", instants) == 6


def test_a_hold_splits_the_status_of_a_call_and_not_its_action() -> None:
    scene = call(ready(), 0).at(10, "interaction.held", ixn="i", agent="ann").at(20, "interaction.retrieved", ixn="i", agent="ann")
    scene.at(30, "interaction.released", ixn="i", agent="ann")
    assert (scene.status("ann", "TotalNumber", "CallInbound"), scene.action("ann", "TotalNumber", "CallInbound")) == (2, 1)
    assert (scene.status("ann", "TotalTime", "CallInbound"), scene.action("ann", "TotalTime", "CallInbound")) == (20, 30)


def test_waiting_begins_anew_after_a_call() -> None:
    scene = call(ready(), 10).at(30, "interaction.released", ixn="i", agent="ann").until(45)
    assert (status(scene), scene.number("Agent", "ann", "TimeInCurrentState")) == ("WaitForNextCall", 15)
    assert scene.action("ann", "TotalNumber", "WaitForNextCall") == 1


def test_after_call_work_at_the_moment_of_the_end_leaves_no_wait_between() -> None:
    scene = call(ready(), 10).at(30, "interaction.released", ixn="i", agent="ann").at(30, "agent.aftercallwork", agent="ann").until(31)
    assert scene.status("ann", "TotalNumber", "WaitForNextCall") == 1


def test_after_call_work_may_come_before_the_release() -> None:
    scene = call(ready(), 10).at(20, "agent.aftercallwork", agent="ann", ixn="i").at(30, "interaction.released", ixn="i", agent="ann")
    assert status(scene) == "AfterCallWork"
    scene.at(40, "agent.ready", agent="ann")
    assert scene.action("ann", "TotalTime", "AfterCallWork") == 20


def test_who_is_not_ready_is_not_ready_after_a_call() -> None:
    scene = call(Scene().at(0, "agent.notready", agent="ann"), 10)
    assert status(scene) == "CallInbound"
    scene.at(20, "interaction.released", ixn="i", agent="ann")
    assert status(scene) == "NotReadyForNextCall"
    assert scene.action("ann", "TotalNumber", "NotReadyForNextCall") == 0, "the action went on through the call"


def test_a_phone_that_rings_while_not_ready_does_not_change_the_status() -> None:
    scene = Scene().at(0, "agent.notready", agent="ann").at(10, "interaction.ringing", ixn="i", agent="ann")
    assert status(scene) == "NotReadyForNextCall"


def test_dialing_does_not_suspend_waiting_and_talking_does() -> None:
    scene = ready().at(10, "interaction.dialing", ixn="i", agent="ann")
    assert (status(scene), scene.action("ann", "CurrentNumber", "WaitForNextCall")) == ("CallDialing", 1)
    call(scene, 15, type="outbound")
    assert (status(scene), scene.action("ann", "CurrentNumber", "WaitForNextCall")) == ("CallOutbound", 0)
    assert scene.action("ann", "TotalNumber", "CallDialing,CallDialed,CallDialingStarted,CallOutboundStarted") == 4
    scene.at(25, "interaction.released", ixn="i", agent="ann")
    assert scene.number("Agent", "ann", "OutboundCalls") == 1


def test_dialing_that_is_given_up() -> None:
    scene = ready().at(10, "interaction.dialing", ixn="i", agent="ann").at(13, "interaction.released", ixn="i", agent="ann")
    assert scene.action("ann", "TotalTime", "CallAbandonedFromDialing") == 3


@pytest.mark.parametrize(
    ("type", "name", "shown"),
    [
        ("inbound", "InboundCalls", "CallInbound"),
        ("outbound", "OutboundCalls", "CallOutbound"),
        ("internal", "InternalCalls", "CallInternal"),
        ("consult", "ConsultCalls", "CallConsult"),
    ],
)
def test_each_type_of_call_has_its_action(type: str, name: str, shown: str) -> None:
    scene = call(ready(), 5, type=type)
    assert (status(scene), scene.number("Agent", "ann", name)) == (shown, 0)
    scene.at(9, "interaction.released", ixn="i", agent="ann")
    assert scene.number("Agent", "ann", name) == 1


def test_of_two_calls_the_one_that_is_not_on_hold_counts() -> None:
    scene = call(ready(), 0).at(5, "interaction.held", ixn="i", agent="ann")
    call(scene, 6, ixn="j", type="consult")
    assert status(scene) == "CallConsult"
    assert scene.action("ann", "CurrentNumber", CALLS) == 2


@pytest.mark.parametrize(
    ("reason", "action", "name"), [("missed", "CallMissed", "MissedCalls"), ("refused", "CallForwarded", "RefusedCalls")]
)
def test_a_call_that_is_not_taken(reason: str, action: str, name: str) -> None:
    scene = ready().at(10, "interaction.ringing", ixn="i", agent="ann").at(22, "interaction.rejected", ixn="i", agent="ann", reason=reason)
    assert (status(scene), scene.number("Agent", "ann", name)) == ("WaitForNextCall", 1)
    assert scene.action("ann", "TotalTime", action) == 12


def test_a_caller_who_gives_up_while_it_rings() -> None:
    scene = ready().at(10, "interaction.ringing", ixn="i", agent="ann").at(14, "interaction.abandoned", ixn="i", agent="ann")
    assert (scene.number("Agent", "ann", "MissedCalls"), scene.action("ann", "TotalTime", "CallAbandonedFromRinging")) == (1, 4)
    assert status(scene) == "WaitForNextCall"


def test_a_phone_that_stops_ringing_elsewhere() -> None:
    scene = ready().at(10, "interaction.ringing", ixn="i", agent="ann").at(14, "interaction.released", ixn="i", agent="ann")
    assert (status(scene), scene.number("Agent", "ann", "MissedCalls")) == ("WaitForNextCall", 0)
    assert scene.action("ann", "TotalNumber", "CallRinging") == 1


def test_rejecting_a_call_that_is_established_is_no_such_thing() -> None:
    scene = (
        call(ready(), 5)
        .at(6, "interaction.rejected", ixn="i", agent="ann", reason="missed")
        .at(7, "interaction.abandoned", ixn="i", agent="ann")
    )
    assert (status(scene), scene.number("Agent", "ann", "MissedCalls")) == ("CallInbound", 0)


@pytest.mark.parametrize("kind", ["interaction.ringing", "interaction.dialing"])
def test_what_rings_already_or_talks_does_not_ring_again(kind: str) -> None:
    scene = call(ready(), 5).at(6, kind, ixn="i", agent="ann")
    assert (status(scene), scene.action("ann", "TotalNumber", "CallRingingStarted,CallDialingStarted")) == ("CallInbound", 0)


def test_established_twice_is_once() -> None:
    scene = (
        call(call(ready(), 5), 8).at(10, "interaction.released", ixn="i", agent="ann").at(11, "interaction.released", ixn="i", agent="ann")
    )
    assert scene.number("Agent", "ann", "InboundCalls") == 1


def test_a_call_whose_type_changes_is_two_actions() -> None:
    scene = call(call(ready(), 5, type="consult"), 8, type="inbound").at(20, "interaction.released", ixn="i", agent="ann")
    assert (scene.action("ann", "TotalTime", "CallConsult"), scene.action("ann", "TotalTime", "CallInbound")) == (3, 12)
    assert scene.action("ann", "TotalNumber", "CallConsultCompleted,CallInboundCompleted") == 2


def test_a_call_whose_beginning_was_not_heard_is_unknown() -> None:
    scene = ready().at(5, "interaction.held", ixn="i", agent="ann").at(9, "interaction.retrieved", ixn="i", agent="ann")
    assert status(scene) == "CallUnknown"
    scene.at(10, "interaction.retrieved", ixn="j", agent="ann")
    assert scene.action("ann", "CurrentNumber", "CallUnknown") == 2


def test_a_ringing_call_that_is_held_was_answered_unheard() -> None:
    scene = ready().at(5, "interaction.ringing", ixn="i", agent="ann").at(9, "interaction.held", ixn="i", agent="ann")
    assert (scene.action("ann", "CurrentNumber", "CallUnknown"), scene.action("ann", "CurrentNumber", "CallRinging")) == (1, 0)


def test_held_twice_is_once() -> None:
    scene = call(ready(), 0).at(5, "interaction.held", ixn="i", agent="ann").at(7, "interaction.held", ixn="i", agent="ann")
    scene.at(9, "interaction.released", ixn="i", agent="ann")
    assert (scene.action("ann", "TotalNumber", "CallHeld"), scene.action("ann", "TotalTime", "CallOnHold")) == (1, 4)


def test_an_interaction_logs_in_an_agent_who_never_did_as_ready() -> None:
    scene = Scene().at(0, "interaction.ringing", ixn="i", agent="ann", media="chat")
    assert status(scene) == "CallRinging"
    scene.at(5, "interaction.rejected", ixn="i", agent="ann", reason="missed")
    assert (status(scene), scene.action("ann", "TotalNumber", "AgentLogin")) == ("WaitForNextCall", 1)


def test_a_call_goes_on_after_a_logout() -> None:
    scene = call(ready(), 0).at(10, "agent.logout", agent="ann")
    assert (status(scene), scene.action("ann", "CurrentNumber", "CallInbound")) == ("LoggedOut", 1)
    assert scene.number("Agent", "ann", category="CurrentNumber", subject="DNStatus", mainMask="CallInbound") == 1
    scene.at(20, "interaction.released", ixn="i", agent="ann")
    assert (status(scene), scene.number("Agent", "ann", "InboundCalls")) == ("LoggedOut", 1)
    assert scene.action("ann", "TotalTime", "CallInbound") == 20


def test_a_transfer_of_a_talk() -> None:
    scene = call(ready(), 0).at(0, "agent.ready", agent="bob")
    scene.at(10, "interaction.transferred", ixn="i", giver="ann", to="bob")
    assert (status(scene), status(scene, "bob")) == ("WaitForNextCall", "CallInbound")
    scene.at(25, "interaction.released", ixn="i", agent="bob")
    assert (scene.number("Agent", "ann", "InteractionTransferred"), scene.number("Agent", "bob", "InteractionTransferred")) == (1, 0)
    assert scene.action("bob", "TotalNumber", "CallTransferTaken,CallInboundStarted") == 2
    assert (scene.action("ann", "TotalTime", "CallInbound"), scene.action("bob", "TotalTime", "CallInbound")) == (10, 15)
    assert scene.action("ann", "TotalNumber", "CallReleased") == 0


def test_a_transfer_that_completes_a_consultation() -> None:
    scene = call(call(ready(), 0), 5, agent="bob", type="consult").at(10, "interaction.transferred", ixn="i", giver="ann", to="bob")
    assert status(scene, "bob") == "CallInbound"
    assert scene.action("bob", "TotalTime", "CallConsult") == 5


def test_a_transfer_to_a_phone_that_rings_is_answered_later() -> None:
    scene = (
        call(ready(), 0).at(5, "interaction.ringing", ixn="i", agent="bob").at(6, "interaction.transferred", ixn="i", giver="ann", to="bob")
    )
    assert status(scene, "bob") == "CallRinging"
    call(scene, 8, agent="bob")
    assert status(scene, "bob") == "CallInbound"


def test_a_transfer_to_oneself_ends_the_call() -> None:
    scene = call(ready(), 0).at(5, "interaction.transferred", ixn="i", giver="ann", to="ann")
    assert (status(scene), scene.number("Agent", "ann", "InboundCalls")) == ("WaitForNextCall", 1)


def test_a_transfer_of_a_call_that_was_not_heard_of() -> None:
    scene = Scene().at(5, "interaction.transferred", ixn="i", giver="ann", to="bob")
    assert (status(scene), status(scene, "bob")) == ("LoggedOut", "CallUnknown")


def test_the_end_of_an_interaction_ends_everything_of_it() -> None:
    scene = call(ready(), 0).at(3, "interaction.held", ixn="i", agent="ann").at(5, "interaction.ringing", ixn="i", agent="bob")
    scene.at(9, "interaction.finished", ixn="i", media="voice")
    assert (status(scene), status(scene, "bob")) == ("WaitForNextCall", "WaitForNextCall")
    assert scene.action("ann", "TotalTime", "CallInbound") == 9


AFTERWARDS = [
    ("interaction.distributed", {"queue": "sales", "to": "ann"}),
    ("interaction.abandoned", {"queue": "sales"}),
    ("interaction.ringing", {"agent": "ann", "queue": "sales"}),
    ("interaction.dialing", {"agent": "ann"}),
    ("interaction.established", {"agent": "ann", "type": "inbound", "queue": "sales"}),
    ("interaction.held", {"agent": "ann"}),
    ("interaction.retrieved", {"agent": "ann"}),
    ("interaction.released", {"agent": "ann"}),
    ("interaction.rejected", {"agent": "ann", "reason": "missed"}),
    ("interaction.transferred", {"giver": "ann", "to": "bob"}),
    ("interaction.finished", {"media": "voice"}),
]


@pytest.mark.parametrize(("kind", "data"), AFTERWARDS)
def test_what_comes_after_the_end_changes_nothing(kind: str, data: dict[str, str]) -> None:
    scene = ready().at(5, "interaction.finished", ixn="i", media="voice").at(6, kind, ixn="i", **data)
    assert (scene.action("ann", "TotalNumber", "*,~AgentLogin"), scene.queue("sales", "TotalNumber", "*")) == (0, 0)


def test_an_id_that_is_used_again_is_a_new_interaction() -> None:
    scene = ready().at(5, "interaction.finished", ixn="i", media="voice").at(6, "interaction.started", ixn="i", media="chat")
    call(scene, 7)
    assert scene.action("ann", "CurrentNumber", "CallInbound", dynamicFilter="Media=chat") == 1


def test_the_medium_is_that_which_the_interaction_started_on() -> None:
    scene = ready().at(1, "interaction.started", ixn="i", media="Email").at(2, "interaction.ringing", ixn="i", agent="ann")
    assert scene.action("ann", "CurrentNumber", "CallRinging", dynamicFilter="Media=email") == 1


def test_a_call_of_which_nothing_is_heard_for_twelve_hours_is_over() -> None:
    scene = call(ready(), 0)
    scene.until(12 * 3600 - 1)
    assert scene.action("ann", "CurrentNumber", "CallInbound") == 1
    scene.until(12 * 3600)
    assert scene.action("ann", "CurrentNumber", "CallInbound") == 0


def test_an_interaction_of_another_medium_lasts_a_week_without_a_word() -> None:
    scene = Scene().at(0, "interaction.queued", ixn="chat", queue="sales", media="chat")
    scene.at(1, "interaction.queued", ixn="call", queue="sales")
    week = 7 * 86_400
    scene.until(week - 1)
    assert scene.queue("sales", "CurrentNumber", "CallWait") == 1
    scene.until(week)
    assert scene.queue("sales", "CurrentNumber", "CallWait") == 0


def test_a_call_that_is_heard_of_again_lasts_twelve_hours_from_then() -> None:
    scene = call(ready(), 0).at(12 * 3600 - 1, "interaction.held", ixn="i", agent="ann").until(24 * 3600 - 2)
    assert scene.action("ann", "CurrentNumber", "CallInbound") == 1
    scene.until(24 * 3600 - 1)
    assert scene.action("ann", "CurrentNumber", "CallInbound") == 0


def test_more_calls_than_end_in_one_piece_end_all() -> None:
    scene = Scene()
    for number in range(500):
        scene.at(0, "interaction.queued", ixn=f"i{number}", queue="sales")
    for _ in range(8):
        scene.until(12 * 3600)
    assert scene.queue("sales", "CurrentNumber", "CallWait") == 0


def test_an_interaction_is_cleared_by_its_id() -> None:
    scene = call(ready(), 0).at(0, "interaction.queued", ixn="j", queue="sales").until(100)
    assert scene.engine.clear("i")
    assert scene.action("ann", "CurrentNumber", "CallInbound") == 0
    assert scene.action("ann", "TotalTime", "CallInbound") == 100
    assert scene.queue("sales", "CurrentNumber", "CallWait") == 1
    assert not scene.engine.clear("i")
    assert not scene.engine.clear("nobody")
    restored = Engine.restore(scene.engine.save(), zone=UTC)
    assert restored.clear("j")


def test_an_interaction_that_is_over_is_forgotten_after_five_minutes() -> None:
    scene = ready().at(0, "interaction.queued", ixn="i", queue="sales").at(1, "interaction.abandoned", ixn="i", queue="sales")
    scene.at(302, "interaction.abandoned", ixn="i", queue="sales")
    assert scene.queue("sales", "TotalNumber", "CallEntered") == 2
