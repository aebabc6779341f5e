"""What must always be true of the figures among themselves, over random timelines, after every event (docs/statistics.md, "Identities")."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.events import LateEventError
from channels.statistics.engine import Engine, ObjectType, Statistic, parse_definition, predefined
from tests.channels.statistics.engine.scene import UTC, event, moment
from tests.channels.statistics.engine.test_against_reference import AGENTS, HISTORIES, KINDS, QUEUES, SLOW, START, STEPS, history

MIDNIGHT = moment("2026-03-11 00:00:00")
LOST = "CallAbandoned,CallAbandonedFromRinging"
STATUSES = "*,~LoggedOut"


class Figures:
    """The statistics of all queues and agents, open from the start."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.opened: dict[tuple[str, str], Statistic] = {}
        for queue in (*QUEUES, "All"):
            kind = ObjectType.GROUP_QUEUES if queue == "All" else ObjectType.QUEUE
            for name in ("CallsEntered", "TotalAnswered", "TotalAbandoned", "TotalDistributed", "CurrentInQueue"):
                self.opened[queue, name] = engine.open(predefined(name, kind).definition, kind, queue)
            for name in ("AverageWaitingTime", "ServiceLevel", "AverageDistributionTime"):
                self.opened[queue, name] = engine.open(predefined(name, ObjectType.QUEUE).definition, kind, queue)
            for name in ("CallDistributedToQueue", "CallCleared"):
                self.define(kind, queue, name, "TotalNumber", name)
            self.define(kind, queue, "waited", "TotalTime", f"CallAnswered,{LOST}")
            self.define(kind, queue, "in time", "TotalNumberInTimeRange", "CallAnswered", timeRange="0-20")
        for agent in (*AGENTS, "All"):
            kind = ObjectType.GROUP_AGENTS if agent == "All" else ObjectType.AGENT
            self.opened[agent, "AverageHandlingTime"] = engine.open(predefined("AverageHandlingTime", kind).definition, kind, agent)
            self.opened[agent, "MissedCalls"] = engine.open(predefined("MissedCalls", kind).definition, kind, agent)
            self.opened[agent, "LoginDuration"] = engine.open(predefined("LoginDuration", kind).definition, kind, agent)
            self.define(kind, agent, "refused", "TotalNumber", "CallForwarded")
            self.define(kind, agent, "rings", "TotalNumber", "CallRingingStarted")
            self.define(kind, agent, "ringing", "CurrentNumber", "CallRinging")
            self.define(kind, agent, "handled", "TotalNumber", "CustomerCallHandled")
            self.define(kind, agent, "handled seconds", "TotalTime", "CustomerCallHandled,CustomerCallWrapped")
            self.define(kind, agent, "statuses", "TotalTime", STATUSES, subject="AgentStatus")

    def define(self, kind: ObjectType, owner: str, name: str, category: str, mask: str, **more: str) -> None:
        raw = {"subject": "DNAction", "category": category, "mainMask": mask, **more}
        self.opened[owner, name] = self.engine.open(parse_definition(raw, kind).definition, kind, owner)

    def __call__(self, owner: str, name: str) -> float:
        value = self.engine.value(self.opened[owner, name])
        return value.int_value if value.float_value is None else value.float_value

    def empty(self, owner: str, name: str) -> bool:
        return self.engine.value(self.opened[owner, name]).empty


def share(of: Figures, owner: str, name: str, numerator: float, denominator: float) -> None:
    """A statistic is the quotient of two others; 0 and empty when there is nothing to divide by."""
    assert of(owner, name) == pytest.approx(numerator / denominator if denominator else 0), (owner, name)
    assert of.empty(owner, name) is (denominator == 0), (owner, name)


def check_queue(of: Figures, queue: str, carried: float) -> None:
    answered, abandoned = of(queue, "TotalAnswered"), of(queue, "TotalAbandoned")
    gone = answered + abandoned + of(queue, "CallDistributedToQueue") + of(queue, "CallCleared")
    assert carried + of(queue, "CallsEntered") == gone + of(queue, "CurrentInQueue"), queue
    assert 0 <= of(queue, "ServiceLevel") <= 100
    assert of(queue, "TotalDistributed") <= carried + of(queue, "CallsEntered"), queue
    share(of, queue, "AverageWaitingTime", of(queue, "waited"), answered + abandoned)
    share(of, queue, "ServiceLevel", 100 * of(queue, "in time"), answered + abandoned)


def check_agent(of: Figures, agent: str, ringing_before: float) -> None:
    assert of(agent, "MissedCalls") + of(agent, "refused") + of(agent, "ringing") <= ringing_before + of(agent, "rings"), agent
    assert of(agent, "LoginDuration") == of(agent, "statuses"), agent
    share(of, agent, "AverageHandlingTime", of(agent, "handled seconds"), of(agent, "handled"))


