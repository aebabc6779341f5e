"""Ends the WebSockets of participants who are gone, or whose tenant or admitter is: no item of a transcript tells of that
(docs/protocol/participants.md#websocket).
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from channels.files.participants.admitters import Admitters
from channels.files.participants.endpoint import ParticipantSockets
from channels.files.participants.errors import UnknownParticipantError
from channels.files.participants.service import ChatService
from hub.background import BackgroundTask
from hub.core.ports import Clock
from hub.storage.transactions import StorageError

LOOK_S: Final = 0.5
"""Seconds between two looks whether anything has changed; no database is asked. With that by which a node hears of changes it is 2 s at
most.
"""

EVERY_S: Final = 60.0
"""Seconds after which all are looked up in any case."""

_log = structlog.get_logger(__name__)


class ChatWatch:
    """A service of the family."""

    __slots__ = ("_admitters", "_chats", "_clock", "_every_s", "_sockets", "_task")

    def __init__(
        self, sockets: ParticipantSockets, chats: ChatService, admitters: Admitters, clock: Clock, *, every_s: float = EVERY_S
    ) -> None:
        self._sockets = sockets
        self._chats = chats
        self._admitters = admitters
        self._clock = clock
        self._every_s = every_s
        self._task = BackgroundTask("files.chats.watch")

    async def start(self) -> None:
        """Begin."""
        self._task.start(self._run())

    async def stop(self) -> None:
        """Stop."""
        await self._task.stop()

    async def _run(self) -> None:
        seen, due = self._admitters.generation, self._clock.monotonic() + self._every_s
        failing = False
        while True:
            await asyncio.sleep(LOOK_S)
            generation = self._admitters.generation
            if generation == seen and self._clock.monotonic() < due:
                continue
            try:
                await self._check()
            except StorageError:  # looked up again at the next look
                if not failing:
                    _log.exception("participants cannot be looked up")
                failing = True
                continue
            failing = False
            seen, due = generation, self._clock.monotonic() + self._every_s

    async def _check(self) -> None:
        for participant in await self._sockets.end_gone():  # whose admitters are gone
            try:
                await self._chats.remove(participant.tenant, participant.id)
            except UnknownParticipantError:  # with its tenant, or with its chat
                continue
