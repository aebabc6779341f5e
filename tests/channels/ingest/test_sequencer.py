import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from channels.events import EVENT_STREAM, AgentReady, Event, EventSinkError, RefusedEventError
from channels.ingest.sequencer import Sequencer
from hub.eventlog.memory import MemoryEventLog
from hub.storage.lease import Fence
from tests.channels.ingest.support import NOON_MS, RESTLESS_S, Ingesting, Recorder, noon
from tests.channels.statistics.support import AsyncioLoop


def _event(identifier: str, time_ms: int = 0, source: str = "s") -> Event:
    return Event("cx.agent.ready", NOON_MS + time_ms, source, identifier, AgentReady(agent_id="a"))


async def _started(**settings: Any) -> Ingesting:
    made = Ingesting(**settings)
    await made.sequencer.start()
    return made


async def test_events_are_logged_and_handed_out_in_the_order_of_their_time() -> None:
    hub = await _started()
    outcomes = await hub.sequencer.accept("demo", [_event("3", 30), _event("1", 10), _event("2a", 20), _event("2b", 20)])
    assert outcomes == ["accepted"] * 4
    assert [(position, event.id) for position, event in hub.recorder.seen] == [(1, "1"), (2, "2a"), (3, "2b"), (4, "3")]
    assert await hub.logged() == hub.recorder.seen


async def test_tenants_have_nothing_in_common() -> None:
    hub = await _started()
    assert await hub.sequencer.accept("one", [_event("1")]) == ["accepted"]
    assert await hub.sequencer.accept("two", [_event("1")]) == ["accepted"]
    assert len(await hub.logged("one")) == len(await hub.logged("two")) == 1


async def test_no_events_are_no_trouble() -> None:
    hub = await _started()
    assert await hub.sequencer.accept("demo", []) == []


async def test_a_repeat_counts_once_within_a_call_and_across_calls() -> None:
    hub = await _started()
    assert await hub.sequencer.accept("demo", [_event("1", 5), _event("1", 9)]) == ["accepted", "duplicate"]
    assert await hub.sequencer.accept("demo", [_event("1", 20), _event("1", 21, source="t")]) == ["duplicate", "accepted"]
    assert hub.sequencer.counters.accepted == 2
    assert hub.sequencer.counters.duplicates == 2
    assert len(await hub.logged()) == 2


async def test_of_two_alike_the_earlier_one_counts() -> None:
    hub = await _started()
    assert await hub.sequencer.accept("demo", [_event("1", 9), _event("1", 5)]) == ["duplicate", "accepted"]


async def test_calls_for_the_past_and_others_do_not_share_a_batch() -> None:
    hub = await _started()
    await asyncio.gather(*(hub.sequencer.accept("demo", [_event(str(n))], past=n % 2 == 1) for n in range(4)))
    assert hub.recorder.past == [False, True, False, True]


async def test_a_refusal_for_another_reason_than_time_is_counted_apart() -> None:
    hub = await _started()

    def refuse(tenant: str, event: Event, *, past: bool = False) -> None:
        raise RefusedEventError("data.agentId: expected at most 1 agents, got 2")

    hub.recorder.check = refuse  # type: ignore[method-assign]
    assert await hub.sequencer.accept("demo", [_event("1")]) == ["data.agentId: expected at most 1 agents, got 2"]
    assert (hub.sequencer.counters.refused_limit, hub.sequencer.counters.refused_late) == (1, 0)


async def test_after_ten_minutes_it_is_another_event() -> None:
    hub = await _started()
    await hub.sequencer.accept("demo", [_event("1")])
    hub.clock.wall += 600_000
    assert await hub.sequencer.accept("demo", [_event("1")]) == ["duplicate"]
    hub.clock.wall += 1
    assert await hub.sequencer.accept("demo", [_event("1")]) == ["accepted"]


async def test_a_clock_that_is_set_back_does_not_lengthen_the_window() -> None:
    hub = await _started()
    await hub.sequencer.accept("demo", [_event("1")])
    hub.clock.wall -= 3_600_000
    assert await hub.sequencer.accept("demo", [_event("2"), _event("1")]) == ["accepted", "duplicate"]


async def test_a_clock_that_was_a_year_ahead_does_not_make_a_window_of_a_year() -> None:
    hub = await _started()
    hub.clock.wall += 365 * 86_400_000
    await hub.sequencer.accept("demo", [_event("1")])
    hub.clock.wall -= 365 * 86_400_000
    assert await hub.sequencer.accept("demo", [_event("2"), _event("1")]) == ["accepted", "duplicate"]
    hub.clock.wall += 600_001
    assert await hub.sequencer.accept("demo", [_event("1"), _event("2")]) == ["accepted", "accepted"]
    after = await _started(log=hub.log, clock=hub.clock)
    assert await after.sequencer.accept("demo", [_event("1"), _event("3")]) == ["duplicate", "accepted"]


