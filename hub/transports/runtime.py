"""Implements the interfaces of ``hub.core.ports`` with asyncio and the clocks of the operating system."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

import structlog
import uvloop

from hub.background import BackgroundTask
from hub.core.timers import RESOLUTION_S, Timers

SWEEP_S: Final = 0.0005
"""Seconds of one turn of the event loop in which timers fire. Thousands are due together when many clients have gone at once; what others
are sent waits for each of these turns.
"""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class SystemClock:
    """:class:`hub.core.ports.Clock` of the operating system."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wall_us(self) -> int:
        return time.time_ns() // 1_000


class AsyncioLoop:
    """:class:`hub.core.ports.Loop` of a running asyncio loop. Make it where that loop runs."""

    __slots__ = ("_loop", "_tasks")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # asyncio holds tasks weakly: without a reference here a task could be collected before its end
        self._tasks: set[asyncio.Task[None]] = set()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._loop.call_soon(callback)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def breathe(self) -> None:
        await asyncio.sleep(0)

    def signal(self) -> asyncio.Future[None]:
        return self._loop.create_future()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_work_failed", work=task.get_coro().__qualname__, exc_info=error)  # type: ignore[union-attr]

    async def close(self) -> None:
        """Cancel the tasks that still run, and wait until they have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # _done logs their exceptions


class TimerDriver:
    """One task that fires the due timers of the hub, and calls the functions ``beside`` as often. It is a
    :class:`hub.family.Service`.
    """

    __slots__ = ("_beside", "_task", "_timers")

    def __init__(self, timers: Timers, *beside: Callable[[], bool]) -> None:
        """What is ``beside`` returns whether it goes on in the next turn of the loop, because its time was used up."""
        self._timers = timers
        self._beside = beside
        self._task = BackgroundTask("hub.transports.timers")

    async def start(self) -> None:
        """Start to fire due timers, every ``RESOLUTION_S`` seconds."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop the task. Timers stay set."""
        await self._task.stop()

    async def _run(self) -> None:
        every = (self._sweep, *self._beside)
        going_on: list[Callable[[], bool]] = []
        due_at = 0.0
        while True:
            await asyncio.sleep(0 if going_on else RESOLUTION_S)
            now = time.monotonic()
            due = now >= due_at or not going_on
            if due:
                due_at = now + RESOLUTION_S
            going_on = [work for work in (every if due else going_on) if self._goes_on(work)]

    @staticmethod
    def _goes_on(work: Callable[[], bool]) -> bool:
        try:
            return work()
        except Exception:
            # a callback raised an error: the timers after it are still set, and the next sweep fires them
            _log.exception("timer_failed")
            return False

    def _sweep(self) -> bool:
        """When thousands are due at once, such as after the loss of a proxy, they fire in several slices without a pause."""
        self._timers.sweep(time.monotonic() + SWEEP_S)
        return self._timers.overdue


@contextlib.contextmanager
def tuned_collector() -> Iterator[None]:
    """Set garbage collection for a process with many long-lived objects: it skips all objects of the start-up, and runs less often. With
    the default thresholds, full collections with tens of thousands of sessions block the event loop. There is one for 100 million objects
    that are made and not freed soon: it would find little, for connections, requests and sessions leave no circles of references.

    A process that skips objects already keeps them as they are: they could only be let go of together with those of its own.
    """
    before = gc.get_threshold()
    gc.collect()
    freezes = gc.get_freeze_count() == 0
    if freezes:
        gc.freeze()
    gc.set_threshold(50_000, 1, 666)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if freezes:
            gc.unfreeze()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on a new uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
