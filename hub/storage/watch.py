"""Checks the databases of a running hub at intervals, so that ``/readyz`` knows their state even without traffic, and their recovery."""

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
"""Seconds between two stamps of a file (:meth:`hub.storage.identity.FileIdentity.stamp`). After a stamp, older copies are recognised."""

_log = structlog.get_logger(__name__)


class Watched(Protocol):
    """A database that is checked."""

    condition: Condition

    async def look(self) -> None:
        """Check the database and update the condition; a fault of the database is raised as an error, too."""
        ...

    async def trouble(self) -> Reason | None:
        """What is wrong with it now, None if nothing is; the answer takes about a second at most."""
        ...

    async def refresh(self) -> None:
        """Renew the mark by which the database is recognised; see :meth:`hub.storage.interface.Backend.refresh`."""
        ...


class StorageWatch:
    """Checks databases at intervals, as a service of the node."""

    __slots__ = ("_every_s", "_tasks", "_watched")

    def __init__(self, watched: Sequence[Watched], every_s: float) -> None:
        """``every_s``: seconds from the end of one check to the next."""
        self._watched = tuple(watched)
        self._every_s = every_s
        self._tasks = [BackgroundTask("hub.storage.watch") for _ in self._watched]

    async def start(self) -> None:
        """Begin to check. Each database has a task of its own, since the check of a locked one takes long."""
        for task, watched in zip(self._tasks, self._watched, strict=True):
            task.start(self._run(watched))

    async def stop(self) -> None:
        """Stop checking."""
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
                _log.debug("database_look_failed", fault=str(error))  # the condition has logged the change once
