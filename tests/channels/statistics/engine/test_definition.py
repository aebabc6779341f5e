"""Definitions: what is read, what is refused, and how the refusal names the field."""

from __future__ import annotations

from typing import Any

import pytest

from channels.statistics.engine import (
    Category,
    DefinitionError,
    Notification,
    NotificationMode,
    ObjectType,
    Subject,
    parse_definition,
    parse_object_type,
)
from channels.statistics.engine.profiles import DAILY, TimeProfile

SEED_SAMPLE = {
    "notificationMode": "Periodical",
    "notificationFrequency": 10,
    "insensitivity": 1,
    "category": "TotalAdjustedTime",
    "subject": "DNStatus",
    "intervalType": "GrowingWindow",
    "mainMask": "WaitForNextCall",
    "dynamicTimeProfile": "00:00",
    "dynamicFilter": "Media=voice",
    "maskType": "DN",
}
PLAIN = {"category": "TotalNumber", "subject": "DNAction", "mainMask": "CallInbound"}


def test_the_sample_of_the_statistics_api_is_read() -> None:
    opened = parse_definition(SEED_SAMPLE, ObjectType.AGENT)
    definition = opened.definition
    assert (definition.category, definition.subject) == (Category.TOTAL_ADJUSTED_TIME, Subject.DN_STATUS)
    assert definition.main_mask == {"WaitForNextCall"}
    assert (definition.profile, definition.media) == (DAILY, frozenset({"voice"}))
    assert opened.notification == Notification(NotificationMode.PERIODICAL, frequency_s=10, insensitivity=1)


@pytest.mark.parametrize(("category", "mode"), [("CurrentState", NotificationMode.IMMEDIATE), ("CurrentTime", NotificationMode.PERIODICAL)])
def test_the_notification_has_defaults_by_category(category: str, mode: NotificationMode) -> None:
    opened = parse_definition({"category": category, "subject": "AgentStatus", "mainMask": "*"}, ObjectType.AGENT)
    assert opened.notification == Notification(mode, frequency_s=10, insensitivity=1)


