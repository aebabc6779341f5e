"""The keys that sign ID tokens: which one signs now, which are published, and when the next is made (RFC 7517).

A new key is published :data:`AHEAD_MS` before it signs, so that clients that keep the key set know it by then; an old one stays published
for :data:`AFTER_MS` after its last token.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

HOUR_MS: Final = 3_600_000
AHEAD_MS: Final = 24 * HOUR_MS
AFTER_MS: Final = 24 * HOUR_MS
SIGNS_MS: Final = 90 * 24 * HOUR_MS
"""How long a key signs."""

RS256: Final = "RS256"
"""Signs ID tokens: every client of OpenID Connect knows it (Core section 15.1)."""
ES256: Final = "ES256"
"""Signs ``X-GWS-User``: a header has to be short."""
ALGORITHMS: Final = (RS256, ES256)


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """The life of one key; times are in milliseconds since 1970 UTC."""

    kid: str
    algorithm: str
    signs_from_ms: int
    signs_until_ms: int

    @property
    def gone_ms(self) -> int:
        """From when on it need not be published."""
        return self.signs_until_ms + AFTER_MS


def signer(keys: Iterable[KeyTimes], algorithm: str, now_ms: int) -> KeyTimes | None:
    """The key that signs now: the newest one that may. If every key has ended, the last one goes on, since a node that could not make a
    successor must still let users in. If none has begun, the first one signs: the clock of the node that made it is ahead.
    """
    own = [key for key in keys if key.algorithm == algorithm]
    begun = [key for key in own if key.signs_from_ms <= now_ms]
    if not begun:
        return min(own, key=lambda key: key.signs_from_ms, default=None)
    return max(begun, key=lambda key: key.signs_from_ms)


def published(keys: Iterable[KeyTimes], now_ms: int) -> list[KeyTimes]:
    """The keys of the key set: those that sign, will sign, or have signed tokens that are still good."""
    keys = list(keys)
    signing = {signer(keys, algorithm, now_ms) for algorithm in ALGORITHMS}
    return [key for key in keys if key in signing or key.gone_ms > now_ms]


def next_key_from(keys: Iterable[KeyTimes], algorithm: str, now_ms: int) -> int | None:
    """From when on a key signs that has to be made now; None: none is needed yet."""
    last = max((key for key in keys if key.algorithm == algorithm), key=lambda key: key.signs_until_ms, default=None)
    if last is None:
        return now_ms
    if last.signs_until_ms - now_ms > AHEAD_MS:
        return None
    return max(last.signs_until_ms, now_ms + AHEAD_MS)


def rotated_from(keys: Iterable[KeyTimes], algorithm: str, now_ms: int) -> int:
    """From when on a key signs that is made at once by wish of an administrator: as soon as every client can know it."""
    return now_ms if signer(keys, algorithm, now_ms) is None else now_ms + AHEAD_MS
