"""Limits tries to sign in: by one process (:class:`SignInBrake`), or by all nodes that share a Redis
(:class:`hub.security.brake_redis.SharedSignInBrake`). docs/security.md#tries-to-sign-in has the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.security.connections import address_key
from hub.security.failures import FailureCounts, KnownAddresses

Sleep = Callable[[float], Awaitable[object]]


@dataclass(slots=True)
class BrakeCounters:
    """What the limit on failed sign-ins counts; ``/metrics`` reads them."""

    asked: int = 0
    """Times that Redis was asked for the failed sign-ins of an address and user."""
    unavailable: int = 0
    """Times that Redis did not answer, and this process alone counted failed sign-ins."""
    refused: int = 0
    """Tries that were refused, since too many of this address failed for this user."""
    refused_address: int = 0
    """Tries that were refused, since too many of this address failed, for whatever users."""
    slowed: int = 0
    """Tries that had to wait, since too many failed for this user from all addresses."""
    refused_slowed: int = 0
    """Tries that were refused, since too many waited already for this user, its tenant, or all."""


class Attempt:
    """One try to sign in. The caller says how it ended, unless it has to wait."""

    __slots__ = ("address", "counted", "device", "known", "slowed", "tenant", "user", "wait_s")

    def __init__(self, address: str, tenant: str, user: str, device: str | None = None) -> None:
        self.address = address_key(address)
        self.tenant = tenant
        self.user = user
        self.device = device
        """The number of a browser in which the user has signed in before."""
        self.wait_s = 0
        """Seconds to wait before another try; 0 if this one may go on."""
        self.slowed = False
        """Whether this one has to wait before the password is checked: :meth:`SignInBrake.slow_down`."""
        self.known = False
        """Whether this process knew of an earlier try that failed, or that is not over."""
        self.counted = False
        """Whether the try is counted as a failure for all nodes already."""

    @property
    def source(self) -> str:
        """Where the try comes from, as failures are counted: the browser, if the user has signed in in it before, whatever address it has
        now; the address otherwise.
        """
        return self.address if self.device is None else f"device {self.device}"

    @property
    def who(self) -> str:
        """Tenant and user, as the counts of one process have them."""
        return f"{self.tenant}\x00{self.user}"

    @property
    def pair(self) -> tuple[str, str]:
        """Source and user."""
        return self.source, self.who


class Queue:
    """The tries that wait before their password is checked, of each user, of each tenant and of all."""

    __slots__ = ("_by_tenant", "_by_user", "_limits", "_waiting")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_user: dict[str, int] = {}
        self._by_tenant: dict[str, int] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def enter(self, attempt: Attempt) -> bool:
        """Take a place; False: there is none."""
        most = self._limits.max_sign_ins_slowed
        mine, of_tenant = self._by_user.get(attempt.who, 0), self._by_tenant.get(attempt.tenant, 0)
        full = self._waiting >= most or of_tenant >= max(1, self._limits.of_tenant(most))
        if full or mine >= self._limits.max_sign_ins_slowed_per_user:
            return False
        self._by_user[attempt.who] = mine + 1
        self._by_tenant[attempt.tenant] = of_tenant + 1
        self._waiting += 1
        return True

    def leave(self, attempt: Attempt) -> None:
        """Give a place back."""
        self._waiting -= 1
        for counts, key in ((self._by_user, attempt.who), (self._by_tenant, attempt.tenant)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]


class SignInBrake:
    """Limits failures within ``limits.sign_in_window_s``, in this process.

    Those of one address and user, and those of one address, are refused until the window is over. Those of one user from all addresses
    are slowed down and never refused for good: nobody can lock a user out by guessing. Who comes from an address from which that user has
    signed in, or in such a browser, is neither slowed down nor counted with the address: only its own failures count.
    """

    __slots__ = ("_delay_s", "_sleep", "addresses", "counters", "known", "pairs", "slow", "users")

    def __init__(self, clock: Clock, limits: Limits | None = None, sleep: Sleep = asyncio.sleep) -> None:
        limits = limits or Limits()
        self.pairs = FailureCounts(clock, limits.sign_in_failures, limits.sign_in_window_s)
        self.addresses = FailureCounts(clock, limits.sign_in_failures_per_address, limits.sign_in_window_s)
        self.users = FailureCounts(clock, limits.sign_in_failures_per_user, limits.sign_in_window_s)
        self.known = KnownAddresses(clock)
        self.slow = Queue(limits)
        self.counters = BrakeCounters()
        self._delay_s = limits.sign_in_delay_ms / 1000
        self._sleep = sleep

    @property
    def delay_s(self) -> float:
        """For how long a try is slowed down, in seconds."""
        return self._delay_s

    async def begin(self, address: str, tenant: str, user: str, device: str | None = None) -> Attempt:
        """Count a try. It counts as failed until :meth:`succeeded` is called, so that many tries at once are limited too."""
        attempt = Attempt(address, tenant, user, device)
        trusted = device is not None or self.known.knows(attempt.address, tenant, user)
        attempt.wait_s = self.pairs.wait_s(attempt.pair)
        if attempt.wait_s:
            self.counters.refused += 1
            return attempt
        if not trusted:
            attempt.wait_s = self.addresses.wait_s(attempt.address)
            if attempt.wait_s:
                self.counters.refused_address += 1
                return attempt
            attempt.slowed = self.users.wait_s(attempt.who) > 0
        attempt.known = self.pairs.count(attempt.pair) > 0
        self.pairs.tried(attempt.pair)
        self.addresses.tried(attempt.address)
        self.users.tried(attempt.who)
        return attempt

    async def slow_down(self, attempt: Attempt) -> bool:
        """Let a slowed try wait; False at once if too many wait already. Nothing else waits with it."""
        if not self.slow.enter(attempt):
            self.counters.refused_slowed += 1
            return False
        self.counters.slowed += 1
        try:
            await self._sleep(self._delay_s)
        finally:
            self.slow.leave(attempt)
        return True

    async def failed(self, attempt: Attempt) -> None:
        """Note that a try failed."""

    async def succeeded(self, attempt: Attempt) -> None:
        """Note that a try succeeded: forget earlier failures of its address and user, and know the address from now on."""
        self.pairs.forget(attempt.pair)
        self.addresses.take_back(attempt.address)
        self.users.take_back(attempt.who)
        self.known.note(attempt.address, attempt.tenant, attempt.user)