@SLOW
@given(HISTORIES, STEPS)
def test_the_figures_agree_after_every_event(steps: list[Any], rest: int) -> None:
    engine = Engine(zone=UTC, now_ms=START)
    for queue in QUEUES:  # a queue that joins the group with callers in it brings no entry with it
        engine.apply(event(START, "group.changed", group="heard", kind="queues", members=[queue]))
    of = Figures(engine)
    carried, ringing = dict.fromkeys((*QUEUES, "All"), 0.0), dict.fromkeys((*AGENTS, "All"), 0.0)
    events = history(steps)
    for each in [*events, event((events[-1].time_ms if events else START) + rest, "agent.ready", agent="ann")]:
        if engine.now_ms < MIDNIGHT <= each.time_ms:
            carried = {queue: of(queue, "CurrentInQueue") for queue in carried}
            ringing = {agent: of(agent, "ringing") for agent in ringing}
        engine.apply(each)
        for queue, before in carried.items():
            check_queue(of, queue, before)
        for agent, before in ringing.items():
            check_agent(of, agent, before)


@SLOW
@given(st.lists(st.tuples(st.integers(-90_000, 120_000), KINDS), max_size=60))
def test_clocks_that_differ_break_no_bound(steps: list[Any]) -> None:
    engine = Engine(zone=UTC, now_ms=START)
    of = Figures(engine)
    for each in history(steps):
        try:
            engine.check(each)
        except LateEventError:
            continue
        engine.apply(each)
        for queue in QUEUES:
            assert 0 <= of(queue, "ServiceLevel") <= 100
            share(of, queue, "AverageWaitingTime", of(queue, "waited"), of(queue, "TotalAnswered") + of(queue, "TotalAbandoned"))


# --- the handling time, by a ledger of seconds -------------------------------------------------------------------------------------------


@dataclass
class Handled:
    """A customer call, by the seconds that it took."""

    ended: int
    seconds: set[int]
    work: list[tuple[int, set[int]]] = field(default_factory=list)
    """After-call work: when it was over, and its seconds."""


@dataclass
class Day:
    """The work of one agent: events, and what they come to."""

    at: int = START // 1000
    number: int = 0
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    handled: list[Handled] = field(default_factory=list)

    def say(self, kind: str, **data: Any) -> None:
        self.events.append((self.at, kind, data | {"agent": "ann"}))

    def call(self, length: int, type: str, consult: int = 0) -> None:
        self.number += 1
        ixn = f"i{self.number}"
        began = self.at
        self.say("interaction.established", ixn=ixn, type=type)
        if consult:
            self.say("interaction.held", ixn=ixn)
            self.call(consult, "consult")
            self.say("interaction.retrieved", ixn=ixn)
        self.at += length
        self.say("interaction.released", ixn=ixn)
        if type in ("inbound", "outbound"):
            self.handled.append(Handled(self.at, set(range(began, self.at))))

    def work(self, pieces: list[tuple[int, tuple[int, str]]], *, named: bool) -> None:
        """After-call work of the last call, with a call after each piece; consultations are part of it."""
        if not self.handled or not self.events or self.events[-1][1] != "interaction.released":
            return
        of, seconds = self.handled[-1], set[int]()
        self.say("agent.aftercallwork", **({"ixn": self.events[-1][2]["ixn"]} if named else {}))
        for length, (interruption, type) in pieces:
            seconds |= set(range(self.at, self.at + length))
            self.at += length
            began = self.at
            self.call(interruption, type)
            if type == "consult":
                seconds |= set(range(began, self.at))
        self.say("agent.ready")
        of.work.append((self.at, seconds))

    def expected(self, at: int, since: int) -> tuple[int, int]:
        """Seconds and calls, at a moment, of a window that began at another."""
        over = [each for each in self.handled if since <= each.ended <= at]
        seconds = sum(len({s for s in each.seconds if s >= since}) for each in over)
        return seconds + sum(len(work) for each in over for done, work in each.work if done <= at), len(over)


LENGTHS = st.integers(1, 900)
TYPES = st.sampled_from(["inbound", "outbound", "consult"])
CALLS = st.tuples(st.just("call"), LENGTHS, TYPES, st.sampled_from([0, 0, 30]))
WORKS = st.tuples(st.just("work"), st.lists(st.tuples(LENGTHS, st.tuples(LENGTHS, TYPES)), max_size=3), st.booleans())
RESTS = st.tuples(st.just("rest"), LENGTHS)


@SLOW
@given(st.lists(st.one_of(CALLS, WORKS, RESTS), max_size=12))
def test_the_handling_time_is_what_a_ledger_of_seconds_says(plan: list[Any]) -> None:
    day = Day()
    for kind, *what in plan:
        if kind == "call":
            length, type, consult = what
            day.call(length, type, consult if type != "consult" else 0)
        elif kind == "work":
            day.work(what[0], named=what[1])
        else:
            day.at += what[0]
    engine = Engine(zone=UTC, now_ms=START)
    statistic = engine.open(predefined("AverageHandlingTime", ObjectType.AGENT).definition, ObjectType.AGENT, "ann")
    for index, (at, kind, data) in enumerate(day.events):
        engine.apply(event(at * 1000, kind, **data))
        if index + 1 < len(day.events) and day.events[index + 1][0] == at:
            continue  # the moment is not over yet
        since = MIDNIGHT // 1000 if at * 1000 >= MIDNIGHT else 0
        seconds, calls = day.expected(at, since)
        value = engine.value(statistic)
        found = value.int_value if value.float_value is None else value.float_value
        assert found == pytest.approx(seconds / calls if calls else 0), (at - START // 1000, kind)
        assert value.empty is (calls == 0)
