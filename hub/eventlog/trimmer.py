"""Deletes the records of log channels that exceed the retention, as a service of the node."""

import asyncio

import structlog

from hub.background import BackgroundTask
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.interface import EventLogError

EVERY_S = 10.0
"""Seconds between two sweeps. Between them, a log may exceed its retention by the messages that are published."""

_log = structlog.get_logger(__name__)


class Trimmer:
    """One task; start and stop it as any :class:`hub.family.Service`."""

    __slots__ = ("_log", "_task", "trimmed")

    def __init__(self, log: ChannelLog) -> None:
        self._log = log
        self._task = BackgroundTask("hub.eventlog.trimmer")
        self.trimmed = 0
        """Records deleted since the start."""

    async def start(self) -> None:
        """Begin to sweep."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop sweeping."""
        await self._task.stop()

    async def sweep(self) -> None:
        """Sweep once."""
        try:
            self.trimmed += await self._log.trim()
        except EventLogError as error:  # the log grows until the next sweep; publishers get the error
            _log.error("log_not_trimmed", error=str(error))

    async def _run(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(EVERY_S)
