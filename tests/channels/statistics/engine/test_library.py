"""The predefined statistics."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.statistics.engine import Category, DefinitionError, NotificationMode, ObjectType, Subject, names, predefined

AGENT = {
    "AverageHandlingTime", "ConsultCalls", "CurrentAgentState", "HoldDuration", "InboundCalls",
    "InteractionTransferred", "InternalCalls", "LoginDuration", "MissedCalls", "NotReadyDuration", "OutboundCalls",
    "ReadyDuration", "RefusedCalls", "TalkDuration", "TimeInCurrentState", "WrapDuration",
}  # fmt: skip
GROUP = {
    "AverageHandlingTime", "ConsultCalls", "CurrentGroupState", "CurrentLoggedInAgents", "CurrentNotReadyAgents",
    "CurrentNumberInCall", "CurrentReadyAgents", "HoldDuration", "InboundCalls", "InteractionTransfered",
    "InteractionTransferred", "InternalCalls", "LoginDuration", "LongestIdleTime", "MissedCalls", "NotReadyDuration",
    "OutboundCalls", "ReadyDuration", "TalkDuration", "WrapDuration",
}  # fmt: skip
QUEUE = {
    "AverageDistributionTime", "AverageWaitingTime", "CallsEntered", "CurrMaxCallWaitingTime", "CurrentInQueue",
    "CurrentNumberWaitingCalls", "ServiceLevel", "TotalAbandoned", "TotalAnswered", "TotalDistributed",
}  # fmt: skip
GROUP_OF_QUEUES = QUEUE - {"AverageDistributionTime", "AverageWaitingTime", "ServiceLevel"}


@pytest.mark.parametrize(
    ("object_type", "expected"),
    [
        (ObjectType.AGENT, AGENT),
        (ObjectType.GROUP_AGENTS, GROUP),
        (ObjectType.QUEUE, QUEUE),
        (ObjectType.ROUTE_POINT, QUEUE),
        (ObjectType.GROUP_QUEUES, GROUP_OF_QUEUES),
    ],
)
def test_each_object_type_has_its_statistics(object_type: ObjectType, expected: set[str]) -> None:
    assert {each.name for each in names() if object_type in each.objects} == expected


def test_the_handling_time_is_that_of_customer_calls_and_their_after_call_work() -> None:
    definition = predefined("AverageHandlingTime", ObjectType.AGENT).definition
    assert (definition.category, definition.subject) == (Category.AVERAGE_TIME, Subject.DN_ACTION)
    assert definition.rel_mask is not None
    assert (definition.main_mask - definition.rel_mask, definition.rel_mask) == ({"CustomerCallWrapped"}, {"CustomerCallHandled"})


def test_the_two_names_of_one_statistic_share_its_definition() -> None:
    pair = [predefined(name, ObjectType.QUEUE).definition for name in ("CurrentInQueue", "CurrentNumberWaitingCalls")]
    assert pair[0] == pair[1]


def test_states_are_notified_at_once_and_durations_periodically() -> None:
    modes = [predefined(name, ObjectType.AGENT).notification.mode for name in ("CurrentAgentState", "TalkDuration")]
    assert modes == [NotificationMode.IMMEDIATE, NotificationMode.PERIODICAL]


@pytest.mark.parametrize("name", ["ServiceLevel", "Productivity", "", None, 7, ["TalkDuration"]])
def test_a_name_that_an_object_type_does_not_have_is_refused_with_those_that_it_has(name: object) -> None:
    with pytest.raises(DefinitionError, match="TimeInCurrentState") as refusal:
        predefined(name, ObjectType.AGENT)
    assert refusal.value.field == "name"
    assert repr(name) in refusal.value.message


def test_each_row_explains_itself() -> None:
    level = next(each for each in names() if each.name == "ServiceLevel")
    assert (level.category, level.subject, level.main_mask, level.rel_mask) == (
        "RelativeNumberPercentage",
        "DNAction",
        "CallAnswered",
        "CallAnswered,CallAbandoned,CallAbandonedFromRinging",
    )
    assert level.examples[1].endswith("the value is 0 and empty.")
    assert level.notification == "Periodical, every 10 s, insensitivity 1"
    assert all(each.sentence.endswith(".") for each in names())


def test_a_row_without_relative_mask_says_so() -> None:
    state = next(each for each in names() if each.name == "CurrentAgentState")
    assert (state.rel_mask, state.notification) == (None, "Immediate")


def test_the_guide_tells_of_each_name() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert [each.name for each in names() if f"`{each.name}`" not in guide] == []
