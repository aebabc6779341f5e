"""Asterisk's queue_log through the converter and the engine: the figures are those that the log gives of itself.

The logs are made up here, by a small model of Asterisk's queues that writes what those write: times and durations cut to whole seconds,
each by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.events import Event
from channels.ingest.queue_log import Converter
from channels.statistics.engine import Engine, ObjectType, parse_definition, predefined

UTC = ZoneInfo("UTC")
NINE = 1_772_442_000
"""2026-03-02 09:00 UTC, in seconds."""


def converted(lines: list[str]) -> list[Event]:
    converter = Converter()
    return [event for line in lines for event in converter.take(line)]


def engine_of(events: list[Event]) -> Engine:
    engine = Engine(zone=UTC, now_ms=NINE * 1000)
    for event in events:
        engine.check(event)
        engine.apply(event)
    return engine


class Report:
    """Figures of an engine, by object and statistic."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, kind: str, identifier: str, name: str) -> float:
        object_type = ObjectType(kind)
        return self.value(object_type, identifier, predefined(name, object_type).definition)

    def total(self, kind: str, identifier: str, category: str, mask: str) -> float:
        raw = {"category": category, "subject": "DNAction", "mainMask": mask}
        return self.value(ObjectType(kind), identifier, parse_definition(raw, ObjectType(kind)).definition)

    def value(self, object_type: ObjectType, identifier: str, definition: object) -> float:
        value = self.engine.value(self.engine.open(definition, object_type, identifier))  # type: ignore[arg-type]
        return value.int_value if value.float_value is None else value.float_value


def report(*lines: str) -> Report:
    return Report(engine_of(converted(list(lines))))


QUEUE = ("CallsEntered", "TotalAnswered", "TotalAbandoned", "CurrentInQueue", "AverageWaitingTime")


def balance(of: Report, queue: str = "sales") -> list[float]:
    return [of("Queue", queue, name) for name in QUEUE]


def test_a_call_that_is_answered_after_it_rang_in_vain_elsewhere() -> None:
    of = report(
        f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 15}|100.1|sales|SIP/201|RINGNOANSWER|12000",
        f"{NINE + 22}|100.1|sales|SIP/202|CONNECT|22|100.3|4",
        f"{NINE + 82}|100.1|sales|SIP/202|COMPLETECALLER|22|60|1",
    )
    assert balance(of) == [1, 1, 0, 0, 22]
    assert of("Queue", "sales", "AverageDistributionTime") == 3, "the first phone rang from 3 s on"
    assert (of("Agent", "SIP/201", "MissedCalls"), of.total("Agent", "SIP/201", "TotalTime", "CallMissed")) == (1, 12)
    assert [of("Agent", "SIP/202", n) for n in ("InboundCalls", "TalkDuration", "AverageHandlingTime")] == [1, 60, 60]


def test_a_caller_who_gives_up_while_it_rings() -> None:
    of = report(
        f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 9}|100.1|sales|SIP/201|RINGCANCELED|5000",
        f"{NINE + 9}|100.1|sales|SIP/202|RINGCANCELED|5000",
        f"{NINE + 9}|100.1|sales|NONE|ABANDON|1|1|9",
    )
    assert balance(of) == [1, 0, 1, 0, 9]
    assert of.total("Agent", "SIP/201", "TotalTime", "CallAbandonedFromRinging") == 5
    assert of("GroupAgents", "All", "MissedCalls") == 2


