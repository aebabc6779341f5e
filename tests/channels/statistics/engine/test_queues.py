"""Queues and route points: what enters, waits, and leaves. Times are seconds from 09:00."""

from __future__ import annotations

import pytest

from tests.channels.statistics.engine.scene import Scene


def queued(at: float = 0, *, ixn: str = "i", queue: str = "sales", scene: Scene | None = None) -> Scene:
    return (scene or Scene()).at(at, "interaction.queued", ixn=ixn, queue=queue)


def total(scene: Scene, name: str, queue: str = "sales") -> tuple[int, int]:
    """(number, seconds)"""
    return scene.queue(queue, "TotalNumber", name), scene.queue(queue, "TotalTime", name)


def test_a_call_that_is_answered() -> None:
    scene = queued(0)
    scene.until(5)
    assert (scene.number("Queue", "sales", "CurrentInQueue"), scene.number("Queue", "sales", "CurrMaxCallWaitingTime")) == (1, 5)
    scene.at(8, "interaction.distributed", ixn="i", queue="sales", to="ann").at(
        8, "interaction.ringing", ixn="i", agent="ann", queue="sales"
    )
    assert (scene.number("Queue", "sales", "CurrentInQueue"), scene.number("Queue", "sales", "TotalAnswered")) == (1, 0)
    scene.at(12, "interaction.established", ixn="i", agent="ann", type="inbound", queue="sales")
    assert total(scene, "CallDistributed") == (1, 8)
    assert total(scene, "CallAnswered") == (1, 12)
    assert total(scene, "CallEntered") == (1, 0)
    assert total(scene, "CallWait") == (1, 12)
    assert scene.number("Queue", "sales", "CurrentInQueue") == 0
    scene.at(42, "interaction.released", ixn="i", agent="ann").at(42, "agent.aftercallwork", agent="ann", ixn="i")
    scene.at(50, "agent.ready", agent="ann")
    assert total(scene, "CallReleased") == (1, 30)
    assert total(scene, "ACWCompleted") == (1, 8)
    assert scene.number("Queue", "sales", "AverageDistributionTime") == 8
    assert scene.number("Queue", "sales", "AverageWaitingTime") == 12


def test_a_queue_and_a_route_point_of_one_id_are_one_object() -> None:
    scene = queued(0)
    assert scene.number("RoutePoint", "sales", "CallsEntered") == scene.number("Queue", "sales", "CallsEntered") == 1


def test_a_queue_nobody_has_heard_of_counts_nothing() -> None:
    scene = Scene()
    assert (scene.number("Queue", "sales", "CallsEntered"), scene.number("Queue", "sales", "ServiceLevel")) == (0, 0)


def test_the_one_that_has_waited_longest() -> None:
    scene = queued(30, ixn="j", scene=queued(10))
    scene.until(40)
    assert scene.number("Queue", "sales", "CurrMaxCallWaitingTime") == 30
    assert scene.queue("sales", "CurrentTime", "CallWait") == 30 + 10
    scene.at(41, "interaction.abandoned", ixn="i", queue="sales")
    assert scene.number("Queue", "sales", "CurrMaxCallWaitingTime") == 11


def test_a_call_that_is_abandoned_in_the_queue() -> None:
    scene = queued(0).at(17, "interaction.abandoned", ixn="i", queue="sales")
    assert total(scene, "CallAbandoned") == (1, 17)
    assert scene.number("Queue", "sales", "CurrentInQueue") == 0


@pytest.mark.parametrize("named", [{"agent": "ann"}, {"queue": "sales"}, {"agent": "ann", "queue": "sales"}])
def test_a_call_that_is_abandoned_while_it_rings(named: dict[str, str]) -> None:
    scene = queued(0).at(8, "interaction.distributed", ixn="i", queue="sales", to="ann")
    scene.at(8, "interaction.ringing", ixn="i", agent="ann", queue="sales").at(11, "interaction.abandoned", ixn="i", **named)
    assert total(scene, "CallAbandonedFromRinging") == (1, 11)
    assert total(scene, "CallAbandoned") == (0, 0)
    assert scene.action("ann", "TotalTime", "CallAbandonedFromRinging") == 3


