"""Wrong codes of devices that users have typed: nobody finds one by guessing (RFC 8628 section 5.1)."""

from __future__ import annotations

from typing import Final

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.security.failures import FailureCounts
from hub.security.oauth.models import Person

MAX_USERS: Final = 10_000
"""Users of a tenant whose wrong codes are counted; of more, those whose last try is the oldest are forgotten."""


class CodeGuesses:
    """Counts the wrong codes of each user, from whatever address, in this process.

    A right code makes its own try uncounted, and leaves the wrong ones before it: every user has a right code at hand, that of a device of
    their own, and could guess without end if it made them forgotten. Only signed-in users come here, and each tenant has a count of its
    own, so that nobody makes the users of another tenant forgotten.
    """

    __slots__ = ("_clock", "_limits", "_of_tenant")

    def __init__(self, clock: Clock, limits: Limits) -> None:
        """``limits`` says how many wrong codes are let through: as many as wrong passwords."""
        self._clock = clock
        self._limits = limits
        self._of_tenant: dict[str, FailureCounts] = {}

    def begin(self, person: Person) -> int:
        """Count a try, which is wrong unless it is taken back, so that many at once are limited too. Returns 0; or, if nothing is counted,
        the seconds to wait.
        """
        counts = self._of_tenant.get(person.tenant)
        if counts is None:
            most, window_s = self._limits.sign_in_failures, self._limits.sign_in_window_s
            counts = self._of_tenant[person.tenant] = FailureCounts(self._clock, most, window_s, max_watched=MAX_USERS)
        wait_s = counts.wait_s(person.id)
        if not wait_s:
            counts.tried(person.id)
        return wait_s

    def take_back(self, person: Person) -> None:
        """The last try was right, or nobody knows whether it was."""
        self._of_tenant[person.tenant].take_back(person.id)
