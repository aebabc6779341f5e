"""The limit on failed sign-ins that nodes share over Redis (docs/scaling.md#sign-in)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import structlog

from hub.core.limits import Limits
from hub.redis.commands import RedisRefusedError, RedisUnavailableError
from hub.redis.shared import SharedRedis
from hub.security.brake import Attempt, SignInBrake
from hub.security.models import is_tenant_name
from hub.security.passwords import FailureBrake

_TIMEOUT_S: Final = 1.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class SharedSignInBrake(SignInBrake):
    """Counts failures in Redis too, where a number lives as long as its time window.

    Redis is asked where a try has failed, and before a try where this process knows of a failure already. A sign-in that succeeds at once
    asks nobody. So each further node lets one address and user try once more than ``limits.sign_in_failures``. If Redis does not answer,
    each process goes by its own count.
    """

    __slots__ = ("_max_failures", "_redis", "_window_ms")

    def __init__(self, local: FailureBrake, redis: SharedRedis, limits: Limits) -> None:
        super().__init__(local)
        self._redis = redis
        self._max_failures = limits.sign_in_failures
        self._window_ms = limits.sign_in_window_s * 1000

    async def begin(self, address: str, tenant: str, user: str) -> Attempt:
        """See :meth:`SignInBrake.begin`."""
        attempt = await super().begin(address, tenant, user)
        if attempt.known and not attempt.wait_s and self._max_failures:
            await self._count(attempt)
        return attempt

    async def failed(self, attempt: Attempt) -> None:
        """See :meth:`SignInBrake.failed`."""
        if not attempt.counted and self._max_failures:
            await self._count(attempt)

    async def succeeded(self, attempt: Attempt) -> None:
        """See :meth:`SignInBrake.succeeded`. The count of all nodes is forgotten where this process knew of a failure."""
        await super().succeeded(attempt)
        if attempt.counted:
            await self._answer(self._redis.commands(attempt.tenant).call("DEL", self._key(attempt)))

    async def _count(self, attempt: Attempt) -> None:
        if not is_tenant_name(attempt.tenant):  # there is no such user: Redis keeps nothing of what anybody may make up
            return
        script, keys = self._redis.scripts.sign_in_try, [self._key(attempt)]
        commands = self._redis.commands(attempt.tenant)
        answer = await self._answer(commands.run(script, keys, lambda _: [self._window_ms], timeout_s=_TIMEOUT_S))
        if answer is None:
            return
        attempt.counted = True
        count, left_ms = answer
        if count > self._max_failures:
            attempt.wait_s = max(1, math.ceil(left_ms / 1000))

    async def _answer(self, asked: Awaitable[Any]) -> Any:
        """What Redis answers; None if it does not."""
        self.counters.asked += 1
        try:
            return await asked
        except (RedisUnavailableError, RedisRefusedError) as error:
            self.counters.unavailable += 1
            _log.warning("sign_in_failures_not_shared", reason=str(error))
            return None

    def _key(self, attempt: Attempt) -> bytes:
        return self._redis.names.of(attempt.tenant).sign_in_failures(_digest(attempt.address, attempt.tenant, attempt.user))


def _digest(*parts: str) -> str:
    made = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        made.update(b"%d:%b" % (len(raw), raw))
    return made.hexdigest()
