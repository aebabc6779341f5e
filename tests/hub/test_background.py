"""One task of a service: started once, stopped at any time, and its errors are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.background import BackgroundTask, RetentionJob, unordered
from hub.storage.transactions import StorageError


async def _for_ever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        ended.append("ended")


async def test_stop_waits_until_the_work_has_ended() -> None:
    ended: list[str] = []
    task = BackgroundTask("test.work")
    task.start(_for_ever(ended))
    await asyncio.sleep(0)
    assert task.running
    await task.stop()
    assert ended == ["ended"]
    assert not task.running


async def test_stop_without_work_and_twice_does_no_harm() -> None:
    task = BackgroundTask("test.work")
    await task.stop()
    task.start(_for_ever([]))
    await task.stop()
    await task.stop()
    assert not task.running


async def test_a_second_start_is_refused_while_the_first_runs() -> None:
    task = BackgroundTask("test.work")
    task.start(_for_ever([]))
    with pytest.raises(RuntimeError, match=r"test\.work runs already"):
        task.start(_for_ever([]))
    await task.stop()
    task.start(_for_ever([]))
    await task.stop()


async def fails() -> None:
    raise ValueError("of the work")


async def cancels_itself() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.parametrize("work", [fails, cancels_itself])
async def test_an_end_that_nobody_ordered_is_logged_counted_and_told(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    task = BackgroundTask("test.work")
    before = unordered.counters.failed
    with capture_logs() as logs:
        task.start(work())
        while task.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [(line["event"], line["task"], line["log_level"]) for line in logs] == [("background_task_failed", "test.work", "error")]
    assert unordered.counters.failed == before + 1
    assert "test.work" in str(await unordered.trouble())
    task.start(_for_ever([]))  # it works again
    assert "test.work" not in str(await unordered.trouble())
    await task.stop()
    assert unordered.counters.failed == before + 1


async def test_an_end_that_was_ordered_is_told_to_nobody() -> None:
    task = BackgroundTask("test.work")
    task.start(asyncio.sleep(0))
    while task.running:
        await asyncio.sleep(0)
    task.start(_for_ever([]))
    await asyncio.sleep(0)
    await task.stop()
    assert "test.work" not in str(await unordered.trouble())


async def test_a_task_of_a_service_that_fails_is_told_until_the_service_is_gone() -> None:
    task = unordered.watch(asyncio.get_running_loop().create_task(fails(), name="test.other"))
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert "test.other" in str(await unordered.trouble())
    del task
    assert "test.other" not in str(await unordered.trouble())


async def test_what_the_work_raises_is_logged_at_once() -> None:
    async def fails() -> None:
        raise ValueError("of the work")

    task = BackgroundTask("test.work")
    with capture_logs() as logs:
        task.start(fails())
        while task.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    (entry,) = logs
    assert (entry["event"], entry["task"], str(entry["exc_info"])) == ("background_task_failed", "test.work", "of the work")
    await task.stop()


async def test_a_stop_that_is_cancelled_ends() -> None:
    """Whoever cancels the stopper is heard, also where the work takes its time to end."""
    released = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()

    task = BackgroundTask("test.work")
    task.start(slow_to_end())
    await asyncio.sleep(0)
    stopper = asyncio.create_task(task.stop())
    await asyncio.sleep(0)
    stopper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopper
    released.set()


class Rounds(RetentionJob):
    """Notes the numbers of its rounds; the second one fails."""

    def __init__(self, period_s: float, first_after_s: float = 0.0) -> None:
        super().__init__("test.rounds", period_s=period_s, first_after_s=first_after_s, failed="test_not_trimmed")
        self.numbers: list[int] = []
        self.three = asyncio.Event()

    async def round(self, number: int) -> None:
        self.numbers.append(number)
        if number == 2:
            self.three.set()
        await super().round(number)

    async def trim(self) -> int:
        if len(self.numbers) == 2:
            raise StorageError("no database")
        return 0


async def test_a_round_that_fails_is_logged_and_the_next_one_tries_again() -> None:
    job = Rounds(period_s=0.0)
    with capture_logs() as logs:
        await job.start()
        async with asyncio.timeout(20):
            await job.three.wait()
        await job.stop()
    assert job.numbers[:3] == [0, 1, 2]
    assert [each["event"] for each in logs] == ["test_not_trimmed"]


async def test_the_first_round_may_be_later() -> None:
    job = Rounds(period_s=0.0, first_after_s=60.0)
    await job.start()
    await asyncio.sleep(0.01)
    await job.stop()
    assert job.numbers == []