async def test_repeats_are_known_after_a_restart() -> None:
    before = await _started()
    await before.sequencer.accept("demo", [_event(str(number)) for number in range(2_500)])
    before.clock.wall += 300_000
    await before.sequencer.accept("demo", [_event("late")])
    after = await _started(log=before.log, clock=before.clock)
    assert await after.sequencer.accept("demo", [_event("7"), _event("2400"), _event("late"), _event("new")]) == [
        *["duplicate"] * 3,
        "accepted",
    ]
    after.clock.wall += 300_001
    again = await _started(log=before.log, clock=before.clock)
    assert await again.sequencer.accept("demo", [_event("7"), _event("late")]) == ["accepted", "duplicate"]


async def test_only_the_end_of_a_long_log_is_read_after_a_restart() -> None:
    class Counting(MemoryEventLog):
        read_records = 0

        async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
            async for chunk in super().read(tenant, stream, after):
                self.read_records += len(chunk)
                yield chunk

    log = Counting()
    before = await _started(log=log)
    for hour in range(20):
        before.clock.wall = NOON_MS + hour * 3_600_000
        await before.sequencer.accept("demo", [_event(f"{hour}-{number}") for number in range(1_000)])
    log.read_records = 0
    after = await _started(log=log, clock=before.clock)
    assert await after.sequencer.accept("demo", [_event("19-5")]) == ["duplicate"]
    assert log.read_records < 10_000


async def test_a_trimmed_log_is_read_from_where_it_begins() -> None:
    before = await _started()
    await before.sequencer.accept("demo", [_event(str(number)) for number in range(3_000)])
    await before.log.trim("demo", EVENT_STREAM, 2_500)
    after = await _started(log=before.log, clock=before.clock)
    assert await after.sequencer.accept("demo", [_event("2700"), _event("3")]) == ["duplicate", "accepted"]
    await before.log.trim("demo", EVENT_STREAM, 3_001)
    last = await _started(log=before.log, clock=before.clock)
    assert await last.sequencer.accept("demo", [_event("2700")]) == ["accepted"]


async def test_too_many_to_remember() -> None:
    hub = await _started(repeats_max=1)
    await hub.sequencer.accept("demo", [_event("1")])
    hub.clock.wall += 10_000
    await hub.sequencer.accept("demo", [_event("2")])
    hub.clock.wall += 10_000
    assert await hub.sequencer.accept("demo", [_event("1"), _event("2")]) == ["accepted", "duplicate"]
    assert hub.sequencer.counters.forgotten_early == 1


async def test_a_late_event_is_refused_with_the_reason_and_not_logged() -> None:
    hub = await _started()
    await hub.sequencer.accept("demo", [_event("1", 100)])
    outcomes = await hub.sequencer.accept("demo", [_event("2", 99), _event("3", 100)])
    late, taken = outcomes
    assert late.startswith("time: expected 2026-03-01T12:00:00.100Z or later, the time of the last event of source s; got ")
    assert taken == "accepted"
    assert hub.sequencer.counters.refused_late == 1
    assert [event.id for _, event in await hub.logged()] == ["1", "3"]


async def test_a_late_event_is_no_repeat_when_it_comes_again() -> None:
    hub = await _started()
    await hub.sequencer.accept("demo", [_event("1", 100)])
    await hub.sequencer.accept("demo", [_event("2", 99)])
    assert await hub.sequencer.accept("demo", [_event("2", 101)]) == ["accepted"]


class _Failing(MemoryEventLog):
    def __init__(self) -> None:
        super().__init__()
        self.faults = 0

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        await asyncio.sleep(0)
        if self.faults:
            self.faults -= 1
            raise OSError("no space left on device")
        return await super().append(tenant, stream, records, fence)

    async def last(self, tenant: str, stream: str) -> int:
        if self.faults:
            self.faults -= 1
            raise OSError("unreadable")
        return await super().last(tenant, stream)


async def test_when_the_log_cannot_be_written_nothing_is_taken_or_remembered() -> None:
    log = _Failing()
    hub = await _started(log=log)
    await hub.sequencer.accept("demo", [])
    log.faults = 1
    with pytest.raises(EventSinkError, match="no space left"):
        await hub.sequencer.accept("demo", [_event("1")])
    assert hub.recorder.seen == []
    assert hub.sequencer.counters.accepted == 0
    assert hub.sequencer.counters.log_failures == 1
    assert await hub.sequencer.accept("demo", [_event("1")]) == ["accepted"]


