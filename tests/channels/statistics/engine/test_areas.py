"""Staging areas: interactions of a medium, from start to finish. Times are seconds from 09:00."""

from __future__ import annotations

import msgspec
import pytest

from channels.statistics.engine import Engine
from tests.channels.statistics.engine.scene import UTC, Scene


def total(scene: Scene, name: str, area: str = "chat") -> tuple[int, int]:
    """(number, seconds)"""
    return scene.number("StagingArea", area, subject="DNAction", category="TotalNumber", mainMask=name), scene.number(
        "StagingArea", area, subject="DNAction", category="TotalTime", mainMask=name
    )


def started(*, media: str = "chat") -> Scene:
    return Scene().at(0, "interaction.started", ixn="i", media=media)


def test_an_interaction_that_an_agent_takes() -> None:
    scene = started().until(9)
    assert scene.number("StagingArea", "chat", "CurrentInteractionsWaiting") == 1
    scene.at(10, "interaction.ringing", ixn="i", agent="ann").at(12, "interaction.established", ixn="i", agent="ann", type="inbound")
    assert scene.number("StagingArea", "chat", "CurrentInteractionsWaiting") == 0
    assert total(scene, "InteractionDistributed") == (1, 10)
    scene.at(40, "interaction.transferred", ixn="i", giver="ann", to="bob")
    assert total(scene, "InteractionDistributed") == (1, 10), "the first agent is who it waited for"
    scene.at(60, "interaction.finished", ixn="i", media="chat")
    assert total(scene, "InteractionDeleted") == (1, 60)
    assert (scene.number("StagingArea", "chat", "InteractionsEntered"), scene.number("StagingArea", "chat", "InteractionsDeleted")) == (
        1,
        1,
    )
    assert total(scene, "InteractionWait") == (1, 10)


def test_one_that_no_agent_takes_is_deleted_and_not_distributed() -> None:
    scene = started().at(30, "interaction.finished", ixn="i", media="chat")
    assert (total(scene, "InteractionDeleted"), total(scene, "InteractionDistributed")) == ((1, 30), (0, 0))
    assert scene.number("StagingArea", "chat", "CurrentInteractionsWaiting") == 0


def test_media_are_told_apart_without_regard_to_case() -> None:
    scene = started(media="Chat")
    assert total(scene, "InteractionEntered", "CHAT") == total(scene, "InteractionEntered") == (1, 0)
    assert total(scene, "InteractionEntered", "email") == (0, 0)


def test_what_is_said_twice_counts_once() -> None:
    scene = started().at(1, "interaction.started", ixn="i", media="chat")
    scene.at(5, "interaction.finished", ixn="i", media="chat").at(6, "interaction.finished", ixn="i", media="chat")
    assert (total(scene, "InteractionEntered"), total(scene, "InteractionDeleted")) == ((1, 0), (1, 5))


def test_a_finish_without_a_start_enters_first() -> None:
    scene = Scene().at(5, "interaction.finished", ixn="i", media="chat")
    assert (total(scene, "InteractionEntered"), total(scene, "InteractionDeleted")) == ((1, 0), (1, 0))


def test_one_that_waits_in_no_queue_is_remembered_until_it_finishes() -> None:
    scene = started().until(3600).at(3601, "interaction.finished", ixn="i", media="chat")
    assert (total(scene, "InteractionEntered"), total(scene, "InteractionDeleted")) == ((1, 0), (1, 3601))


def test_one_of_which_nothing_is_heard_for_a_week_is_deleted() -> None:
    scene = started().until(8 * 24 * 3600)
    assert scene.number("StagingArea", "chat", "CurrentInteractionsWaiting") == 0
    assert scene.engine._centre.live == {}


def test_a_start_that_is_heard_after_its_agent_does_not_wait() -> None:
    scene = Scene().at(0, "interaction.established", ixn="i", agent="ann", type="inbound", media="chat")
    scene.at(1, "interaction.started", ixn="i", media="chat")
    assert scene.number("StagingArea", "chat", "CurrentInteractionsWaiting") == 0
    assert (total(scene, "InteractionEntered"), total(scene, "InteractionDistributed")) == ((1, 0), (0, 0))


def test_a_statistic_that_is_open_is_told_of_changes() -> None:
    scene = Scene()
    statistic = scene.open("StagingArea", "chat", "CurrentInteractionsWaiting")
    scene.at(0, "interaction.started", ixn="i", media="chat")
    assert scene.engine.take_changed() == [statistic]
    assert scene.engine.value(statistic).int_value == 1


def test_a_state_from_before_there_were_staging_areas_can_be_gone_on_from() -> None:
    scene = Scene().at(0, "interaction.queued", ixn="i", queue="sales")
    *before, areas = msgspec.msgpack.decode(scene.engine.save())
    assert areas == []
    live = before[6]
    before[6] = [interaction[:-2] for interaction in live]
    assert live[0][-2:] == [None, 0]
    assert Engine.restore(msgspec.msgpack.encode(before), zone=UTC).save() == scene.engine.save()


@pytest.mark.parametrize("mask", ["CallWait", "CallEntered", "LoggedIn"])
def test_masks_of_other_objects_are_refused(mask: str) -> None:
    with pytest.raises(ValueError, match="InteractionEntered"):
        total(Scene(), mask)
