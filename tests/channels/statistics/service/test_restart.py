"""What survives: snapshots, the log behind them, and what is forgotten."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from channels.events import EVENT_STREAM
from channels.statistics.engine.engine import Engine
from channels.statistics.service.interface import ServiceState
from channels.statistics.service.store import CAPTURE_SWITCH_S, OWNER
from hub.eventlog.interface import EventLog, EventLogError
from hub.eventlog.memory import MemoryEventLog
from hub.eventlog.sqlite import SqliteEventLog
from hub.storage.lease import Fence
from tests.channels.statistics.support import Centre, RestlessClock, agent_item, call, login

OVERSIZE = (
    b'{"type":"cx.interaction.queued","time":1773133200000,"source":"s","id":"i",'
    b'"data":{"interactionId":"big","queue":"q","userData":{"n":18446744073709551616}}}'
)
"""A record from before numbers were bounded."""

DAY = ("LoginDuration", "ReadyDuration", "InboundCalls", "AverageHandlingTime", "CurrentAgentState")


async def totals(centre: Centre) -> list[object]:
    done = await centre.server.read(login(), [agent_item(name=name) for name in DAY])
    assert done.refusals == []
    return [reading.value for reading in done.readings]


async def part_of_a_day(centre: Centre) -> None:
    await centre.feed(centre.event("cx.agent.login", agentId="ana", groups=["north"]), centre.event("cx.agent.ready", agentId="ana"))
    for _ in range(5):
        centre.clock.advance(60)
        interaction = f"i{centre.clock.wall}"
        await centre.feed(centre.event("cx.interaction.established", interactionId=interaction, agentId="ana", callType="inbound"))
        centre.clock.advance(45)
        await centre.feed(centre.event("cx.interaction.released", interactionId=interaction, agentId="ana"))


async def restarted(centre: Centre, **settings: object) -> Centre:
    """A new hub on the same log, at the same time."""
    again = Centre(eventlog=centre.log, clock=centre.clock, **settings)  # type: ignore[arg-type]
    await again.server.restore()
    return again


async def test_a_restart_keeps_the_totals_from_the_log_alone() -> None:
    centre = Centre()
    await part_of_a_day(centre)
    assert await totals(await restarted(centre)) == await totals(centre)


async def test_a_restart_keeps_the_totals_from_snapshot_and_log() -> None:
    centre = Centre(snapshot_events=5)
    await part_of_a_day(centre)
    await centre.server.run_housekeeping()
    assert (await centre.server.report("t")).snapshot_position == 12
    await part_of_a_day(centre)
    again = await restarted(centre)
    assert await totals(again) == await totals(centre)
    report = await again.server.report("t")
    assert (report.position, report.snapshot_position, report.events_applied) == (24, 12, 12)


async def test_a_restart_keeps_the_totals_from_the_snapshot_of_the_stop() -> None:
    centre = Centre()
    await part_of_a_day(centre)
    before = await totals(centre)
    await centre.server.stop()
    again = await restarted(centre)
    assert await totals(again) == before
    assert again.server.counters.events_applied == 0


async def test_a_restart_over_sqlite(tmp_path: Path) -> None:
    centre = Centre(eventlog=SqliteEventLog(tmp_path))
    await centre.server.start()
    await part_of_a_day(centre)
    before = await totals(centre)
    await centre.server.stop()
    await centre.log.close()
    again = Centre(eventlog=SqliteEventLog(tmp_path), clock=centre.clock)
    await again.server.restore()
    assert await totals(again) == before
    await again.log.close()


async def test_time_passes_while_the_hub_is_down() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", agentId="ana"))
    await centre.server.stop()
    centre.clock.advance(600)
    again = await restarted(centre)
    done = await again.server.read(login(), [agent_item(name="LoginDuration")])
    assert done.readings[0].value["intValue"] == 600


async def test_events_that_waited_for_their_time_survive_a_snapshot() -> None:
    centre = Centre()
    await centre.feed(*call(centre, at_s=10), *call(centre, at_s=0))
    await centre.server.stop()
    again = await restarted(centre)
    assert (await again.server.report("t")).held == 2
    centre.clock.advance(10)
    done = await again.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 2


async def test_a_replay_takes_events_in_the_order_in_which_they_counted() -> None:
    centre = Centre()
    await centre.feed(centre.event("cx.agent.login", 10, agentId="ana"))  # arrives first, waits ten seconds
    await centre.feed(centre.event("cx.agent.ready", 0, agentId="ana"), centre.event("cx.agent.notready", 5, agentId="ana"))
    centre.clock.advance(20)
    before = await totals(centre)
    again = await restarted(centre)
    assert await totals(again) == before
    assert again.server.counters.events_skipped == 0


async def test_a_replay_with_the_clock_of_events() -> None:
    centre = Centre(time="events")
    await part_of_a_day(centre)
    again = await restarted(centre, time="events")
    assert await totals(again) == await totals(centre)


async def test_a_replay_lets_the_loop_breathe() -> None:
    centre = Centre(clock=RestlessClock())
    for _ in range(20):
        await centre.feed(*call(centre))
    again = Centre(eventlog=centre.log, clock=centre.clock)
    restoring = asyncio.ensure_future(again.server.restore())
    turns = 0
    while not restoring.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 20


async def test_events_that_are_logged_during_a_replay_are_in_it() -> None:
    centre = Centre(clock=RestlessClock())
    for _ in range(20):
        await centre.feed(*call(centre))
    again = Centre(eventlog=centre.log, clock=centre.clock)
    restoring = asyncio.ensure_future(again.server.restore())
    await asyncio.sleep(0)
    for _ in range(10):
        assert again.server.service_state("t") is ServiceState.UNAVAILABLE
        await again.feed(*call(centre))
        await asyncio.sleep(0)
    await restoring
    done = await again.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 30


class LateLog(MemoryEventLog):
    """A log in which somebody appends between the reader's last look and its end, as can happen when another thread reads."""

    __slots__ = ("then",)

    async def read(self, tenant: str, stream: str, after: int = 0) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
        chunks = [chunk async for chunk in super().read(tenant, stream, after)]
        for chunk in chunks:
            yield chunk
        then, self.then = self.then, None
        if then is not None:
            await then()