@pytest.mark.parametrize(
    "end",
    ["EXITWITHTIMEOUT|1|1|30", "EXITWITHKEY|1|1|1|30", "EXITEMPTY|1|1|30"],
)
def test_a_call_that_the_system_takes_out_was_neither_answered_nor_abandoned(end: str) -> None:
    of = report(f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1", f"{NINE + 30}|100.1|sales|NONE|{end}")
    assert balance(of) == [1, 0, 0, 0, 0]
    assert of.total("Queue", "sales", "TotalTime", "CallCleared") == 30


def test_a_call_that_the_channels_do_not_fit_is_lost() -> None:
    of = report(f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234", f"{NINE + 7}|100.1|sales|SIP/201|SYSCOMPAT|")
    assert balance(of) == [1, 0, 1, 0, 7]


TRANSFERS = [
    "TRANSFER|300|default|5|60|1",
    "TRANSFER|300|default|5|60",  # of old, without the position
    "BLINDTRANSFER|300|default|5|60|1",
    "ATTENDEDTRANSFER|BRIDGE|f00f|5|60|1",
    "ATTENDEDTRANSFER|LINK|Local/300@x-1;1|Local/300@x-1;2|5|60|1",
]


@pytest.mark.parametrize("end", TRANSFERS)
@pytest.mark.parametrize("told", [True, False])
def test_a_call_that_is_transferred_was_answered_and_handled(end: str, told: bool) -> None:
    connect = [f"{NINE + 5}|100.1|sales|SIP/201|CONNECT|5|100.2|2"] if told else []
    of = report(f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1", *connect, f"{NINE + 65}|100.1|sales|SIP/201|{end}")
    assert balance(of) == [1, 1, 0, 0, 5]
    assert of("Agent", "SIP/201", "TalkDuration") == 60


def test_what_a_log_that_begins_in_the_middle_says_is_dated_back() -> None:
    of = report(
        f"{NINE + 100}|100.1|sales|SIP/201|COMPLETEAGENT|20|70|1",
        f"{NINE + 200}|100.2|sales|NONE|ABANDON|1|2|40",
        f"{NINE + 300}|100.3|sales|SIP/201|CONNECT|30|100.9|3",
    )
    assert balance(of) == [3, 2, 1, 0, 30]
    assert of("Agent", "SIP/201", "InboundCalls") == 1
    assert of("Agent", "SIP/201", "TalkDuration") == 70


def test_ends_that_are_told_twice_count_once() -> None:
    lines = [
        f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 5}|100.1|sales|SIP/201|CONNECT|5|100.2|2",
        f"{NINE + 65}|100.1|sales|SIP/201|COMPLETEAGENT|5|60|1",
    ]
    converter = Converter()
    events = [event for line in (*lines, lines[-1]) for event in converter.take(line)]
    of = Report(engine_of(events))
    assert (balance(of), of("Agent", "SIP/201", "InboundCalls"), converter.repeated) == ([1, 1, 0, 0, 5], 1, 1)


def test_a_call_whose_exit_is_missing_ends_when_it_comes_again_or_the_queues_restart() -> None:
    of = report(
        f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 60}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 90}|100.2|help|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 100}|NONE|NONE|NONE|QUEUESTART|",
    )
    assert [balance(of, queue)[:4] for queue in ("sales", "help")] == [[2, 0, 0, 0], [1, 0, 0, 0]]


def test_a_call_that_goes_on_to_another_queue_leaves_the_first() -> None:
    of = report(
        f"{NINE}|100.1|sales|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 30}|100.1|help|NONE|ENTERQUEUE||5551234|1",
        f"{NINE + 50}|100.1|help|SIP/201|CONNECT|20|100.2|2",
    )
    assert [balance(of, queue)[:4] for queue in ("sales", "help")] == [[1, 0, 0, 0], [1, 1, 0, 0]]
    assert of.total("Queue", "sales", "TotalTime", "CallDistributedToQueue") == 30


def test_agents_log_in_pause_and_go() -> None:
    of = report(
        f"{NINE}|MANAGER|sales|Ann|ADDMEMBER|",
        f"{NINE}|MANAGER|help|Ann|ADDMEMBER|",
        f"{NINE + 100}|NONE|sales|Ann|PAUSE|lunch",
        f"{NINE + 110}|NONE|help|Ann|PAUSE|lunch",
        f"{NINE + 110}|NONE|NONE|Ann|PAUSEALL|lunch",
        f"{NINE + 410}|NONE|NONE|Ann|UNPAUSEALL|",
        f"{NINE + 500}|MANAGER|sales|Ann|REMOVEMEMBER|",
        f"{NINE + 600}|MANAGER|help|Ann|REMOVEMEMBER|",
        f"{NINE}|MANAGER|sales|Bob|ADDMEMBER|PAUSED",
        f"{NINE + 50}|NONE|sales|Bob|UNPAUSE|",
        f"{NINE + 10}|100.9|NONE|Agent/3001|AGENTCALLBACKLOGIN|1002@default",
        f"{NINE + 40}|NONE|NONE|Agent/3001|AGENTCALLBACKLOGOFF|1002@default|30|",
        f"{NINE + 700}|100.10|NONE|Agent/3002|AGENTLOGIN|SIP/7",
        f"{NINE + 720}|NONE|NONE|Agent/3002|AGENTLOGOFF|SIP/7|20",
    )
    durations = ("LoginDuration", "ReadyDuration", "NotReadyDuration")
    assert [of("Agent", "Ann", name) for name in durations] == [600, 300, 300]
    assert [of("Agent", "Bob", name) for name in durations] == [720, 670, 50]
    assert [of("Agent", each, "LoginDuration") for each in ("Agent/3001", "Agent/3002")] == [30, 20]


# --- whole days --------------------------------------------------------------------------------------------------------------------------


