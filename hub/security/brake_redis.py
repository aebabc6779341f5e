"""The limit on failed sign-ins that nodes share over Redis (docs/scaling.md#sign-in)."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import structlog

from hub.core.limits import Limits
from hub.core.ports import Clock
from hub.redis.commands import RedisRefusedError, RedisUnavailableError
from hub.redis.shared import SharedRedis
from hub.security.brake import Attempt, SignInBrake, Sleep
from hub.security.models import is_tenant_name

_TIMEOUT_S: Final = 1.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class SharedSignInBrake(SignInBrake):
    """Counts failures in Redis too, where a number lives as long as its time window.

    Redis is asked where a try has failed, and before a try where this process knows of a failure already. A sign-in that succeeds at once
    asks nobody. So each further node lets one address and user try once more than ``limits.sign_in_failures``. The failures of an address
    and of a user are counted there too, by tenant; a node that is told that there are too many keeps to it for the rest of the window. If
    Redis does not answer, each process goes by its own count.
    """

    __slots__ = ("_max_failures", "_redis", "_sums", "_window_ms")

    def __init__(self, clock: Clock, redis: SharedRedis, limits: Limits, sleep: Sleep = asyncio.sleep) -> None:
        super().__init__(clock, limits, sleep)
        self._redis = redis
        self._max_failures = limits.sign_in_failures
        self._window_ms = limits.sign_in_window_s * 1000
        self._sums = ((self.addresses, limits.sign_in_failures_per_address), (self.users, limits.sign_in_failures_per_user))
        """The counts over several users or addresses, and how many failures each lets through."""

    async def begin(self, address: str, tenant: str, user: str, device: str | None = None) -> Attempt:
        """See :meth:`SignInBrake.begin`."""
        attempt = await super().begin(address, tenant, user, device)
        if attempt.known and not attempt.wait_s and self._max_failures:
            await self._count(attempt)
        return attempt

    async def failed(self, attempt: Attempt) -> None:
        """See :meth:`SignInBrake.failed`."""
        if not attempt.counted and self._max_failures:
            await self._count(attempt)
        for (counts, most), key in zip(self._sums, (attempt.address, attempt.who), strict=True):
            if most and (told := await self._add(attempt, key)) is not None and told[0] >= most:
                counts.reached(key, told[1] / 1000)

    async def succeeded(self, attempt: Attempt) -> None:
        """See :meth:`SignInBrake.succeeded`. The count of all nodes is forgotten where this process knew of a failure."""
        await super().succeeded(attempt)
        if attempt.counted:
            await self._answer(self._redis.commands(attempt.tenant).call("DEL", self._key(attempt, *attempt.pair)))

    async def _count(self, attempt: Attempt) -> None:
        answer = await self._add(attempt, *attempt.pair)
        if answer is None:
            return
        attempt.counted = True
        count, left_ms = answer
        if count > self._max_failures:
            self.counters.refused += 1
            attempt.wait_s = max(1, math.ceil(left_ms / 1000))

    async def _add(self, attempt: Attempt, *counted: str) -> tuple[int, int] | None:
        """Count a failure for all nodes; the failures so far, and the milliseconds that are left of their window. None: nobody knows."""
        if not is_tenant_name(attempt.tenant):  # there is no such user: Redis keeps nothing of what anybody may make up
            return None
        commands, key = self._redis.commands(attempt.tenant), self._key(attempt, *counted)
        script = self._redis.scripts.sign_in_try
        answer = await self._answer(commands.run(script, [key], lambda _: [self._window_ms], timeout_s=_TIMEOUT_S))
        return None if answer is None else (answer[0], answer[1])

    async def _answer(self, asked: Awaitable[Any]) -> Any:
        """What Redis answers; None if it does not."""
        self.counters.asked += 1
        try:
            return await asked
        except (RedisUnavailableError, RedisRefusedError) as error:
            self.counters.unavailable += 1
            _log.warning("sign_in_failures_not_shared", reason=str(error))
            return None

    def _key(self, attempt: Attempt, *counted: str) -> bytes:
        return self._redis.names.of(attempt.tenant).sign_in_failures(_digest(*counted))


def _digest(*parts: str) -> str:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        made.update(b"%d:%b" % (len(raw), raw))
    return made.hexdigest()
