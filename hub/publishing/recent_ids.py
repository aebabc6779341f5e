"""Remembers the ids of published messages, so that a message that is sent again within ten minutes is not published again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from hub.core.limits import Limits
from hub.core.ports import Clock

WINDOW_S: Final = 600
"""Seconds for which an id is remembered."""

Answer = int | None
"""The position of a message on a log channel; None on others."""


@dataclass(slots=True)
class PublishCounters:
    """What publishing by REST counts; ``/metrics`` reads them."""

    repeats: int = 0
    """Messages that had been published under the same id already: they were answered as the first time, and reached nobody again."""
    ids_forgotten_early: int = 0
    """Ids that were forgotten before their ten minutes were over, because there were too many."""
    ids_not_shared: int = 0
    """Ids that only this node knows, because Redis did not answer."""


class Key(NamedTuple):
    """The publisher of a message, and the id that it gave the message."""

    tenant: str
    subject: str
    id: str


class _Known(NamedTuple):
    content: bytes
    until: float
    answer: asyncio.Future[Answer]


class OtherContentError(ValueError):
    """The publisher used the id for another message within the last ten minutes."""


class RecentIds:
    """The ids of one process, in memory: at most ``limits.max_publish_ids``, of which one tenant may have its share."""

    __slots__ = ("_by_tenant", "_clock", "_count", "_counters", "_limits")

    def __init__(self, clock: Clock, limits: Limits, counters: PublishCounters) -> None:
        self._clock = clock
        self._limits = limits
        self._counters = counters
        self._by_tenant: dict[str, OrderedDict[Key, _Known]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def begin(self, key: Key, content: bytes) -> tuple[asyncio.Future[Answer], bool]:
        """Look up an id. Returns the future of the message's answer, and whether the id is new. If it is new, the caller must publish the
        message and set the future. ``content`` is a digest of the whole message.

        Raises:
            OtherContentError: the id was used for another message.
        """
        now = self._clock.monotonic()
        self._forget(key.tenant, now)
        of_tenant = self._by_tenant.setdefault(key.tenant, OrderedDict())
        known = of_tenant.get(key)
        if known is not None:
            if known.content != content:
                raise OtherContentError(key.id)
            self._counters.repeats += 1
            return known.answer, False
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        of_tenant[key] = _Known(content, now + WINDOW_S, answer)
        self._count += 1
        return answer, True

    def failed(self, key: Key) -> None:
        """Note that the message was not published, and forget its id, so that it is published when it is sent again."""
        of_tenant = self._by_tenant.get(key.tenant)
        if of_tenant is not None and of_tenant.pop(key, None) is not None:
            self._count -= 1

    def _forget(self, tenant: str, now: float) -> None:
        """Make room for one more id of a tenant."""
        self._expire(tenant, now)
        share = self._limits.of_tenant(self._limits.max_publish_ids)
        if len(self._by_tenant.get(tenant, ())) >= share:
            self._drop_oldest(tenant)
        if self._count >= max(1, self._limits.max_publish_ids):
            for each in list(self._by_tenant):
                self._expire(each, now)
            while self._count >= max(1, self._limits.max_publish_ids):
                self._drop_oldest(max(self._by_tenant, key=lambda name: len(self._by_tenant[name])))

    def _expire(self, tenant: str, now: float) -> None:
        of_tenant = self._by_tenant.get(tenant)
        while of_tenant and next(iter(of_tenant.values())).until <= now:
            of_tenant.popitem(last=False)
            self._count -= 1
        if of_tenant is not None and not of_tenant:
            del self._by_tenant[tenant]

    def _drop_oldest(self, tenant: str) -> None:
        self._by_tenant[tenant].popitem(last=False)
        self._count -= 1
        self._counters.ids_forgotten_early += 1
        if not self._by_tenant[tenant]:
            del self._by_tenant[tenant]
