import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC
from zoneinfo import ZoneInfo

from channels.events import (
    EVENT_STREAM,
    AgentLogin,
    AgentLogout,
    AgentReady,
    Event,
    EventSinkError,
    InteractionFinished,
    InteractionStarted,
    encode_event,
)
from channels.simulator.runner import SOURCE, TENANT, Runner
from channels.simulator.settings import SimulatorSettings
from channels.statistics.engine.engine import Engine
from hub.cluster.ownership import FixedOwnership
from hub.eventlog.memory import MemoryEventLog
from hub.storage.lease import Fence
from tests.channels.ingest.support import NOON_MS, noon
from tests.world import ManualClock

MIDNIGHT_MS = NOON_MS - 12 * 3_600_000


class Sink:
    """An :class:`EventSink` that writes what it takes to a log."""

    def __init__(self, log: MemoryEventLog) -> None:
        self.log = log
        self.taken: list[Event] = []
        self.faults = 0
        self.refuse: Callable[[Event], str | None] = lambda _: None

    async def accept(self, tenant: str, events: Sequence[Event], *, past: bool = False) -> list[str]:
        assert tenant == "demo"
        if self.faults:
            self.faults -= 1
            raise EventSinkError("no space left")
        outcomes = [self.refuse(event) or "accepted" for event in events]
        good = [event for event, outcome in zip(events, outcomes, strict=True) if outcome == "accepted"]
        await self.log.append(tenant, EVENT_STREAM, [encode_event(event) for event in good])
        self.taken += good
        return outcomes


def _runner(sink: Sink, clock: ManualClock, first_pause_s: float = 0.5) -> Runner:
    settings = SimulatorSettings(agents=10, seed=1)
    return Runner(settings=settings, eventlog=sink.log, clock=clock, zone=UTC, find_sink=lambda: sink, first_pause_s=first_pause_s)


async def _run_until(runner: Runner, reached: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if reached() or runner.error:
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not reached")


def _reached(sink: Sink, clock: ManualClock) -> Callable[[], bool]:
    """Whether the simulation is within a minute of the clock."""
    return lambda: bool(sink.taken) and sink.taken[-1].time_ms > clock.wall - 60_000


async def test_the_day_so_far_is_lived_through_and_then_time_goes_with_the_clock() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, _reached(sink, clock))
    assert sink.taken[0].time_ms == NOON_MS - 8 * 3_600_000
    assert all(event.time_ms <= NOON_MS for event in sink.taken)
    clock.wall += 600_000
    before = len(sink.taken)
    await _run_until(runner, _reached(sink, clock))
    await runner.stop()
    later = sink.taken[before:]
    assert later
    assert all(NOON_MS < event.time_ms <= NOON_MS + 600_000 for event in later)
    assert runner.counters.events == len(sink.taken)
    assert runner.counters.refused == 0
    assert await runner.readiness() is None


async def test_an_engine_takes_all_of_it_also_after_a_restart() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    for _ in range(3):
        runner = _runner(sink, clock)
        await runner.start()
        await _run_until(runner, _reached(sink, clock))
        await runner.stop()
        clock.wall += 1_800_000
    engine = Engine(zone=ZoneInfo("UTC"), now_ms=MIDNIGHT_MS)
    for event in sink.taken:
        engine.check(event)
        engine.apply(event)


async def test_a_restart_goes_on_where_the_log_ends_and_ends_what_was_left_open() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    first = _runner(sink, clock)
    await first.start()
    await _run_until(first, _reached(sink, clock))
    await first.stop()
    before = list(sink.taken)
    open_before = {e.data.interaction_id for e in before if isinstance(e.data, InteractionStarted)}
    open_before -= {e.data.interaction_id for e in before if isinstance(e.data, InteractionFinished)}
    clock.wall += 3_600_000
    second = _runner(sink, clock)
    await second.start()
    await _run_until(second, _reached(sink, clock))
    await second.stop()
    after = sink.taken[len(before) :]
    at_start = [event for event in after if event.time_ms == before[-1].time_ms + 1]
    assert {e.data.interaction_id for e in at_start if isinstance(e.data, InteractionFinished)} == open_before
    assert sum(isinstance(event.data, AgentLogout) for event in at_start) == 10
    assert sum(isinstance(event.data, AgentLogin) for event in after) >= 7
    assert not {event.id for event in before} & {event.id for event in after}