def test_it_is_abandoned_once() -> None:
    scene = queued(0).at(8, "interaction.distributed", ixn="i", queue="sales", to="ann").at(8, "interaction.ringing", ixn="i", agent="ann")
    scene.at(11, "interaction.abandoned", ixn="i", agent="ann").at(12, "interaction.abandoned", ixn="i", queue="sales")
    assert total(scene, "CallAbandoned,CallAbandonedFromRinging") == (1, 11)


def test_a_call_nobody_took_may_be_abandoned_after_its_distribution() -> None:
    scene = queued(0).at(8, "interaction.distributed", ixn="i", queue="sales", to="ann")
    scene.at(8, "interaction.ringing", ixn="i", agent="ann").at(18, "interaction.rejected", ixn="i", agent="ann", reason="missed")
    scene.at(20, "interaction.abandoned", ixn="i", queue="sales")
    assert total(scene, "CallAbandoned") == (1, 20)
    assert total(scene, "CallMissed") == (1, 10)


def test_a_call_that_waits_while_it_rings_is_abandoned_in_the_queue() -> None:
    scene = queued(0).at(8, "interaction.ringing", ixn="i", agent="ann").at(9, "interaction.ringing", ixn="i", agent="bob")
    assert scene.number("Queue", "sales", "CurrentInQueue") == 1
    scene.at(11, "interaction.abandoned", ixn="i", queue="sales")
    assert total(scene, "CallAbandoned") == (1, 11)
    assert (scene.number("Agent", "ann", "MissedCalls"), scene.number("Agent", "bob", "MissedCalls")) == (1, 1)


def test_what_rings_from_a_queue_is_distributed_once() -> None:
    scene = (
        queued(0)
        .at(8, "interaction.ringing", ixn="i", agent="ann", queue="sales")
        .at(9, "interaction.distributed", ixn="i", queue="sales", to="ann")
    )
    assert total(scene, "CallDistributed") == (1, 8)


def test_what_is_answered_was_distributed_and_has_left_the_queue() -> None:
    scene = (
        queued(0).at(8, "interaction.ringing", ixn="i", agent="ann").at(9, "interaction.established", ixn="i", agent="ann", type="inbound")
    )
    assert total(scene, "CallDistributed") == (1, 9)
    assert total(scene, "CallAnswered") == (1, 9)


NOT_SEEN_ENTERING = [
    ("interaction.distributed", {"to": "ann"}, "CallDistributed"),
    ("interaction.abandoned", {}, "CallAbandoned"),
    ("interaction.ringing", {"agent": "ann"}, "CallDistributed"),
    ("interaction.established", {"agent": "ann", "type": "inbound"}, "CallAnswered"),
]


@pytest.mark.parametrize(("kind", "data", "action"), NOT_SEEN_ENTERING)
def test_what_was_not_seen_entering_entered_as_it_left(kind: str, data: dict[str, str], action: str) -> None:
    scene = Scene().at(5, kind, ixn="i", queue="sales", **data)
    assert (total(scene, "CallEntered"), total(scene, action)) == ((1, 0), (1, 0))


def test_an_outbound_call_for_a_queue_does_not_enter_it() -> None:
    scene = Scene().at(5, "interaction.established", ixn="i", agent="ann", type="outbound", queue="sales")
    assert scene.queue("sales", "TotalNumber", "*") == 0


def test_a_call_is_answered_once_each_time_that_it_enters() -> None:
    scene = queued(0).at(5, "interaction.established", ixn="i", agent="ann", type="inbound", queue="sales")
    scene.at(9, "interaction.established", ixn="i", agent="bob", type="inbound", queue="sales")
    assert total(scene, "CallAnswered") == (1, 5)
    queued(20, scene=scene).at(23, "interaction.established", ixn="i", agent="cid", type="inbound")
    assert total(scene, "CallAnswered") == (2, 5 + 3)
    assert total(scene, "CallEntered") == (2, 0)


def test_from_queue_to_queue() -> None:
    scene = (
        queued(0)
        .at(10, "interaction.distributed", ixn="i", queue="sales", to_queue="help")
        .at(10, "interaction.queued", ixn="i", queue="help")
    )
    assert total(scene, "CallDistributedToQueue") == (1, 10)
    assert (total(scene, "CallEntered", "help"), scene.number("Queue", "help", "CurrentInQueue")) == ((1, 0), 1)
    scene.at(25, "interaction.established", ixn="i", agent="ann", type="inbound")
    assert total(scene, "CallAnswered", "help") == (1, 15)
    assert total(scene, "CallAnswered") == (0, 0)


