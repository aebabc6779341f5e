"""Decides files whose content a hub was looking at when it was killed."""

from __future__ import annotations

import asyncio

import structlog

from channels.files.service_files import FileService
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.objects.store import ObjectStoreError
from hub.storage.transactions import StorageError

_log = structlog.get_logger(__name__)


class BrokenChecks:
    """Takes over checks: at the start of a hub that is alone each that began before, later those that are older than their lease."""

    def __init__(self, files: FileService, clock: Clock, *, alone: bool = True) -> None:
        """``alone``: no other hub uses the database."""
        self._files = files
        self._clock = clock
        self._alone = alone
        self._task = BackgroundTask("files.broken-checks")

    async def start(self) -> None:
        """Start to take over checks, once in the time of a lease."""
        # of a hub that is alone, whoever began a check before is gone
        first_ms = self._clock.wall_ms() if self._alone else None
        self._task.start(self._run(first_ms))

    async def stop(self) -> None:
        """Stop it; a second call does nothing."""
        await self._task.stop()

    async def take_over(self, before_ms: int | None = None) -> int:
        """Decide the files whose check began before a moment; None: those whose lease is over. Returns how many were decided.

        Raises:
            StorageError: the database cannot be used.
            ObjectStoreError: the store does not answer; the next call goes on.
        """
        if before_ms is None:
            before_ms = self._clock.wall_ms() - self._files.check_lease_ms
        return await self._files.resume(before_ms)

    async def _run(self, before_ms: int | None) -> None:
        while True:
            try:
                await self.take_over(before_ms)
            except (StorageError, ObjectStoreError):
                _log.exception("broken_checks_not_taken_over")  # the next round goes on
            before_ms = None
            await asyncio.sleep(self._files.check_lease_ms / 1000)
