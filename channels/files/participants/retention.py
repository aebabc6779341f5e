"""Ends chats whose time is over or in which nothing is said any more, and deletes those that ended long ago."""

from __future__ import annotations

from typing import Final

from channels.files.participants.service import ChatService
from hub.background import RetentionJob

EVERY_S: Final = 60.0

MAX_AT_ONCE: Final = 20
"""Chats that one transaction deletes at most: each may have thousands of items."""


class ChatRetention(RetentionJob):
    """Ends chats, and deletes old ones, once a minute."""

    def __init__(self, chats: ChatService, *, period_s: float = EVERY_S) -> None:
        super().__init__("files.chats", period_s=period_s, failed="chats_not_trimmed")
        self._chats = chats

    async def round(self, number: int) -> None:
        """End what is over or silent, then delete what is old."""
        await self._chats.end_expired()
        await self._chats.end_idle()
        await self.trim()

    async def trim(self) -> int:
        """Delete chats that ended long ago. Returns how many.

        Raises:
            StorageError: the database cannot be written.
        """
        return await self._chats.trim(MAX_AT_ONCE)