def test_what_enters_another_queue_leaves_the_first() -> None:
    scene = queued(6, queue="help", scene=queued(0))
    assert (total(scene, "CallDistributedToQueue"), scene.number("Queue", "sales", "CurrentInQueue")) == ((1, 6), 0)


def test_a_caller_who_gives_up_waits_nowhere() -> None:
    scene = queued(6, queue="help", scene=queued(0)).at(9, "interaction.abandoned", ixn="i", queue="sales")
    assert (total(scene, "CallAbandoned", "help"), total(scene, "CallAbandoned")) == ((1, 3), (0, 0))


def test_queued_twice_is_once() -> None:
    assert total(queued(6, scene=queued(0)), "CallEntered") == (1, 0)


def test_distributed_to_where_it_waits_is_nothing() -> None:
    scene = queued(0).at(5, "interaction.distributed", ixn="i", queue="sales", to_queue="sales")
    assert (scene.number("Queue", "sales", "CurrentInQueue"), total(scene, "CallEntered")) == (1, (1, 0))


def test_the_end_of_an_interaction_ends_its_waiting() -> None:
    scene = queued(0).at(7, "interaction.finished", ixn="i", media="voice")
    assert (total(scene, "CallCleared"), scene.number("Queue", "sales", "CurrentInQueue")) == ((1, 7), 0)


def test_a_service_level() -> None:
    scene = Scene()
    for number in range(4):
        queued(0, ixn=f"i{number}", scene=scene)
    for number, wait in enumerate([5, 19.9, 20, 60]):
        scene.at(wait, "interaction.established", ixn=f"i{number}", agent=f"agent{number}", type="inbound", queue="sales")
    assert scene.number("Queue", "sales", "ServiceLevel") == 50
    assert scene.queue("sales", "TotalNumberInTimeRange", "CallAnswered", timeRange="20-61") == 2
    queued(70, ixn="i9", scene=scene)
    assert scene.number("Queue", "sales", "ServiceLevel") == 50
    scene.at(71, "interaction.abandoned", ixn="i9", queue="sales")
    assert scene.number("Queue", "sales", "ServiceLevel") == 40


def test_a_time_range_takes_durations_from_timestamps_in_whole_seconds() -> None:
    scene = queued(0.949).at(11.042, "interaction.abandoned", ixn="i", queue="sales")
    ranges = ("10-11", "11-12")
    assert [scene.queue("sales", "TotalNumberInTimeRange", "CallAbandoned", timeRange=r) for r in ranges] == [0, 1]


def test_a_filter_counts_one_medium() -> None:
    scene = queued(0).at(0, "interaction.queued", ixn="c", queue="sales", media="chat")
    assert [scene.queue("sales", "CurrentNumber", "CallWait", dynamicFilter=f"Media={m}") for m in ("voice", "chat", "email")] == [1, 1, 0]


def test_after_call_work_for_an_earlier_call_is_told_to_that_calls_queue() -> None:
    scene = queued(0).at(1, "interaction.established", ixn="i", agent="ann", type="inbound", queue="sales")
    scene.at(5, "agent.aftercallwork", agent="ann", ixn="i").at(9, "agent.logout", agent="ann")
    assert total(scene, "ACWCompleted") == (1, 4)


def test_clocks_that_differ_make_no_negative_times() -> None:
    scene = queued(10).at(9.5, "interaction.established", ixn="i", agent="ann", type="inbound")
    assert (total(scene, "CallAnswered"), total(scene, "CallDistributed")) == ((1, 0), (1, 0))


def test_an_event_that_names_a_queue_which_was_forgotten_meanwhile_does_nothing_there() -> None:
    week = 7 * 86_400
    scene = Scene().at(0, "interaction.queued", ixn="c", queue="sales", media="chat")
    scene.at(5, "interaction.distributed", ixn="c", queue="sales", to_queue="help")
    for day in range(1, 9):
        scene.at(day * 86_400, "interaction.queued", ixn="c", queue="help", media="chat")
    assert sum(scene.engine.forget_unheard()) == 1
    scene.at(week + 86_400, "interaction.distributed", ixn="c", queue="sales", to="ann")
    assert scene.number("Queue", "sales", "TotalDistributed") == 0
    assert scene.number("Queue", "help", "CurrentInQueue") == 1
