"""The worked examples of docs/statistics.md: hand-made timelines with figures that can be checked by hand. Seconds from 09:00."""

from __future__ import annotations

import pytest

from channels.statistics.engine.bounds import Bounds
from channels.statistics.engine.engine import Engine
from tests.channels.statistics.engine.scene import NINE, UTC, Scene, moment

SALES = {"queue": "sales"}


def queued(scene: Scene, at: float, ixn: str = "i", queue: str = "sales") -> Scene:
    return scene.at(at, "interaction.queued", ixn=ixn, queue=queue)


def rings(scene: Scene, at: float, ixn: str = "i", agent: str = "ann", queue: str = "sales") -> Scene:
    scene.at(at, "interaction.distributed", ixn=ixn, queue=queue, to=agent)
    return scene.at(at, "interaction.ringing", ixn=ixn, agent=agent, queue=queue)


def answered(scene: Scene, at: float, ixn: str = "i", agent: str = "ann", type: str = "inbound") -> Scene:
    return scene.at(at, "interaction.established", ixn=ixn, agent=agent, type=type)


def call(scene: Scene, since: float, until: float, ixn: str = "i", type: str = "inbound") -> Scene:
    """One call of one agent, from beginning to end."""
    return answered(scene, since, ixn, type=type).at(until, "interaction.released", ixn=ixn, agent="ann")


def figure(scene: Scene, name: str, queue: str = "sales") -> float:
    value = scene.value("Queue", queue, name)
    return value.int_value if value.float_value is None else value.float_value


def handling(scene: Scene) -> float:
    value = scene.value("Agent", "ann", "AverageHandlingTime")
    return value.int_value if value.float_value is None else value.float_value


QUEUE_FIGURES = ("CallsEntered", "TotalAnswered", "TotalAbandoned", "CurrentInQueue")


def balance(scene: Scene, queue: str = "sales") -> tuple[float, ...]:
    """Entered, answered, abandoned, waiting."""
    return tuple(figure(scene, name, queue) for name in QUEUE_FIGURES)


# --- the waiting time --------------------------------------------------------------------------------------------------------------------


def test_an_answered_call_counts_once_in_the_average_wait() -> None:
    scene = rings(queued(Scene(), 0), 5)
    answered(scene, 10)
    assert figure(scene, "AverageWaitingTime") == 10, "and not (5 + 10) / 2"


def test_the_average_wait_is_over_the_calls_that_were_answered_or_lost() -> None:
    scene = answered(rings(queued(queued(Scene(), 0, "i"), 0, "j"), 4), 10)
    scene.at(60, "interaction.abandoned", ixn="j", queue="sales")
    assert figure(scene, "AverageWaitingTime") == 35, "(10 + 60) / 2"


def test_a_call_that_rings_in_vain_and_is_queued_again_has_not_left() -> None:
    scene = rings(queued(Scene(), 0), 5).at(20, "interaction.rejected", ixn="i", agent="ann", reason="missed")
    rings(queued(scene, 20), 22, agent="bob")
    answered(scene, 30, agent="bob")
    assert balance(scene) == (1, 1, 0, 0)
    assert figure(scene, "AverageWaitingTime") == 30, "from the first time that it was queued there"
    assert (figure(scene, "TotalDistributed"), figure(scene, "AverageDistributionTime")) == (1, 5)
    assert scene.number("Agent", "ann", "MissedCalls") == 1


def test_a_call_that_comes_back_after_its_answer_is_another_entry() -> None:
    scene = answered(queued(Scene(), 0), 10).at(50, "interaction.released", ixn="i", agent="ann")
    answered(queued(scene, 60), 64, agent="bob")
    assert balance(scene) == (2, 2, 0, 0)
    assert figure(scene, "AverageWaitingTime") == 7, "(10 + 4) / 2"


def test_a_call_that_rings_waits() -> None:
    scene = rings(queued(Scene(), 0), 5).until(9)
    assert balance(scene) == (1, 0, 0, 1)
    assert figure(scene, "CurrMaxCallWaitingTime") == 9


