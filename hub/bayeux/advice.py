"""The advice that replies carry: what a client does next, and when (docs/protocol/bayeux.md#advice)."""

from __future__ import annotations

from collections.abc import Callable

from hub.bayeux.replies import advice
from hub.core.limits import Limits

JITTER_MS = 5000
"""The longest interval that is advised when many clients come back at once."""

LIMITED_INTERVAL_MS = 1000
"""The shortest interval that is advised when a handshake was refused for a limit: an interval of 0 would be a storm."""


class Advice:
    """The advice of one server, each as the encoded member ``advice``, led by a comma."""

    __slots__ = ("_jitter", "_timeout_ms", "draining", "later", "many_clients", "none", "retry")

    def __init__(self, limits: Limits, jitter: Callable[[int], int]) -> None:
        """``jitter(n)`` gives a number of milliseconds below ``n``, by which clients that all come back at once are spread."""
        self._jitter = jitter
        self._timeout_ms = limits.timeout_ms
        self.draining = False
        """Whether the server sends its clients away, which must not all come back at once."""
        self.retry = advice("retry", limits.interval_ms, limits.timeout_ms)
        """What every good reply to a handshake or connect carries."""
        self.many_clients = advice("retry", limits.many_clients_interval_ms, limits.timeout_ms, many_clients=True)
        """For a client whose browser has as many connects held as it may."""
        self.later = advice("retry", max(limits.interval_ms, LIMITED_INTERVAL_MS), limits.timeout_ms)
        """For a client whose connect showed a bad credential, and may show it again."""
        self.none = advice("none", 0, limits.timeout_ms)
        """For a client that must not come back by itself."""

    def handshake(self, *, spread: bool = False) -> bytes:
        """What goes with 402 on a connect; the interval is 0, or spread over 5 s while the server drains, and with ``spread``, where many
        clients have lost their sessions at once.
        """
        interval = 1 + self._jitter(JITTER_MS) if self.draining or spread else 0
        return advice("handshake", interval, self._timeout_ms)

    def limited(self) -> bytes:
        """What goes with a handshake that was refused for a limit: an interval spread over 1 to 5 s."""
        return advice("handshake", LIMITED_INTERVAL_MS + self._jitter(JITTER_MS - LIMITED_INTERVAL_MS), self._timeout_ms)
