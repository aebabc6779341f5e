"""Makes the sender of webhooks at the first request: a hub without endpoints never imports the HTTP client, which takes 8 MB."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hub.core.ports import Clock
from hub.outbox.guard import Guard
from hub.outbox.models import Endpoint, OutboxEvent
from hub.outbox.outcome import Outcome
from hub.outbox.settings import OutboxSettings

if TYPE_CHECKING:
    from hub.outbox.sender import Sender


class DeferredSender:
    """A :class:`hub.outbox.sender.Sender` that is made and started by the first call of :meth:`send`."""

    __slots__ = ("_clock", "_guard", "_making", "_sender", "_settings")

    def __init__(self, guard: Guard, clock: Clock, settings: OutboxSettings) -> None:
        self._guard = guard
        self._clock = clock
        self._settings = settings
        self._sender: Sender | None = None
        self._making = asyncio.Lock()

    async def start(self) -> None:
        """Nothing is opened before the first request."""

    async def stop(self) -> None:
        """Close every connection."""
        async with self._making:
            if self._sender is not None:
                await self._sender.stop()
                self._sender = None

    async def send(self, endpoint: Endpoint, event: OutboxEvent, attempt: int, timeout_s: float) -> Outcome:
        """See :meth:`hub.outbox.sender.Sender.send`."""
        sender = self._sender or await self._made()
        return await sender.send(endpoint, event, attempt, timeout_s)

    async def _made(self) -> Sender:
        async with self._making:
            if self._sender is None:
                # in a thread: the import takes a third of a second, for which nobody else should wait
                sender = await asyncio.to_thread(_import)
                made = sender(self._guard, self._clock, self._settings)
                await made.start()
                self._sender = made
            return self._sender


def _import() -> type[Sender]:
    from hub.outbox.sender import Sender

    return Sender