# --- calls that are lost -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [{"agent": "ann"}, {"queue": "sales"}, {"agent": "ann", "queue": "sales"}])
def test_a_call_that_is_lost_while_it_rings_is_abandoned(named: dict[str, str]) -> None:
    scene = rings(queued(Scene(), 0), 8).at(11, "interaction.abandoned", ixn="i", **named)
    assert balance(scene) == (1, 0, 1, 0)
    assert figure(scene, "AverageWaitingTime") == 11
    assert scene.number("Agent", "ann", "MissedCalls") == 1


ENDS_OF_A_RING = [
    ("interaction.abandoned", {"queue": "sales"}),
    ("interaction.abandoned", {"agent": "ann"}),
    ("interaction.rejected", {"agent": "ann", "reason": "missed"}),
    ("interaction.rejected", {"agent": "ann", "reason": "refused"}),
]


@pytest.mark.parametrize("second", ENDS_OF_A_RING)
@pytest.mark.parametrize("first", ENDS_OF_A_RING)
def test_a_second_end_of_the_same_ring_counts_nothing(first: tuple[str, dict[str, str]], second: tuple[str, dict[str, str]]) -> None:
    scene = rings(queued(Scene(), 0), 8).at(11, first[0], ixn="i", **first[1])
    scene.at(12, second[0], ixn="i", **second[1])
    assert scene.number("Agent", "ann", "MissedCalls") + scene.number("Agent", "ann", "RefusedCalls") == 1
    assert figure(scene, "TotalAbandoned") <= 1


@pytest.mark.parametrize("end", ENDS_OF_A_RING)
def test_nothing_is_missed_where_nothing_rang(end: tuple[str, dict[str, str]]) -> None:
    scene = Scene().at(0, "agent.ready", agent="ann")
    queued(scene, 0).at(5, end[0], ixn="i", **end[1])
    assert scene.number("Agent", "ann", "MissedCalls") + scene.number("Agent", "ann", "RefusedCalls") == 0


def test_a_second_report_of_a_transfer_counts_nothing() -> None:
    scene = answered(Scene(), 0)
    for at in (10, 11):
        scene.at(at, "interaction.transferred", ixn="i", giver="ann", to="bob")
    assert scene.action("ann", "TotalNumber", "CallTransferMade") == 1
    assert scene.action("bob", "TotalNumber", "CallTransferTaken") == 1


# --- the service level -------------------------------------------------------------------------------------------------------------------


def test_the_service_level_stays_within_a_hundred_after_midnight() -> None:
    scene = Scene(start_ms=moment("2026-03-10 23:59:50"))
    for number in range(3):
        queued(scene, 0, f"i{number}")
    for number in range(3):
        answered(scene, 11 + number, f"i{number}", agent=f"agent{number}")
    queued(scene, 14, "j")
    answered(scene, 15, "j", agent="zoe")
    assert figure(scene, "ServiceLevel") == 100, "and not 400: one entered today, four were answered"


def test_the_service_level_is_of_no_call_while_the_first_one_waits() -> None:
    scene = queued(Scene(), 0).until(5)
    value = scene.value("Queue", "sales", "ServiceLevel")
    assert (value.int_value, value.empty) == (0, True)
    answered(scene, 6)
    value = scene.value("Queue", "sales", "ServiceLevel")
    assert (value.int_value, value.empty) == (100, False)


def test_lost_calls_lower_the_service_level() -> None:
    scene = answered(queued(queued(Scene(), 0, "i"), 0, "j"), 10)
    rings(scene, 12, "j", agent="bob").at(15, "interaction.abandoned", ixn="j", agent="bob")
    assert figure(scene, "ServiceLevel") == 50


# --- the handling time -------------------------------------------------------------------------------------------------------------------


def test_after_call_work_that_a_call_interrupts_counts_without_the_call() -> None:
    scene = call(Scene(), 0, 100, "a").at(100, "agent.aftercallwork", agent="ann", ixn="a")
    call(scene, 112, 140, "b").at(150, "agent.ready", agent="ann")
    assert handling(scene) == 75, "(100 + 50 - 28 + 28) / 2, and not 89"