async def test_events_that_are_logged_at_the_end_of_a_replay_are_in_it() -> None:
    log = LateLog()
    log.then = None
    centre = Centre(eventlog=log)
    await centre.feed(*call(centre))
    again = Centre(eventlog=log, clock=centre.clock)
    log.then = lambda: again.feed(*call(centre))
    await again.server.restore()
    done = await again.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 2


@pytest.mark.parametrize("state", [b"garbage", msgspec.msgpack.encode([99, b"", []]), msgspec.msgpack.encode([1, b"junk", []])])
async def test_a_snapshot_that_cannot_be_read_is_replaced_by_the_log(state: bytes) -> None:
    centre = Centre()
    await part_of_a_day(centre)
    await centre.log.save_snapshot("t", EVENT_STREAM, OWNER, 3, state)
    assert await totals(await restarted(centre)) == await totals(centre)


async def test_a_record_that_cannot_be_read_is_skipped_and_counted() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    await centre.log.append("t", EVENT_STREAM, [b"garbage", b'{"type":"cx.unknown","time":0,"source":"s","id":"i","data":{}}'])
    again = await restarted(centre)
    assert again.server.counters.events_skipped == 2
    assert (await again.server.report("t")).position == 4
    done = await again.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 1


async def test_a_record_whose_numbers_cannot_be_kept_is_skipped_and_counted() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    await centre.log.append("t", EVENT_STREAM, [b"%b" % OVERSIZE])
    again = await restarted(centre)
    assert again.server.counters.events_skipped == 1
    await again.feed(*call(again))
    await again.server.stop()
    assert (again.server.counters.snapshots, again.server.counters.snapshot_failures) == (1, 0)


async def test_an_event_that_waited_and_cannot_be_read_is_skipped_and_counted_without_the_rest() -> None:
    centre = Centre()
    await centre.feed(*call(centre), *call(centre, at_s=10))
    await centre.server.stop()
    position, raw = await centre.log.load_snapshot("t", EVENT_STREAM, OWNER) or (0, b"")
    version, engine, held = msgspec.msgpack.decode(raw)
    await centre.log.save_snapshot("t", EVENT_STREAM, OWNER, position, msgspec.msgpack.encode([version, engine, [*held, OVERSIZE]]))
    again = await restarted(centre)
    assert again.server.counters.events_skipped == 1
    report = await again.server.report("t")
    assert (report.snapshot_position, report.held) == (4, 2)


async def test_a_snapshot_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    centre = Centre()
    await part_of_a_day(centre)
    await centre.server.stop()
    threads = []
    restore = Engine.restore

    def seen(*args: Any, **options: Any) -> Engine:
        threads.append(threading.current_thread())
        return restore(*args, **options)

    monkeypatch.setattr(Engine, "restore", seen)
    before = sys.getswitchinterval()
    await restarted(centre)
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
    assert sys.getswitchinterval() == before


