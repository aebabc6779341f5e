"""Limits tries to sign in: by one process (:class:`SignInBrake`), or by all nodes that share a Redis
(:class:`hub.security.brake_redis.SharedSignInBrake`)."""

from __future__ import annotations

from dataclasses import dataclass

from hub.security.passwords import FailureBrake


@dataclass(slots=True)
class BrakeCounters:
    """What the limit on failed sign-ins counts; ``/metrics`` reads them."""

    asked: int = 0
    """Times that Redis was asked for the failed sign-ins of an address and user."""
    unavailable: int = 0
    """Times that Redis did not answer, and this process alone counted failed sign-ins."""


class Attempt:
    """One try to sign in. The caller says how it ended, unless it has to wait."""

    __slots__ = ("address", "counted", "known", "tenant", "user", "wait_s")

    def __init__(self, address: str, tenant: str, user: str) -> None:
        self.address = address
        self.tenant = tenant
        self.user = user
        self.wait_s = 0
        """Seconds to wait before another try; 0 if this one may go on."""
        self.known = False
        """Whether this process knew of an earlier try that failed, or that is not over."""
        self.counted = False
        """Whether the try is counted as a failure for all nodes already."""

    @property
    def who(self) -> str:
        """Tenant and user, as the brake of one process counts them."""
        return f"{self.tenant}\x00{self.user}"


class SignInBrake:
    """Limits the failures of one address and user, as ``limits.sign_in_failures`` and ``limits.sign_in_window_s`` say, in this process."""

    __slots__ = ("counters", "local")

    def __init__(self, local: FailureBrake) -> None:
        self.local = local
        self.counters = BrakeCounters()

    async def begin(self, address: str, tenant: str, user: str) -> Attempt:
        """Count a try. It counts as failed until :meth:`succeeded` is called, so that many tries at once are limited too."""
        attempt = Attempt(address, tenant, user)
        attempt.wait_s = self.local.wait_s(address, attempt.who)
        if not attempt.wait_s:
            attempt.known = self.local.watches(address, attempt.who)
            self.local.tried(address, attempt.who)
        return attempt

    async def failed(self, attempt: Attempt) -> None:
        """Note that a try failed."""

    async def succeeded(self, attempt: Attempt) -> None:
        """Note that a try succeeded, and forget earlier failures."""
        self.local.succeeded(attempt.address, attempt.who)
