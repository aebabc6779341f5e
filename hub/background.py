"""What runs in the background while a hub runs: one task of a service, and the deletion of what is old in rounds."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog

from hub.objects.store import ObjectStoreError
from hub.storage.transactions import StorageError

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class BackgroundCounters:
    """What is counted of tasks in the background; each field becomes ``hub_background_<field>_total``."""

    failed: int = 0
    """Tasks of services that ended though nobody had ordered it: by an exception that nobody expected. What they did is done no more."""


class Unordered:
    """The tasks of this process that ended though nobody had ordered it, and were not started again: ``/readyz`` tells of them."""

    __slots__ = ("_names", "counters")

    def __init__(self) -> None:
        # by the task: one whose service is gone is of no interest
        self._names: WeakKeyDictionary[object, str] = WeakKeyDictionary()
        self.counters = BackgroundCounters()

    def watch(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """Note if a task raises an exception, which only a mistake in the hub does; returns the task. It has a name."""
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.note(task, task.get_name(), error)

    def note(self, task: object, name: str, error: BaseException | None) -> None:
        """A task has ended by an exception, or with None because something within it was cancelled."""
        self.counters.failed += 1
        self._names[task] = name
        _log.error("background_task_failed", task=name, exc_info=error)

    def forget(self, task: object) -> None:
        """It was started again, or stopped."""
        self._names.pop(task, None)

    async def trouble(self) -> str | None:
        """Which tasks have ended; None if none has. The check of ``/readyz``."""
        names = sorted(set(self._names.values()))
        return f"ended by a mistake in the hub, and work no more until it is started again: {', '.join(names)}" if names else None


unordered: Final = Unordered()
"""Those of this process."""


class BackgroundTask:
    """One task of a service. An end that nobody ordered is logged at once and told by ``/readyz`` (:class:`Unordered`), because nothing
    awaits the task until the service stops.
    """

    __slots__ = ("__weakref__", "_name", "_task")

    def __init__(self, name: str) -> None:
        """``name`` is the name of the asyncio task, and appears in the log."""
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it has been started, and has neither ended nor been stopped."""
        return self._task is not None and not self._task.done()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until it ends or is stopped.

        Raises:
            RuntimeError: the previous work still runs.
        """
        if self.running:
            work.close()
            raise RuntimeError(f"{self._name} runs already")
        unordered.forget(self)
        self._task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel the work and wait until it has ended. Does nothing if there is no work."""
        task, self._task = self._task, None
        unordered.forget(self)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if task is self._task:
                unordered.note(self, self._name, None)
        elif (error := task.exception()) is not None:
            unordered.note(self, self._name, error)
            if task is not self._task:  # it was being stopped: nobody misses it
                unordered.forget(self)


class RetentionJob(ABC):
    """A service that deletes what is old, in rounds. A round that fails is logged, and the next one tries again."""

    def __init__(self, name: str, *, period_s: float, first_after_s: float = 0.0, failed: str) -> None:
        """``name`` is that of the task. There is a round every ``period_s`` seconds, the first one after ``first_after_s``; ``failed`` is
        the event of the log when a round fails.
        """
        self._period_s = period_s
        self._first_after_s = first_after_s
        self._failed = failed
        self._task = BackgroundTask(name)

    async def start(self) -> None:
        """Start the rounds."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop them; a second call does nothing."""
        await self._task.stop()

    @abstractmethod
    async def trim(self) -> int:
        """Delete now what is old. Returns how many rows were deleted.

        Raises:
            StorageError: the database cannot be written.
            ObjectStoreError, OSError: a file could not be removed.
        """

    async def round(self, number: int) -> None:
        """The work of a round, which are numbered from 0."""
        await self.trim()

    async def _run(self) -> None:
        await asyncio.sleep(self._first_after_s)
        for number in itertools.count():
            try:
                await self.round(number)
            except (StorageError, ObjectStoreError, OSError):
                structlog.get_logger(type(self).__module__).exception(self._failed)
            await asyncio.sleep(self._period_s)
