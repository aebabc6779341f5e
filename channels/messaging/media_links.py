"""The URLs of media: the one that stands in messages, and signed links by which third parties fetch a file."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import quote

from hub.core.ports import Clock

SCHEME: Final = "genesys://nexus/"
"""What the synthetic URL of a media resource begins with; its id follows (docs/protocol/messaging.md#media)."""


class MediaLinks:
    """Makes and checks links to media that need no other credential and expire after a time."""

    __slots__ = ("_clock", "_key", "_lifetime_ms")

    def __init__(self, secret: bytes, clock: Clock, lifetime_h: float) -> None:
        self._key = hmac.new(secret, b"messaging media links", hashlib.sha256).digest()
        self._clock = clock
        self._lifetime_ms = round(lifetime_h * 3_600_000)

    def make(self, base_url: str, channel: str, identifier: str) -> str:
        """A link to a media resource of a channel. ``base_url``, without a slash at its end, is where the third party finds the hub."""
        expires = self._clock.wall_ms() + self._lifetime_ms
        path = f"/nexus/v3/channels/{quote(channel, safe='')}/media/{identifier}"
        return f"{base_url}{path}?expires={expires}&signature={self._sign(channel, identifier, expires)}"

    def good(self, channel: str, identifier: str, expires: str, signature: str) -> bool:
        """Whether the hub made this link, and it has not expired."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 16 and signature.isascii()):
            return False
        return hmac.compare_digest(self._sign(channel, identifier, int(expires)), signature) and int(expires) > self._clock.wall_ms()

    def _sign(self, channel: str, identifier: str, expires: int) -> str:
        return hmac.new(self._key, f"{channel}/{identifier}/{expires}".encode(), hashlib.sha256).hexdigest()