# -- snapshots ------------------------------------------------------------------------------------------------------


async def test_a_snapshot_is_due_after_so_many_events_or_so_much_time() -> None:
    centre = Centre(snapshot_events=3, snapshot_s=60)
    await centre.feed(*call(centre))
    await centre.server.run_housekeeping()
    assert centre.server.counters.snapshots == 0
    await centre.feed(*call(centre))
    await centre.server.run_housekeeping()
    assert centre.server.counters.snapshots == 1
    await centre.feed(*call(centre))
    centre.clock.advance(60)
    await centre.server.run_housekeeping()
    assert centre.server.counters.snapshots == 2
    centre.clock.advance(60)
    await centre.server.run_housekeeping()
    assert centre.server.counters.snapshots == 2
    assert (await centre.server.report("t")).snapshot_ms == centre.clock.wall - 60_000


async def test_events_and_closings_during_a_snapshot_wait_for_its_end() -> None:
    centre = Centre()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    await centre.feed(*call(centre))
    stopping = asyncio.ensure_future(centre.server.stop())
    await asyncio.sleep(0)
    tenant = centre.server._entries["t"].tenant
    assert tenant is not None
    while not tenant.frozen:
        await asyncio.sleep(0)
    await centre.feed(*call(centre))
    await centre.server.close_subscription(login(), "sub")
    assert (await centre.server.report("t")).events_applied == 2
    await stopping
    assert (await centre.server.report("t")).events_applied == 4
    again = await restarted(centre)
    assert (await again.server.report("t")).snapshot_position == 2
    done = await again.server.read(login(), [agent_item(name="InboundCalls")])
    assert done.readings[0].value["intValue"] == 2


async def test_a_snapshot_of_a_tenant_that_stops_meanwhile_is_given_up() -> None:
    centre = Centre(snapshot_events=1)
    await centre.feed(*call(centre))
    entry = centre.server._entries["t"]
    async with entry.lock:
        saving = asyncio.ensure_future(centre.server.run_housekeeping())
        await asyncio.sleep(0)
        entry.tenant = None
    await saving
    assert centre.server.counters.snapshots == 0


async def test_capturing_gives_the_loop_its_turn_and_leaves_no_trace() -> None:
    centre = Centre()
    await centre.feed(*call(centre))
    await centre.feed(*call(centre), tenant="u")
    before = sys.getswitchinterval()
    first = asyncio.ensure_future(centre.server.stop_service("t"))
    second = asyncio.ensure_future(centre.server.stop_service("u"))
    await asyncio.sleep(0)
    assert sys.getswitchinterval() == CAPTURE_SWITCH_S
    await asyncio.gather(first, second)
    assert sys.getswitchinterval() == before


class FullDisk(MemoryEventLog):
    """A log whose disk is full: a fault of others."""

    __slots__ = ("full",)

    def __init__(self) -> None:
        super().__init__()
        self.full = True

    async def save_snapshot(self, tenant: str, stream: str, owner: str, position: int, state: bytes, fence: Fence | None = None) -> None:
        if self.full:
            raise EventLogError("events.db cannot be written: database or disk is full")
        await super().save_snapshot(tenant, stream, owner, position, state, fence)


async def test_a_snapshot_that_cannot_be_saved_is_counted_and_tried_again() -> None:
    log = FullDisk()
    centre = Centre(eventlog=log, snapshot_events=1)
    await centre.feed(*call(centre))
    await centre.server.run_housekeeping()
    counters = centre.server.counters
    assert (counters.snapshots, counters.snapshot_failures) == (0, 1)
    log.full = False
    await centre.server.run_housekeeping()
    assert counters.snapshots == 0
    centre.clock.advance(60)
    await centre.server.run_housekeeping()
    assert (counters.snapshots, counters.snapshot_failures) == (1, 1)


async def test_a_state_that_has_no_form_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(_: Engine) -> bytes:
        raise OverflowError("Integer value out of range")

    centre = Centre(snapshot_events=1)
    await centre.feed(*call(centre))
    await centre.feed(*call(centre), tenant="u")
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "save", overflow)
        await centre.server.run_housekeeping()
        await centre.server.stop()
    counters = centre.server.counters
    assert (counters.snapshots, counters.snapshot_failures) == (0, 4)
    await centre.server.stop()
    assert (counters.snapshots, counters.snapshot_failures) == (2, 4)
    assert (await (await restarted(centre)).server.report("u")).snapshot_position == 2


async def kept(log: EventLog) -> list[int]:
    return [position async for chunk in log.read("t", EVENT_STREAM) for position, _ in chunk]


