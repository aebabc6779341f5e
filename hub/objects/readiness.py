"""The check of ``/readyz`` for the object store."""

from __future__ import annotations

import asyncio
from typing import Final

from hub.core.ports import Clock
from hub.objects.store import ObjectStore

CHECKED_S: Final = 30.0
"""Seconds between two checks: each writes to the store, and a cloud asks money for it."""

CHECKED_AGAIN_S: Final = 5.0
"""Seconds after a check that found something wrong: an operator waits for the next."""

ANSWERS_S: Final = 2.0
"""Seconds that ``/readyz`` waits for a check, which may be repeated for `objects.retry_s`: who asks does not wait longer either."""


class StoreReadiness:
    """Remembers what the last check of a store has found."""

    __slots__ = ("_at", "_clock", "_found", "_store", "_task")

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._at: float | None = None
        self._found: str | None = None
        self._task: asyncio.Task[str | None] | None = None
        """A check that is under way."""

    async def trouble(self) -> str | None:
        """What was wrong with the store when it was last checked; None: nothing."""
        if self._task is None and self._is_due():
            self._task = asyncio.create_task(self._store.check(), name="objects.check")
        if (task := self._task) is not None:
            done, _ = await asyncio.wait({task}, timeout=ANSWERS_S)
            if not done:
                return self._found or f"the store has not answered for {ANSWERS_S:g} s"
            if self._task is task:  # of several that waited, the first
                self._task, self._at = None, self._clock.monotonic()
                self._found = task.result()
        return self._found

    def _is_due(self) -> bool:
        period_s = CHECKED_S if self._found is None else CHECKED_AGAIN_S
        return self._at is None or self._clock.monotonic() - self._at >= period_s
