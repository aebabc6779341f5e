"""The ids of published messages over Redis (:class:`hub.publishing.shared_ids.SharedIds`)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Final

import structlog

from hub.core.limits import Limits
from hub.publishing.recent_ids import WINDOW_S, Answer, Key, PublishCounters
from hub.publishing.shared_ids import Claim, Claims, State
from hub.redis.commands import RedisRefusedError, RedisUnavailableError
from hub.redis.shared import SharedRedis

PUBLISHING_S: Final = 10
"""Seconds after which a node that began to publish a message, and has not said how that ended, is taken to have died."""

_CALL_BYTES: Final = 8

_log = structlog.get_logger(__name__)


class RedisIds:
    """At most a tenant's share of ``limits.max_publish_ids`` for each tenant, on all nodes together."""

    __slots__ = ("_counters", "_most", "_redis")

    def __init__(self, redis: SharedRedis, limits: Limits, counters: PublishCounters) -> None:
        self._redis = redis
        self._most = max(1, limits.of_tenant(limits.max_publish_ids))
        self._counters = counters

    async def begin(self, tenant: str, messages: Sequence[tuple[Key, bytes]]) -> Claims | None:
        """See :meth:`SharedIds.begin`."""
        call = secrets.token_hex(_CALL_BYTES)
        arguments: list[str | int] = [WINDOW_S * 1000, self._most, PUBLISHING_S * 1000, call]
        for key, content in messages:
            arguments += [_digest(key), content.hex()]
        try:
            commands = self._redis.commands(tenant)
            forgotten, *answers = await commands.run(self._redis.scripts.publish_ids_begin, self._keys(tenant), lambda _: arguments)
        except (RedisUnavailableError, RedisRefusedError) as error:
            self._counters.ids_not_shared += len(messages)
            _log.warning("publish_ids_not_shared", reason=str(error))
            return None
        self._counters.ids_forgotten_early += forgotten
        return Claims(call, [_claim(answer.decode()) for answer in answers])

    async def end(self, tenant: str, call: str, outcomes: Sequence[tuple[Key, Answer, bool]]) -> None:
        """See :meth:`SharedIds.end`."""
        arguments: list[str] = [call]
        for key, answer, published in outcomes:
            arguments += [_digest(key), ("" if answer is None else str(answer)) if published else "-"]
        try:
            await self._redis.commands(tenant).run(self._redis.scripts.publish_ids_end, self._keys(tenant), lambda _: arguments)
        except (RedisUnavailableError, RedisRefusedError) as error:
            self._counters.ids_not_shared += len(outcomes)
            _log.warning("publish_ids_not_shared", reason=str(error))

    def _keys(self, tenant: str) -> list[bytes]:
        names = self._redis.names.of(tenant)
        return [names.publish_ids, names.published]


def _claim(answer: str) -> Claim:
    state, rest = State(answer[0]), answer[1:]
    if state is State.NEW:
        return Claim(state, since_ms=int(rest))
    return Claim(state, answer=int(rest) if rest else None)


def _digest(key: Key) -> str:
    made = hashlib.blake2b(digest_size=16)
    for part in (key.subject, key.id):
        raw = part.encode("utf-8", "surrogatepass")
        made.update(b"%d:%b" % (len(raw), raw))
    return made.hexdigest()