async def test_when_the_log_cannot_be_read_at_the_start_it_is_tried_again() -> None:
    log = _Failing()
    hub = await _started(log=log)
    log.faults = 1
    with pytest.raises(EventSinkError, match="could not be read"):
        await hub.sequencer.accept("demo", [_event("1")])
    assert await hub.sequencer.accept("demo", [_event("1")]) == ["accepted"]


async def test_calls_at_once_keep_the_order_of_the_log() -> None:
    hub = await _started(log=_Failing(), clock=noon(step=RESTLESS_S))
    calls = [
        hub.sequencer.accept("demo", [_event(f"{call}-{number}", number, source=str(call)) for number in range(200)]) for call in range(5)
    ]
    for outcomes in await asyncio.gather(*calls):
        assert outcomes == ["accepted"] * 200
    assert hub.recorder.seen == await hub.logged()
    assert [position for position, _ in hub.recorder.seen] == list(range(1, 1001))


async def test_work_gives_way_to_the_loop() -> None:
    hub = await _started(clock=noon(step=RESTLESS_S))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await hub.sequencer.accept("demo", [_event(str(number)) for number in range(100)])
    ticking.cancel()
    assert ticks > 100


async def test_a_caller_that_goes_away_does_not_tear_log_and_consumers_apart() -> None:
    hub = await _started(log=_Failing())
    call = asyncio.create_task(hub.sequencer.accept("demo", [_event("1")]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await hub.sequencer.stop()
    assert call.cancelled()
    assert [event.id for _, event in hub.recorder.seen] == [event.id for _, event in await hub.logged()] == ["1"]


async def test_a_consumer_that_fails_does_not_stop_the_others() -> None:
    failing, other = Recorder(), Recorder()
    failing.faults = 1
    clock = noon()
    sequencer = Sequencer(
        eventlog=MemoryEventLog(),
        clock=clock,
        loop=AsyncioLoop(),
        find_consumers=lambda: [failing, other],
        repeats_s=600,
        repeats_max=100,
    )
    await sequencer.start()
    assert await sequencer.accept("demo", [_event("1")]) == ["accepted"]
    assert len(other.seen) == 1
    assert sequencer.counters.consumer_faults == 1


class _Slow(MemoryEventLog):
    """Writes when it is told to, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.appends: list[int] = []
        self.broken = False

    async def append(self, tenant: str, stream: str, records: Sequence[bytes], fence: Fence | None = None) -> int:
        await self.go.wait()
        self.appends.append(len(records))
        if self.broken:
            raise OSError("disk full")
        return await super().append(tenant, stream, records, fence)


async def test_calls_that_come_while_one_is_written_share_the_next_write() -> None:
    log = _Slow()
    hub = await _started(log=log)
    calls = [asyncio.create_task(hub.sequencer.accept("demo", [_event(f"{number}", -number)])) for number in range(5)]
    await asyncio.sleep(0.01)
    log.go.set()
    assert await asyncio.gather(*calls) == [["accepted"]] * 5
    assert log.appends == [1, 4] or log.appends == [5]
    assert [event.id for _, event in hub.recorder.seen][-4:] == sorted((event.id for _, event in hub.recorder.seen[-4:]), reverse=True)
    assert await hub.logged() == hub.recorder.seen


async def test_a_repeat_in_a_call_that_shares_a_write_is_told_to_its_own_caller() -> None:
    log = _Slow()
    hub = await _started(log=log)
    first = asyncio.create_task(hub.sequencer.accept("demo", [_event("0")]))
    await asyncio.sleep(0)
    calls = [asyncio.create_task(hub.sequencer.accept("demo", [_event("1"), _event(name)])) for name in ("2", "3")]
    await asyncio.sleep(0.01)
    log.go.set()
    assert await asyncio.gather(first, *calls) == [["accepted"], ["accepted", "accepted"], ["duplicate", "accepted"]]


async def test_all_that_share_a_write_which_fails_are_told_so() -> None:
    log = _Slow()
    log.broken = True
    hub = await _started(log=log)
    calls = [asyncio.create_task(hub.sequencer.accept("demo", [_event(f"{number}")])) for number in range(3)]
    await asyncio.sleep(0.01)
    log.go.set()
    faults = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(fault) for fault in faults] == [EventSinkError] * 3
    log.broken = False
    assert await hub.sequencer.accept("demo", [_event("0")]) == ["accepted"], "nothing was remembered"
