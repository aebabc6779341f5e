"""Positions of a hub that was alone, which its clients still have, are below all that the log of several nodes gives
(docs/scaling.md#from-one-node-to-several).

The log of the channels, ``channels.db``, is not imported: who comes with a position of it must be told that it has not recovered. That is
so if the log in Redis begins above the positions of the file. It does, unless the clock of the hub that was alone was ahead of that of
Redis. Then the log gets a seam above them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.eventlog.channel_log_redis import Known, RedisChannelLog
from hub.eventlog.channel_log_sqlite import FILE_NAME
from hub.eventlog.interface import EventLogError

_log = structlog.get_logger(__name__)

AGAIN_S: Final = 1.0
"""Seconds until Redis is tried again."""


class OldPositions:
    """A service that lifts the logs in Redis above the positions of the file of the data folder, if there is one. While Redis is away it
    tries again; until it is done nobody can subscribe, since that needs Redis too.
    """

    def __init__(self, data_dir: Path, log: RedisChannelLog, *, again_s: float = AGAIN_S) -> None:
        self._path = data_dir / FILE_NAME
        self._log = log
        self._again_s = again_s
        self._task = BackgroundTask("hub.eventlog.old_positions")

    async def start(self) -> None:
        """Lift the logs now, or as soon as Redis is there.

        Raises:
            EventLogError: the file cannot be read.
        """
        left = dict(await asyncio.to_thread(self._read))
        if left and not await self._lift(left):
            self._task.start(self._go_on(left))

    async def stop(self) -> None:
        """Try no more."""
        await self._task.stop()

    def _read(self) -> Mapping[str, int]:
        """The newest position of each tenant in the file."""
        if not self._path.exists():
            return {}
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as file:
                return dict(file.execute("SELECT tenant, top FROM logs").fetchall())
        except sqlite3.Error as error:
            raise EventLogError(f"{self._path} cannot be read: {error}", self._path) from error

    async def _go_on(self, left: dict[str, int]) -> None:
        while True:
            await asyncio.sleep(self._again_s)
            if await self._lift(left):
                return

    async def _lift(self, left: dict[str, int]) -> bool:
        """Lift the logs of these tenants, and take out those that are done; returns whether all are."""
        try:
            for tenant, position in list(left.items()):
                span = await self._log.open(tenant, Known(position))
                while max(span.floor, span.seam) <= position:  # the log has taken records already, among them some below the position
                    span = await self._log.open(tenant, Known(span.newest + 1))
                    _log.warning("positions_lifted", tenant=tenant, seam=span.seam, above=position)
                del left[tenant]
        except EventLogError as error:
            _log.warning("positions_not_lifted_yet", error=str(error))
            return False
        return True
