"""The service that lets the log forget."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from hub.core.message import Topic
from hub.eventlog.channel_log import Retention
from hub.eventlog.channel_log_memory import MemoryChannelLog
from hub.eventlog.trimmer import Trimmer
from tests.world import ManualClock


async def test_it_sweeps_when_it_starts() -> None:
    log = MemoryChannelLog(ManualClock(), Retention(max_messages=2))
    for _ in range(3):
        await log.append(Topic("t", "", "/log/a"), b"1", b"")
    trimmer = Trimmer(log)
    await trimmer.start()
    async with asyncio.timeout(30):
        while not trimmer.trimmed:
            await asyncio.sleep(0)
    await trimmer.stop()
    await trimmer.stop()
    assert trimmer.trimmed == 1


async def test_a_log_that_fails_does_not_end_it() -> None:
    log = MemoryChannelLog(ManualClock())
    await log.append(Topic("t", "", "/log/a"), b"1", b"")
    await log.close()
    trimmer = Trimmer(log)
    with capture_logs() as logs:
        await trimmer.sweep()
    assert trimmer.trimmed == 0
    # a log that is away for a while is expected, and needs no stack
    assert [(line["event"], "exc_info" in line) for line in logs] == [("log_not_trimmed", False)]
    assert logs[0]["error"]
