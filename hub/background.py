"""A task that runs in the background while a service runs, such as regular deletions and repeated look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class BackgroundTask:
    """One task of a service. An exception in it is logged at once, because nothing awaits the task until the service stops."""

    __slots__ = ("_name", "_task")

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
        self._task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel the work and wait until it has ended. Does nothing if there is no work."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_task_failed", task=self._name, exc_info=error)
