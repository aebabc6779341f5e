"""How often others get their turn while something runs: long work gives way again and again."""

from __future__ import annotations

import asyncio


class Turns:
    """Counts the turns of the event loop from its making to :meth:`stop`."""

    def __init__(self) -> None:
        self.taken = 0
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.taken += 1

    def stop(self) -> int:
        """Count no more; returns how many there were."""
        self._task.cancel()
        return self.taken
