"""Looks at the databases of a running hub from time to time, so that ``/readyz`` tells of them without traffic, and of their recovery."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from hub.background import BackgroundTask
from hub.eventlog.interface import EventLogError
from hub.storage.condition import Condition
from hub.storage.reasons import Reason
from hub.storage.transactions import StorageError

REFRESH_S: Final = 600.0
"""Seconds between two stamps of a file (:meth:`hub.storage.identity.FileIdentity.stamp`): an older copy is recognised from then on."""

_log = structlog.get_logger(__name__)


class Watched(Protocol):
    """A database that is looked at."""

    condition: Condition

    async def look(self) -> None:
        """Find out how it is, and leave it to the condition; an error of the database is raised as well."""
        ...

    async def trouble(self) -> Reason | None:
        """How it is now, within a second or so."""
        ...

    async def refresh(self) -> None:
        """Renew that by which the database is known."""
        ...


class StorageWatch:
    """A service."""

    __slots__ = ("_every_s", "_tasks", "_watched")

    def __init__(self, watched: Sequence[Watched], every_s: float) -> None:
        """``every_s``: seconds from the end of one look to the next."""
        self._watched = tuple(watched)
        self._every_s = every_s
        self._tasks = [BackgroundTask("hub.storage.watch") for _ in self._watched]

    async def start(self) -> None:
        """Begin to look; each database by itself, for one that is locked makes wait."""
        for task, watched in zip(self._tasks, self._watched, strict=True):
            task.start(self._run(watched))

    async def stop(self) -> None:
        """Look no more."""
        for task in self._tasks:
            await task.stop()

    async def _run(self, watched: Watched) -> None:
        loop = asyncio.get_running_loop()
        stamped = loop.time()
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await watched.look()
                if loop.time() - stamped > REFRESH_S:
                    stamped = loop.time()
                    await watched.refresh()
            except (StorageError, EventLogError, OSError, sqlite3.Error) as error:
                _log.debug("database_look_failed", fault=str(error))  # the condition has said so, once