def test_a_consult_is_no_call_of_its_own() -> None:
    scene = answered(Scene(), 0, "a").at(30, "interaction.held", ixn="a", agent="ann")
    call(scene, 30, 60, "c", type="consult").at(60, "interaction.retrieved", ixn="a", agent="ann")
    scene.at(100, "interaction.released", ixn="a", agent="ann")
    assert handling(scene) == 100, "and not 65"


def test_a_call_over_midnight_counts_from_midnight_on() -> None:
    scene = Scene(start_ms=moment("2026-03-10 23:54:35"))
    call(scene, 0, 355)
    assert (handling(scene), scene.number("Agent", "ann", "TalkDuration")) == (30, 30)


def test_parallel_chats_count_each_for_itself() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", media=["chat"])
    for at, ixn in ((0, "a"), (50, "b")):
        scene.at(at, "interaction.established", ixn=ixn, agent="ann", type="inbound", media="chat")
    scene.at(100, "interaction.released", ixn="a", agent="ann").at(200, "interaction.released", ixn="b", agent="ann")
    assert handling(scene) == 125, "(100 + 150) / 2"


def test_an_agent_without_a_finished_call_has_no_handling_time() -> None:
    value = answered(Scene(), 0).until(30).value("Agent", "ann", "AverageHandlingTime")
    assert (value.int_value, value.empty) == (0, True)


# --- two places --------------------------------------------------------------------------------------------------------------------------


def two_places() -> Scene:
    return Scene().at(0, "agent.login", agent="ann", place="P1", dn="7001").at(5, "agent.login", agent="ann", place="P2", dn="7002")


def test_two_logins_at_two_places_are_two() -> None:
    scene = two_places().until(10)
    assert scene.action("ann", "TotalNumber", "AgentLogin") == 2
    assert scene.action("ann", "CurrentNumber", "LoggedIn") == 2
    assert scene.number("GroupAgents", "All", "CurrentLoggedInAgents") == 1, "one agent"
    assert {each["placeId"]: [dn["dnId"] for dn in each["dnStatuses"]] for each in scene.tree("ann")["places"]} == {
        "P1": ["7001"],
        "P2": ["7002"],
    }


def test_one_logout_ends_both() -> None:
    scene = two_places().at(10, "agent.logout", agent="ann").until(20)
    assert scene.action("ann", "TotalNumber", "AgentLogout") == 2
    assert scene.action("ann", "TotalTime", "LoggedIn") == 10 + 5
    assert scene.number("Agent", "ann", "LoginDuration") == 10


def test_a_login_at_one_place_too_many_ends_the_oldest() -> None:
    scene = Scene()
    scene.engine = Engine(zone=UTC, now_ms=NINE, bounds=Bounds(places=3))
    for number in range(5):
        scene.at(number * 10, "agent.login", agent="ann", place=f"P{number}", dn=f"700{number}")
    assert [each["placeId"] for each in scene.tree("ann")["places"]] == ["P2", "P3", "P4"]
    assert [scene.action("ann", "TotalNumber", name) for name in ("AgentLogin", "AgentLogout")] == [5, 2]
    assert scene.number("Agent", "ann", "LoginDuration") == 40, "logged in all the time"
    scene.at(50, "agent.login", agent="ann", place="P3").at(60, "agent.logout", agent="ann")
    assert scene.action("ann", "TotalNumber", "AgentLogin,AgentLogout") == 5 + 5


def test_a_chat_login_elsewhere_does_not_move_the_voice_dn() -> None:
    scene = Scene().at(0, "agent.login", agent="ann", place="P1", dn="7001")
    scene.at(5, "agent.login", agent="ann", place="P2", dn="c2", media=["chat"]).until(9)
    tree = scene.tree("ann")
    assert (tree["place"]["placeId"], [dn["dnId"] for dn in tree["place"]["dnStatuses"]]) == ("P1", ["7001"])
    assert [each["placeId"] for each in tree["places"]] == ["P1", "P2"]
