"""Ends chats whose time is over or in which nothing is said any more, and deletes those that ended long ago."""

from __future__ import annotations

from typing import Final

from channels.files.participants.service import ChatService
from hub.background import RetentionJob
from hub.core.ports import Clock

EVERY_S: Final = 60.0

MAX_AT_ONCE: Final = 20
"""Chats that one transaction deletes at most: each may have thousands of items."""


class ChatRetention(RetentionJob):
    """Ends chats, and deletes old ones, once a minute."""

    def __init__(self, chats: ChatService, steady: Clock, *, period_s: float = EVERY_S) -> None:
        """``steady`` tells what is old: who talks must not be put out because a clock was set."""
        super().__init__("files.chats", period_s=period_s, failed="chats_not_trimmed")
        self._chats = chats
        self._steady = steady

    async def round(self, number: int) -> None:
        """End what is over or silent, then delete what is old."""
        now_ms = self._steady.wall_ms()
        await self._chats.end_expired(now_ms)
        await self._chats.end_idle(now_ms)
        await self.trim()

    async def trim(self) -> int:
        """Delete chats that ended long ago. Returns how many.

        Raises:
            StorageError: the database cannot be written.
        """
        return await self._chats.trim(MAX_AT_ONCE, self._steady.wall_ms())
