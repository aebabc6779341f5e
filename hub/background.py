"""Work that runs beside everything else for as long as a service does: sweeps, look-ups that repeat, followers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class BackgroundTask:
    """One task of a service. What it raises is logged at once, since nobody awaits it before the service stops."""

    __slots__ = ("_name", "_task")

    def __init__(self, name: str) -> None:
        """``name`` stands in the log and in the list of the loop's tasks."""
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it has been started, and has neither ended nor been stopped."""
        return self._task is not None and not self._task.done()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` until it ends or is stopped.

        Raises:
            RuntimeError: the one before runs still.
        """
        if self.running:
            work.close()
            raise RuntimeError(f"{self._name} runs already")
        self._task = asyncio.get_running_loop().create_task(work, name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Cancel the work and wait until it has ended. Without work there is nothing to do."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_task_failed", task=self._name, exc_info=error)