async def test_the_log_keeps_ten_minutes_behind_a_snapshot() -> None:
    centre = Centre(snapshot_s=60)
    await centre.feed(*call(centre))
    centre.clock.advance(300)
    await centre.feed(*call(centre))
    centre.clock.advance(299)
    await centre.server.run_housekeeping()
    assert await kept(centre.log) == [1, 2, 3, 4]
    centre.clock.advance(61)
    await centre.feed(*call(centre))
    await centre.server.run_housekeeping()
    assert await kept(centre.log) == [3, 4, 5, 6]


async def test_events_without_a_snapshot_are_never_trimmed() -> None:
    centre = Centre(eventlog=FullDisk(), snapshot_s=60)
    await centre.feed(*call(centre))
    centre.clock.advance(3600)
    await centre.server.run_housekeeping()
    assert await kept(centre.log) == [1, 2]


# -- running --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def running() -> AsyncIterator[Centre]:
    centre = Centre(tick_ms=1)
    await centre.server.start()
    yield centre
    await centre.server.stop()


async def test_a_running_server_tells_changes_by_itself(running: Centre) -> None:
    await running.server.open_subscription(login(), "sub", [agent_item()])
    listener = await running.subscribe("/statistics/v3/updates")
    listener.taken()
    await running.feed(*call(running))
    async with asyncio.timeout(30):
        while not listener.received:
            await asyncio.sleep(0.001)
    assert await running.server.failing() is None


async def test_readiness_says_when_the_server_does_not_run() -> None:
    centre = Centre()
    assert await centre.server.failing() == "the stat server has not been started"
    await centre.server.start()
    centre.server._tasks[0].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "no longer notifies" in (await centre.server.failing() or "")
    await centre.server.stop()


@pytest.mark.parametrize("part", [0, 1])
async def test_a_stop_saves_also_when_a_task_had_failed(part: int) -> None:
    centre = Centre(tick_ms=1)
    await centre.server.start()
    await centre.feed(*call(centre))
    centre.server._tasks[part].cancel()
    await centre.server.stop()
    assert (await (await restarted(centre)).server.report("t")).snapshot_position == 2


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not done():
            await asyncio.sleep(0.001)


async def test_a_round_of_notifications_that_fails_is_counted_and_the_next_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    centre = Centre(tick_ms=1)
    monkeypatch.setattr(centre.server, "tick", failing_once(centre.server.tick))
    await centre.server.start()
    await centre.server.open_subscription(login(), "sub", [agent_item()])
    listener = await centre.subscribe("/statistics/v3/updates")
    listener.taken()
    await until(lambda: centre.server.counters.tick_failures)
    await centre.feed(*call(centre))
    await until(lambda: listener.received)
    assert await centre.server.failing() is None
    assert centre.server.counters.tick_failures == 1
    await centre.server.stop()


async def test_a_round_of_housekeeping_that_fails_is_counted_and_the_next_one_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    centre = Centre(server={"housekeeping_s": 0.001}, tick_ms=1, snapshot_events=1)
    monkeypatch.setattr(centre.server, "run_housekeeping", failing_once(centre.server.run_housekeeping))
    await centre.server.start()
    await centre.feed(*call(centre))
    await until(lambda: centre.server.counters.snapshots)
    assert await centre.server.failing() is None
    assert centre.server.counters.housekeeping_failures == 1
    await centre.server.stop()


def failing_once(work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """``work``, whose first call raises: a fault of others."""
    faults = [RuntimeError("fault")]

    async def call_it() -> None:
        if faults:
            raise faults.pop()
        await work()

    return call_it


async def test_housekeeping_of_one_tenant_that_fails_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    centre = Centre(snapshot_events=1)
    await centre.feed(*call(centre), tenant="a")
    await centre.feed(*call(centre), tenant="b")
    first = centre.server._entries["a"].tenant
    assert first is not None
    first.subscriptions.logins["x"] = object()  # type: ignore[assignment]
    await centre.server.run_housekeeping()
    assert centre.server.counters.housekeeping_failures == 1
    assert (await centre.server.report("b")).snapshot_position == 2


async def test_housekeeping_runs_by_itself(running: Centre) -> None:
    centre = Centre(server={"housekeeping_s": 0.001}, tick_ms=1, snapshot_events=1)
    await centre.server.start()
    await centre.feed(*call(centre))
    async with asyncio.timeout(30):
        while not centre.server.counters.snapshots:
            await asyncio.sleep(0.001)
    await centre.server.stop()