async def test_events_of_others_move_the_start_but_are_not_ended() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    other = Event("cx.interaction.started", NOON_MS - 1_000, "/switch", "1", InteractionStarted(interaction_id="theirs", media="voice"))
    await sink.log.append(TENANT, EVENT_STREAM, [encode_event(other)])
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, _reached(sink, clock))
    await runner.stop()
    assert sink.taken[0].time_ms == NOON_MS - 999
    assert not [event for event in sink.taken if isinstance(event.data, InteractionFinished)]


async def test_an_event_ahead_of_the_clock_is_waited_for() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    ahead = Event("cx.agent.ready", NOON_MS + 20, SOURCE, "1", AgentReady(agent_id="a"))
    await sink.log.append(TENANT, EVENT_STREAM, [encode_event(ahead)])
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, lambda: bool(sink.taken))
    await runner.stop()
    assert sink.taken[0].time_ms == NOON_MS + 21


async def test_when_all_records_are_trimmed_it_begins_now() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    await sink.log.append(TENANT, EVENT_STREAM, [b"x"])
    await sink.log.trim(TENANT, EVENT_STREAM, 1)
    runner = _runner(sink, clock)
    await runner.start()
    clock.wall += 1_000
    await _run_until(runner, lambda: bool(sink.taken))
    await runner.stop()
    assert sink.taken[0].time_ms >= NOON_MS


async def test_what_the_sink_cannot_write_is_sent_again() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    sink.faults = 1
    runner = _runner(sink, clock, first_pause_s=0.001)
    await runner.start()
    await _run_until(runner, _reached(sink, clock))
    await runner.stop()
    assert runner.counters.retries == 1
    assert sink.taken[0].time_ms == NOON_MS - 8 * 3_600_000


async def test_refused_events_are_counted_and_it_goes_on() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    sink.refuse = lambda event: "too late" if event.type == "cx.agent.ready" else None
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, _reached(sink, clock))
    await runner.stop()
    assert runner.counters.refused > 0
    assert runner.error is None


async def test_a_fault_is_told_by_readiness() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    await sink.log.append(TENANT, EVENT_STREAM, [b"no record"])
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, lambda: runner.error is not None)
    assert "expected a record of the event log" in str(await runner.readiness())
    await runner.stop()


async def test_the_day_so_far_begins_at_midnight_at_the_earliest() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    clock.wall = MIDNIGHT_MS + 3_600_000
    runner = _runner(sink, clock)
    await runner.start()
    await _run_until(runner, _reached(sink, clock))
    await runner.stop()
    assert sink.taken[0].time_ms == MIDNIGHT_MS


async def test_one_that_never_started_can_be_stopped() -> None:
    await _runner(Sink(MemoryEventLog()), noon()).stop()


async def test_of_nodes_that_own_tenants_by_leases_the_owner_of_the_demo_simulates() -> None:
    clock, sink = noon(), Sink(MemoryEventLog())
    settings = SimulatorSettings(agents=10, seed=1)

    def node() -> tuple[Runner, FixedOwnership]:
        ownership = FixedOwnership(me="a", is_owner=False)
        runner = Runner(settings=settings, eventlog=sink.log, clock=clock, zone=UTC, find_sink=lambda: sink, leased=ownership)
        assert ownership.workers == [runner]
        return runner, ownership

    (a, _), (b, _) = node(), node()
    for runner in (a, b):
        await runner.start()
    await a.open_tenant("other", Fence("other", 1))
    await asyncio.sleep(0.05)
    assert sink.taken == []
    await a.open_tenant(TENANT, Fence(TENANT, 1))
    await _run_until(a, _reached(sink, clock))
    a.drop_tenant(TENANT)
    await asyncio.sleep(0)
    before = len(sink.taken)
    clock.wall += 600_000
    await b.open_tenant(TENANT, Fence(TENANT, 2))
    await _run_until(b, _reached(sink, clock))
    await b.close_tenant(TENANT)
    assert (a.counters.events, b.counters.events) == (before, len(sink.taken) - before)
    assert (a.error, b.error) == (None, None)
    over = {event.data.interaction_id for event in sink.taken if isinstance(event.data, InteractionFinished)}
    begun = [event.data.interaction_id for event in sink.taken[:before] if isinstance(event.data, InteractionStarted)]
    assert set(begun) <= over  # the second one finished what the first one had begun
    await b.stop()
    await a.stop()