@dataclass
class Switch:
    """Queues of an Asterisk, in real time; ``log`` is what it writes, and the rest what the log says of itself."""

    random: Random
    fraction: bool
    log: list[tuple[float, str]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(queue or agent, what): entered, answered, abandoned, waited, talked, missed."""
    last: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By call, when its last line was written."""
    free: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("SIP/201", "Local/202@agents/n", "Зоя К."), 0.0))

    def write(self, at: float, call: str, queue: str, agent: str, event: str) -> None:
        # the line is written a moment after the duration was taken: at times in the next second
        written = max(at + self.random.choice([0.0, 0.0, 0.01, 0.4]), self.last[call])
        self.last[call] = written
        time = f"{written:.6f}" if self.fraction else str(int(written))
        self.log.append((written, f"{time}|{call}|{queue}|{agent}|{event}"))

    def call(self, number: int, at: float) -> None:
        queue, call = self.random.choice(["sales", "help"]), f"{int(at)}.{number}"
        self.write(at, call, queue, "NONE", f"ENTERQUEUE||555{number:04}|1")
        self.counts[queue, "entered"] += 1
        now = at + self.random.uniform(0, 40)
        for agent in self.random.sample(sorted(self.free), 3):
            if self.free[agent] > now:
                continue
            fate = self.random.random()
            rang = self.random.uniform(1, 15)
            if fate < 0.5:
                self.answered(call, queue, agent, at, now + rang, rang)
                return
            if fate < 0.7:
                self.write(now + rang, call, queue, agent, f"RINGCANCELED|{int(rang * 1000)}")
                self.free[agent] = now + rang + 1
                self.abandoned(call, queue, at, now + rang)
                return
            self.write(now + rang, call, queue, agent, f"RINGNOANSWER|{int(rang * 1000)}")
            self.counts[agent, "missed"] += 1
            self.free[agent] = now + rang + 1
            now += rang + 1
        if self.random.random() < 0.3:
            self.write(now, call, queue, "NONE", f"EXITWITHTIMEOUT|1|1|{int(now) - int(at)}")
        else:
            self.abandoned(call, queue, at, now)

    def abandoned(self, call: str, queue: str, entered: float, at: float) -> None:
        wait = int(at) - int(entered)
        self.write(at, call, queue, "NONE", f"ABANDON|1|1|{wait}")
        self.counts[queue, "abandoned"] += 1
        self.counts[queue, "waited"] += wait

    def answered(self, call: str, queue: str, agent: str, entered: float, at: float, rang: float) -> None:
        hold, end = int(at) - int(entered), at + self.random.uniform(0, 300)
        self.write(at, call, queue, agent, f"CONNECT|{hold}|{call}1|{int(rang)}")
        talk = int(end) - int(at)
        how = self.random.choice(["COMPLETEAGENT|{}|{}|1", "COMPLETECALLER|{}|{}|1", "BLINDTRANSFER|300|default|{}|{}|1"])
        self.write(end, call, queue, agent, how.format(hold, talk))
        self.free[agent] = end + 3
        for owner, what, much in ((queue, "answered", 1), (queue, "waited", hold), (agent, "calls", 1), (agent, "talked", talk)):
            self.counts[owner, what] += much


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 60))
def test_a_whole_log_gives_its_own_report(seed: int, fraction: bool, calls: int) -> None:
    switch = Switch(Random(seed), fraction)
    at = float(NINE)
    for number in range(calls):
        at += switch.random.expovariate(1 / 60)
        switch.call(number, at)
    switch.log.sort(key=lambda each: int(each[0]))  # lines of one second stand as they were written
    converter = Converter()
    of = Report(engine_of([event for _, line in switch.log for event in converter.take(line)]))
    counts = switch.counts
    for queue in ("sales", "help"):
        found = [of("Queue", queue, name) for name in ("CallsEntered", "TotalAnswered", "TotalAbandoned", "CurrentInQueue")]
        assert found == [*(counts[queue, what] for what in ("entered", "answered", "abandoned")), 0], queue
        waited = of.total("Queue", queue, "TotalTime", "CallAnswered,CallAbandoned,CallAbandonedFromRinging")
        assert waited == counts[queue, "waited"], queue
    for agent in switch.free:
        assert of("Agent", agent, "InboundCalls") == counts[agent, "calls"], agent
        assert of.total("Agent", agent, "TotalTime", "CallInbound") == counts[agent, "talked"], agent
        assert of.total("Agent", agent, "TotalNumber", "CallMissed") == counts[agent, "missed"], agent
    assert (converter.differing, converter.repeated) == (0, 0)
