"""Recognises repeats: events of the same source and id within ten minutes count once (docs/protocol/events.md#duplicates)."""

import hashlib
from collections import deque

_BUCKET_MS = 10_000
"""Keys of events that arrived within one bucket are forgotten together. Small buckets spread this work over many calls."""


def key_of(source: str, identifier: str) -> bytes:
    """The key of (source, id): a hash of 16 bytes. Neither text contains a control character, so the separator is unambiguous."""
    return hashlib.blake2b(f"{source}\x00{identifier}".encode(), digest_size=16).digest()


class Deduplicator:
    """The keys of one tenant's events within the window, with their times of arrival; at most ``at_most`` keys."""

    __slots__ = ("_arrived", "_buckets", "_max", "_window_ms")

    def __init__(self, *, window_ms: int, at_most: int) -> None:
        self._window_ms = window_ms
        self._max = at_most
        self._arrived: dict[bytes, int] = {}
        self._buckets: deque[tuple[int, list[bytes]]] = deque()

    def __contains__(self, key: bytes) -> bool:
        return key in self._arrived

    def __len__(self) -> int:
        return len(self._arrived)

    def seen(self, key: bytes, now_ms: int) -> bool:
        """Whether an event with this key arrived within the window that ends now."""
        arrived = self._arrived.get(key)
        return arrived is not None and now_ms - arrived <= self._window_ms

    def remember(self, key: bytes, arrived_ms: int) -> None:
        """Keep the key of an accepted event. Times of arrival never go back."""
        number = arrived_ms // _BUCKET_MS
        if not self._buckets or self._buckets[-1][0] < number:
            self._buckets.append((number, []))
        self._buckets[-1][1].append(key)
        self._arrived[key] = arrived_ms

    def forget(self, now_ms: int) -> int:
        """Forget keys that have left the window, and the oldest if there are too many; returns how many were still within the window."""
        early = 0
        while self._buckets:
            number, keys = self._buckets[0]
            old = (number + 1) * _BUCKET_MS - 1 < now_ms - self._window_ms
            if not old and len(self._arrived) <= self._max:
                break
            self._buckets.popleft()
            for key in keys:
                # the key may have a later time: an event with it came again after the window
                if self._arrived.get(key, -1) // _BUCKET_MS == number:
                    del self._arrived[key]
                    early += not old
        return early
