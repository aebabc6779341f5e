"""The engine against the slow reference, over random histories."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from channels.events import Event, LateEventError
from channels.statistics.engine import Engine, ObjectType, Statistic, parse_definition
from tests.channels.statistics.engine.naive import Naive
from tests.channels.statistics.engine.scene import UTC, event, moment

AGENTS, QUEUES, CALLS, GROUPS = ["ann", "bob"], ["sales", "help"], ["i1", "i2", "i3"], ["g"]
START = moment("2026-03-10 23:30:00")
DAY_MS, QUARTER_MS = 86_400_000, 900_000

agents, queues, calls = st.sampled_from(AGENTS), st.sampled_from(QUEUES), st.sampled_from(CALLS)
media = st.sampled_from(["voice", "chat"])
perhaps_media, perhaps_queue = st.none() | media, st.none() | queues


def kind(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries(fields).map(lambda data: (name, {key: value for key, value in data.items() if value is not None}))


KINDS = st.one_of(
    kind(
        "agent.login",
        agent=agents,
        media=st.sampled_from([["voice"], ["chat"], ["voice", "chat"]]),
        groups=st.sampled_from([None, ["g"]]),
        place=st.sampled_from([None, None, "P1", "P2"]),
    ),
    kind("agent.logout", agent=agents, media=perhaps_media),
    kind("agent.ready", agent=agents, media=perhaps_media),
    kind("agent.notready", agent=agents, media=perhaps_media),
    kind("agent.aftercallwork", agent=agents, media=perhaps_media, ixn=st.none() | calls),
    kind("interaction.queued", ixn=calls, queue=queues, media=media),
    kind("interaction.distributed", ixn=calls, queue=queues, to=agents),
    kind("interaction.distributed", ixn=calls, queue=queues, to_queue=queues),
    kind("interaction.abandoned", ixn=calls, queue=queues, agent=st.none() | agents),
    kind("interaction.abandoned", ixn=calls, agent=agents),
    kind("interaction.ringing", ixn=calls, agent=agents, queue=perhaps_queue, media=perhaps_media),
    kind("interaction.dialing", ixn=calls, agent=agents, queue=perhaps_queue, media=perhaps_media),
    kind(
        "interaction.established",
        ixn=calls,
        agent=agents,
        type=st.sampled_from(["inbound", "outbound", "internal", "consult"]),
        queue=perhaps_queue,
        media=perhaps_media,
    ),
    kind("interaction.held", ixn=calls, agent=agents),
    kind("interaction.retrieved", ixn=calls, agent=agents),
    kind("interaction.released", ixn=calls, agent=agents),
    kind("interaction.rejected", ixn=calls, agent=agents, reason=st.sampled_from(["missed", "refused"])),
    kind("interaction.transferred", ixn=calls, giver=agents, to=agents),
    kind("interaction.started", ixn=calls, media=media),
    kind("interaction.finished", ixn=calls, media=media),
    kind("group.changed", group=st.just("g"), kind=st.just("agents"), members=st.lists(agents, unique=True)),
    kind("group.changed", group=st.just("g"), kind=st.just("queues"), members=st.lists(queues, unique=True)),
)
STEPS = st.sampled_from([0, 0, 1, 250, 999, 1000, 1500, 7_000, 61_000, 299_999, 300_000, 400_000, 1_000_000])
HISTORIES = st.lists(st.tuples(STEPS, KINDS), max_size=40)


def history(steps: list[tuple[int, tuple[str, dict[str, Any]]]]) -> list[Event]:
    at_ms, found = START, []
    for step, (name, data) in steps:
        at_ms += step
        found.append(event(at_ms, name, **data))
    return found


IN = "*,~LoggedOut,~NotMonitored"
TALK = "CallInbound,CallOutbound,CallInternal,CallConsult,CallUnknown"
AGENT_MASKS = {
    "AgentStatus": ["*", IN, "WaitForNextCall", TALK, "LoggedOut"],
    "DNStatus": ["*", "WaitForNextCall", "CallRinging,CallDialing"],
    "DNAction": [
        "*",
        TALK,
        "AfterCallWork",
        "WaitForNextCall",
        "CallOnHold,CallHeld",
        "AgentLogin,LoggedIn",
        "CallMissed,CallForwarded,CallReleased",
        "CustomerCallHandled",
        "CustomerCallWrapped",
    ],
}
QUEUE_MASKS = {
    "DNAction": ["*", "CallWait", "CallEntered", "CallAnswered", "CallAbandoned,CallAbandonedFromRinging", "CallDistributed,CallCleared"]
}
AREA_MASKS = {"DNAction": ["*", "InteractionWait", "InteractionEntered", "InteractionDistributed", "InteractionDeleted"]}
CATEGORIES = [
    "CurrentNumber",
    "CurrentTime",
    "CurrentMaxTime",
    "TotalNumber",
    "TotalTime",
    "TotalAdjustedTime",
    "AverageTime",
    "TotalNumberInTimeRange",
]
OBJECTS = [
    *((ObjectType.AGENT, agent, ("agent", agent)) for agent in AGENTS),
    *((ObjectType.QUEUE, queue, ("queue", queue)) for queue in QUEUES),
    (ObjectType.GROUP_AGENTS, "g", ("agents", "g")),
    (ObjectType.GROUP_AGENTS, "All", ("agents", "All")),
    (ObjectType.GROUP_QUEUES, "g", ("queues", "g")),
    (ObjectType.GROUP_QUEUES, "All", ("queues", "All")),
    (ObjectType.STAGING_AREA, "voice", ("area", "voice")),
    (ObjectType.STAGING_AREA, "Chat", ("area", "chat")),
]
MASKS = dict.fromkeys(ObjectType, QUEUE_MASKS) | {
    ObjectType.AGENT: AGENT_MASKS,
    ObjectType.GROUP_AGENTS: AGENT_MASKS,
    ObjectType.STAGING_AREA: AREA_MASKS,
}


def definitions(object_type: ObjectType) -> list[dict[str, str]]:
    masks = MASKS[object_type]
    found = []
    for subject, each in masks.items():
        for mask, category, chosen in product(each, CATEGORIES, ["", "Media=chat"]):
            found.append({"subject": subject, "category": category, "mainMask": mask, "dynamicFilter": chosen, "timeRange": "0-300"})
    answered = {"subject": "DNAction", "category": "RelativeNumberPercentage", "timeRange": "1-400"}
    if masks is QUEUE_MASKS:
        found.append(answered | {"mainMask": "CallAnswered", "relMask": "CallEntered"})
    elif masks is AREA_MASKS:
        found.append(answered | {"mainMask": "InteractionDistributed", "relMask": "InteractionEntered"})
    else:
        found.append(answered | {"mainMask": TALK, "relMask": "CallRinging"})
        handled = "CustomerCallHandled"
        found.append({"subject": "DNAction", "category": "AverageTime", "mainMask": f"{handled},CustomerCallWrapped", "relMask": handled})
    return found


EVERYTHING = [(object_type, identifier, owner, raw) for object_type, identifier, owner in OBJECTS for raw in definitions(object_type)]
CHOICES = st.integers(0, 2**32)
"""Seeds: each test opens some of all those statistics."""
Opened = list[tuple[Statistic, tuple[str, str]]]


def open_some(engine: Engine, choice: int, profile: str = "00:00") -> Opened:
    return [
        (engine.open(parse_definition(raw | {"dynamicTimeProfile": profile}, object_type).definition, object_type, identifier), owner)
        for object_type, identifier, owner, raw in Random(choice).sample(EVERYTHING, 150)
    ]


def compare(engine: Engine, naive: Naive, opened: Opened, since_ms: int) -> None:
    """All values but those of agents that nobody has heard of, whose history the reference does not begin."""
    for statistic, owner in opened:
        if owner[0] != "agent" or owner[1] in naive.dns:
            value = engine.value(statistic)
            expected = naive.value(statistic.definition, owner, engine.now_ms, since_ms)
            got = value.int_value if value.float_value is None else value.float_value
            assert got == pytest.approx(expected), (statistic.definition, owner)


def run(engine: Engine, naive: Naive, events: list[Event]) -> None:
    for each in events:
        engine.check(each)
        engine.apply(each)
        naive.apply(each)


def states(engine: Engine) -> list[Any]:
    """The state of the group of everybody, and of its voice alone."""
    raw = {"category": "CurrentState", "subject": "GroupStatus"}
    opened = [parse_definition(raw | {"dynamicFilter": chosen}, ObjectType.GROUP_AGENTS) for chosen in ("", "Media=voice")]
    return [engine.value(engine.open(each.definition, ObjectType.GROUP_AGENTS, "All")).state_value for each in opened]


SLOW = settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


# the second call logs the agent in on voice while a chat rings: CallRinging goes on, through the WaitForNextCall of that one moment
LOGGED_IN_BY_A_CALL = [
    (0, ("agent.login", {"agent": "ann", "media": ["voice"]})),
    (0, ("interaction.ringing", {"ixn": "i1", "agent": "ann", "media": "chat"})),
    (0, ("agent.logout", {"agent": "ann", "media": "voice"})),
    (1, ("interaction.ringing", {"ixn": "i2", "agent": "ann"})),
]


@SLOW
@given(HISTORIES, STEPS, CHOICES)
@example(LOGGED_IN_BY_A_CALL, 0, 5)
def test_statistics_that_are_opened_late_show_the_whole_day(steps: list[Any], rest: int, choice: int) -> None:
    engine, naive = Engine(zone=UTC, now_ms=START), Naive()
    run(engine, naive, history(steps))
    engine.advance(engine.now_ms + rest)
    compare(engine, naive, open_some(engine, choice), engine.now_ms - engine.now_ms % DAY_MS)


@SLOW
@given(HISTORIES, STEPS, CHOICES)
def test_statistics_that_are_open_from_the_start_show_the_same(steps: list[Any], rest: int, choice: int) -> None:
    engine, naive = Engine(zone=UTC, now_ms=START), Naive()
    opened = open_some(engine, choice)
    run(engine, naive, history(steps))
    engine.advance(engine.now_ms + rest)
    compare(engine, naive, opened, engine.now_ms - engine.now_ms % DAY_MS)


@SLOW
@given(HISTORIES, HISTORIES, STEPS, CHOICES)
def test_other_windows_begin_when_they_are_opened(before: list[Any], after: list[Any], rest: int, choice: int) -> None:
    engine, naive = Engine(zone=UTC, now_ms=START), Naive()
    everything = history([*before, (1, ("agent.login", {"agent": "ann"})), (0, ("agent.login", {"agent": "bob"})), *after])
    run(engine, naive, everything[: len(before) + 2])
    engine.advance(engine.now_ms + 1)  # what comes at the very moment of opening counts: let nothing have come at it
    opened_ms = engine.now_ms
    opened = open_some(engine, choice, "0:00 +0:15")
    run(engine, naive, [Event(each.type, each.time_ms + 1, each.source, each.id, each.data) for each in everything[len(before) + 2 :]])
    engine.advance(engine.now_ms + rest)
    compare(engine, naive, opened, max(opened_ms, engine.now_ms - engine.now_ms % QUARTER_MS))


@SLOW
@given(HISTORIES, HISTORIES, CHOICES)
def test_a_restored_engine_goes_on_as_if_nothing_had_happened(before: list[Any], after: list[Any], choice: int) -> None:
    through = Engine(zone=UTC, now_ms=START)
    everything = history([*before, *after])
    for each in everything[: len(before)]:
        through.apply(each)
    restored = Engine.restore(through.save(), zone=UTC)
    for each in everything[len(before) :]:
        through.apply(each)
        restored.apply(each)
    values = [[engine.value(statistic) for statistic, _ in open_some(engine, choice)] for engine in (through, restored)]
    assert values[0] == values[1]
    assert states(restored) == states(through)
    assert restored.save() == through.save()


@SLOW
@given(HISTORIES, st.randoms(use_true_random=False), CHOICES)
def test_the_order_in_which_different_agents_come_in_does_not_matter(steps: list[Any], random: Random, choice: int) -> None:
    apart = [each for each in history(steps) if each.type.startswith("cx.agent.")]
    logins = [event(START, "agent.login", agent=agent, groups=["g"]) for agent in AGENTS]
    by_agent = [[each for each in apart if each.data.agent_id == agent] for agent in AGENTS]  # type: ignore[attr-defined]
    shuffled = []
    while any(by_agent):
        shuffled.append(random.choice([each for each in by_agent if each]).pop(0))
    engines = [Engine(zone=UTC, now_ms=START) for _ in range(2)]
    for engine, order in zip(engines, (apart, shuffled), strict=True):
        for each in [*logins, *order]:
            engine.check(each)
            engine.apply(each)
    values = [[engine.value(statistic) for statistic, _ in open_some(engine, choice)] for engine in engines]
    assert values[0] == values[1]


@SLOW
@given(st.lists(st.tuples(st.integers(-90_000, 120_000), KINDS), max_size=60), CHOICES)
def test_what_was_let_pass_can_be_applied_and_nothing_goes_below_zero(steps: list[Any], choice: int) -> None:
    engine = Engine(zone=UTC, now_ms=START)
    opened = open_some(engine, choice, "0:00 +0:15")
    for each in history(steps):
        try:
            engine.check(each)
        except LateEventError:
            continue
        engine.apply(each)
    engine = Engine.restore(engine.save(), zone=UTC) if choice % 2 else engine
    again = open_some(engine, choice)
    assert [statistic for statistic, _ in again if engine.value(statistic).int_value < 0] == []
    assert choice % 2 or [statistic for statistic, _ in opened if engine.value(statistic).int_value < 0] == []


class Order:
    """By which object an event is ordered, from ``docs/events.md``."""

    def __init__(self) -> None:
        self.newest: dict[tuple[str, str], int] = {}

    def taken_at(self, each: Event) -> int:
        """When it counts; every object's newest event is remembered."""
        data: Any = each.data
        match each.type:
            case "cx.interaction.transferred":
                objects = [("agent", data.from_agent_id), ("agent", data.to_agent_id)]
            case "cx.group.changed":
                objects = [(f"group of {data.kind}", data.group_id)]
            case "cx.interaction.abandoned" if data.queue is not None:
                objects = [("interaction", data.interaction_id)]
            case _:
                agent = getattr(data, "agent_id", None)
                objects = [("interaction", data.interaction_id) if agent is None else ("agent", agent)]
        at_ms = max(each.time_ms, *(self.newest.get(one, 0) for one in objects), 0)
        self.newest.update(dict.fromkeys(objects, at_ms))
        return at_ms


@SLOW
@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 30_000), KINDS), max_size=40), CHOICES)
def test_a_late_event_without_a_time_counts_as_one_of_the_time_of_the_newest(steps: list[Any], choice: int) -> None:
    late, dated, order = Engine(zone=UTC, now_ms=START), Engine(zone=UTC, now_ms=START), Order()
    at_ms = START
    for step, lag, (name, data) in steps:
        at_ms += step
        each = structs.replace(event(at_ms - lag, name, **data), arrival=True)
        late.check(each)
        late.apply(each)
        dated.apply(structs.replace(each, time_ms=order.taken_at(each), arrival=False))
        late.advance(at_ms + 60_000)
        dated.advance(at_ms + 60_000)
    values = [[engine.value(statistic) for statistic, _ in open_some(engine, choice)] for engine in (late, dated)]
    assert values[0] == values[1]
