"""Bounds how often browsers sign in with tokens: each such sign-in may be ended, and its end is remembered for a month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.security.failures import FailureCounts

WINDOW_S: Final = 3600


@dataclass(slots=True)
class TokenSignInCounters:
    """What is counted of sign-ins with tokens; ``/metrics`` reads them."""

    refused: int = 0
    """Sign-ins with a token that were refused: setting `limits.token_sign_ins_per_h`."""


class TokenSignIns:
    """Counts the sign-ins with tokens of each tenant, in this process. Whoever has a token could sign in and out in a loop, without the
    cost of a password; an ended sign-in has to be remembered for as long as a copy of its cookie could be shown.
    """

    __slots__ = ("_counts", "counters")

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._counts = FailureCounts(clock, limits.token_sign_ins_per_h, WINDOW_S)
        self.counters = TokenSignInCounters()

    def wait_s(self, tenant: str) -> int:
        """Count a sign-in. Returns 0 if it may go on, else the seconds until the tenant may sign in again."""
        wait_s = self._counts.wait_s(tenant)
        if wait_s:
            self.counters.refused += 1
        else:
            self._counts.tried(tenant)
        return wait_s