def test_two_that_differ_in_notification_alone_are_one_definition() -> None:
    often = parse_definition(PLAIN | {"notificationFrequency": 1, "insensitivity": 0}, ObjectType.AGENT)
    at_once = parse_definition(PLAIN | {"notificationMode": "Immediate"}, ObjectType.AGENT)
    assert often.definition == at_once.definition
    assert often.notification != at_once.notification


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"subject": "Action"}, {"subject": "DNAction"}),
        ({"mainMask": "CallInbound, CallOutbound"}, {"mainMask": "CallOutbound,CallInbound,CallInbound"}),
        ({"mainMask": "~CallHeld,*"}, {"mainMask": "*,~CallHeld"}),
        ({"dynamicTimeProfile": "0:00"}, {"timeProfile": "Default"}),
        ({"dynamicTimeProfile": "0:00 +12:00"}, {"dynamicTimeProfile": "00:00 +12:00"}),
        ({"dynamicFilter": "MediaType=chat|email"}, {"dynamicFilter": "mediatype = Email | Media=CHAT"}),
        ({"dynamicFilter": ""}, {"dynamicFilter": None}),
        ({"objects": "Agent", "color": 7}, {}),
        ({"timeRange": "0-5"}, {"timeRange": "5-9"}),
        ({"relMask": "CallHeld"}, {"relMask": ""}),
    ],
)
def test_texts_that_mean_the_same_give_equal_definitions(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert parse_definition(PLAIN | left, ObjectType.AGENT).definition == parse_definition(PLAIN | right, ObjectType.AGENT).definition


def test_a_current_category_has_no_window() -> None:
    raw = {"category": "CurrentNumber", "subject": "AgentStatus", "mainMask": "*", "dynamicTimeProfile": "0:00 +0:15"}
    assert parse_definition(raw, ObjectType.GROUP_AGENTS).definition.profile == DAILY


def test_a_time_profile_is_part_of_the_definition() -> None:
    quarters = parse_definition(PLAIN | {"dynamicTimeProfile": "0:00 +0:15"}, ObjectType.AGENT).definition
    assert quarters.profile == TimeProfile.parse("0:00 +0:15")


@pytest.mark.parametrize(("given", "expected"), [({}, (0, 20)), ({"timeRange": ""}, (0, 20)), ({"timeRange": " 20 - 50 "}, (20, 50))])
def test_the_time_range_is_0_to_20_unless_given(given: dict[str, Any], expected: tuple[int, int]) -> None:
    raw = PLAIN | {"category": "TotalNumberInTimeRange"} | given
    assert parse_definition(raw, ObjectType.AGENT).definition.time_range == expected


def test_the_mask_of_a_state_may_be_left_out() -> None:
    opened = parse_definition({"category": "CurrentState", "subject": "DNStatus"}, ObjectType.AGENT)
    assert "CallInbound" in opened.definition.main_mask


def test_a_mask_may_name_what_never_occurs_here() -> None:
    mask = "WaitForNextCall,CallDialing,CallRinging,OffHook,NotReadyForNextCall,CallOnHold,CallUnknown,CallConsult,CallInternal,LoggedOut"
    opened = parse_definition({"category": "CurrentState", "subject": "DNAction", "mainMask": mask}, ObjectType.AGENT)
    assert "OffHook" in opened.definition.main_mask


REFUSED: list[tuple[str, dict[str, Any], ObjectType, str]] = [
    ("category", {"category": "EstimWaitingTime"}, ObjectType.AGENT, "'EstimWaitingTime'"),
    ("category", {"category": None}, ObjectType.AGENT, "missing"),
    ("category", {"category": 7}, ObjectType.AGENT, "got 7"),
    ("category", {"category": "CurrentState", "mainMask": "CallWait"}, ObjectType.QUEUE, "for Agent and GroupAgents"),
    ("subject", {"subject": None}, ObjectType.AGENT, "missing"),
    ("subject", {"subject": ["DNAction"]}, ObjectType.AGENT, "['DNAction']"),
    ("subject", {"subject": "CampaignAction"}, ObjectType.AGENT, "'CampaignAction'"),
    ("subject", {"subject": "AgentStatus"}, ObjectType.QUEUE, "expected one of DNAction"),
    ("subject", {"subject": "GroupStatus"}, ObjectType.AGENT, "'GroupStatus'"),
    ("subject", {"subject": "GroupStatus"}, ObjectType.GROUP_AGENTS, "CurrentState"),
    ("mainMask", {"mainMask": None}, ObjectType.AGENT, "missing"),
    ("mainMask", {"mainMask": 1}, ObjectType.AGENT, "got 1"),
    ("mainMask", {"mainMask": ""}, ObjectType.AGENT, "got ''"),
    ("mainMask", {"mainMask": "CallInbound,CallWait"}, ObjectType.AGENT, "'CallWait'"),
    ("mainMask", {"mainMask": "callinbound"}, ObjectType.AGENT, "CallInbound"),
    ("mainMask", {"mainMask": "CallHeld", "subject": "AgentStatus"}, ObjectType.AGENT, "'CallHeld'"),
    ("mainMask", {"mainMask": "CallInbound"}, ObjectType.GROUP_QUEUES, "CallWait"),
    ("mainMask", {"mainMask": "~CallInbound"}, ObjectType.AGENT, "selects nothing"),
    ("relMask", {"category": "RelativeNumberPercentage"}, ObjectType.AGENT, "missing"),
    ("relMask", {"category": "RelativeNumberPercentage", "relMask": ""}, ObjectType.AGENT, "missing"),
    ("relMask", {"relMask": "Nothing"}, ObjectType.AGENT, "'Nothing'"),
    ("maskType", {"maskType": "Campaign"}, ObjectType.AGENT, "expected DN; got 'Campaign'"),
    ("intervalType", {"intervalType": "SlidingWindow"}, ObjectType.AGENT, "expected GrowingWindow; got 'SlidingWindow'"),
    ("timeProfile", {"timeProfile": "Shift"}, ObjectType.AGENT, "expected Default; got 'Shift'"),
    ("dynamicTimeProfile", {"dynamicTimeProfile": "3600,30"}, ObjectType.AGENT, "'3600,30'"),
    ("dynamicTimeProfile", {"dynamicTimeProfile": 0}, ObjectType.AGENT, "expected a text; got 0"),
    ("dynamicFilter", {"dynamicFilter": "DNIS=1"}, ObjectType.AGENT, "'DNIS=1'"),
    ("dynamicFilter", {"dynamicFilter": "voice"}, ObjectType.AGENT, "Media=voice"),
    ("dynamicFilter", {"dynamicFilter": {}}, ObjectType.AGENT, "got {}"),
    ("filter", {"filter": "Voice"}, ObjectType.AGENT, "dynamicFilter"),
    ("timeRange", {"timeRange": "20-0"}, ObjectType.AGENT, "'20-0'"),
    ("timeRange", {"timeRange": "0.5-2"}, ObjectType.AGENT, "'0.5-2'"),
    ("timeRange", {"timeRange": [0, 20]}, ObjectType.AGENT, "[0, 20]"),
    ("notificationMode", {"notificationMode": "Reset"}, ObjectType.AGENT, "expected one of Immediate, Periodical; got 'Reset'"),
    ("notificationFrequency", {"notificationFrequency": 0}, ObjectType.AGENT, "got 0"),
    ("notificationFrequency", {"notificationFrequency": True}, ObjectType.AGENT, "got True"),
    ("notificationFrequency", {"notificationFrequency": "10"}, ObjectType.AGENT, "got '10'"),
    ("insensitivity", {"insensitivity": -1}, ObjectType.AGENT, "got -1"),
    ("insensitivity", {"insensitivity": 1.5}, ObjectType.AGENT, "got 1.5"),
]


@pytest.mark.parametrize(("field", "changes", "object_type", "text"), REFUSED)
def test_a_refusal_names_the_field_and_what_came(field: str, changes: dict[str, Any], object_type: ObjectType, text: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        parse_definition(PLAIN | changes, object_type)
    assert refusal.value.field == field
    assert text in refusal.value.message
    assert str(refusal.value) == f"{field}: {refusal.value.message}"


@pytest.mark.parametrize("raw", [None, [], "TotalNumber", 1])
def test_a_definition_is_an_object(raw: object) -> None:
    with pytest.raises(DefinitionError, match="definition: expected an object"):
        parse_definition(raw, ObjectType.AGENT)


def test_long_values_are_shortened_in_a_refusal() -> None:
    with pytest.raises(DefinitionError) as refusal:
        parse_definition(PLAIN | {"category": "x" * 10_000}, ObjectType.AGENT)
    assert len(refusal.value.message) < 500


def test_object_types_are_read() -> None:
    assert [parse_object_type(name) for name in ("Agent", "GroupQueues")] == [ObjectType.AGENT, ObjectType.GROUP_QUEUES]


@pytest.mark.parametrize("raw", ["agent", "Tenant", None, 3])
def test_other_object_types_are_refused(raw: object) -> None:
    with pytest.raises(DefinitionError, match=r"objectType: expected one of Agent, .*, GroupQueues, StagingArea; got"):
        parse_object_type(raw)
