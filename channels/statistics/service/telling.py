"""One tick of one tenant: what is due is looked at, and what is news is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import structlog

from channels.statistics.engine.values import Value
from channels.statistics.service.encoding import Encoder
from channels.statistics.service.notices import statistic_update
from channels.statistics.service.notification import Crowd, OpenStatistic, Standing
from channels.statistics.service.owner import UPDATES, VALUES
from channels.statistics.service.pace import Pace
from channels.statistics.service.tenant import Counters, Tenant
from hub.core.hub import Hub
from hub.core.ports import Clock

_log = structlog.get_logger(__name__)

_LOGINS_A_PIECE = 256
"""Logins that are looked at in one piece: 0.5 ms or so."""

_TOLD_TOGETHER = 1024
"""Logins that are told the same in one piece: 2 ms where the hub has to find them first, which it remembers; hardly anything after that."""


class _News(NamedTuple):
    """An item that a crowd is to be told, and what had been sent to it before."""

    crowd: Crowd
    last: Value
    item: bytes


_Told = tuple[OpenStatistic, Value, bytes]
"""An open statistic, what had been sent of it before, and its item now."""

_Target = tuple[str, list[_Told]]


async def tell_due(name: str, tenant: Tenant, now_ms: int, *, hub: Hub, clock: Clock, counters: Counters) -> None:
    """Tell what is due of a tenant at ``now_ms`` (monotonic milliseconds), in slices.

    A statistic that cannot be computed and a target that cannot be reached take nothing from the others: each is counted
    (``tick_failures``) and tried again later; the first of a tick is logged with its traceback, of further ones how many they are.
    """
    pace = Pace(clock)
    while changed := tenant.engine.take_changed(_LOGINS_A_PIECE):
        tenant.notifier.changed(changed, now_ms)
        await pace.breathe()
    due = tenant.notifier.next_due()
    if due is not None and due <= now_ms:
        await _Round(name, tenant, now_ms, hub, clock, counters).run()


class _Round:
    """What is due at one moment.

    Logins that are told the very same, which is what a thousand of the same wallboard are, are one crowd: what they are told is put
    together once. Where crowds overlap, or somebody leaves meanwhile, each login is looked at by itself.
    """

    __slots__ = ("_counters", "_encoder", "_failures", "_hub", "_name", "_notifier", "_now_ms", "_pace")

    def __init__(self, name: str, tenant: Tenant, now_ms: int, hub: Hub, clock: Clock, counters: Counters) -> None:
        self._name = name
        self._now_ms = now_ms
        self._hub = hub
        self._counters = counters
        self._notifier = tenant.notifier
        self._pace = Pace(clock)
        self._encoder = Encoder(tenant.engine, self._pace)
        self._failures = 0

    async def run(self) -> None:
        """See :func:`tell_due`."""
        closings = self._notifier.closings
        crowds = await self._look()
        apart = closings == self._notifier.closings and _disjoint(crowds)
        for targets, news in crowds.items() if apart else ():
            told = 0
            while told < len(targets) and closings == self._notifier.closings and not targets[0].startswith(VALUES):
                self._tell_crowd(targets, news, told)
                told += _TOLD_TOGETHER
                await self._pace.breathe()
            if told < len(targets):
                await self._tell_each(await self._by_target([(news, told)]))
        if not apart:
            await self._tell_each(await self._by_target([(news, 0) for news in crowds.values()]))
        self._counters.tick_failures += self._failures
        if self._failures > 1:
            _log.error("a tick told less than was due", tenant=self._name, failures=self._failures)

    # -- what is news -----------------------------------------------------------------------------------------------

    async def _look(self) -> dict[tuple[str, ...], list[_News]]:
        """What is to be told, by those who get it."""
        found: dict[tuple[str, ...], list[_News]] = {}
        for standing in self._notifier.due(self._now_ms):
            for number, news in enumerate(await self._news(standing), 1):
                found.setdefault(news.crowd.targets, []).append(news)
                if number % _LOGINS_A_PIECE == 0:
                    await self._pace.breathe()
            await self._pace.breathe()
        return found

    async def _news(self, standing: Standing) -> list[_News]:
        """Who is to be told of a statistic, and what."""
        last = standing.last
        crowds: Sequence[Crowd] = ()
        try:
            value = await self._encoder.value(standing.statistic)
            if not standing.members:  # they ended while the state of a large group was put together
                return []
            crowds = self._notifier.looked(standing, value, self._now_ms)
            if not crowds:
                return []
            tail = await self._encoder.tail(standing.statistic)
            return [_News(crowd, last, crowd.head + tail) for crowd in crowds]
        except Exception:
            if not self._failures:
                _log.exception("a statistic cannot be told", tenant=self._name, object=standing.statistic.object_id)
            self._failures += sum(len(crowd.opened) for crowd in crowds) or len(standing.members)
            if not crowds:
                self._notifier.unseen(standing, self._now_ms)
            for crowd in crowds:
                for opened in crowd.opened:
                    self._notifier.failed(opened, last, self._now_ms)
            return []

    async def _by_target(self, parts: list[tuple[list[_News], int]]) -> dict[str, list[_Told]]:
        """What each login, or values channel, is to be told; of each crowd from some place on."""
        told: dict[str, list[_Told]] = {}
        for news, since in parts:
            for crowd, last, item in news:
                for number, opened in enumerate(crowd.opened[since:], 1):
                    told.setdefault(opened.target, []).append((opened, last, item))
                    if number % _LOGINS_A_PIECE == 0:
                        await self._pace.breathe()
            await self._pace.breathe()
        return told

    # -- telling it -------------------------------------------------------------------------------------------------

    def _tell_crowd(self, targets: tuple[str, ...], news: list[_News], since: int) -> None:
        """Tell some logins of a crowd what all of it is told."""
        logins = targets[since : since + _TOLD_TOGETHER]
        try:
            self._hub.emit_to_logins(self._name, UPDATES, statistic_update([each.item for each in news]), logins)
            self._counters.updates += len(logins)
            self._counters.update_items += len(logins) * len(news)
        except Exception:
            self._fault(targets[since], len(logins))
            for crowd, last, _ in news:
                for opened in crowd.opened[since : since + _TOLD_TOGETHER]:
                    self._notifier.failed(opened, last, self._now_ms)

    async def _tell_each(self, told: dict[str, list[_Told]]) -> None:
        """Tell each login, or values channel, by itself. What has ended meanwhile is told no more."""
        for target, items in told.items():
            present = [item for opened, _, item in items if not opened.closed]
            try:
                if present and target.startswith(VALUES):
                    await self._hub.emit(self._name, target, present[-1])
                    self._counters.values += 1
                elif present:
                    await self._hub.emit(self._name, UPDATES, statistic_update(present), audience=target)
                    self._counters.updates += 1
                    self._counters.update_items += len(present)
            except Exception:
                self._fault(target, 1)
                for opened, last, _ in items:
                    self._notifier.failed(opened, last, self._now_ms)
            await self._pace.breathe()

    def _fault(self, target: str, targets: int) -> None:
        if not self._failures:
            _log.exception("a notification cannot be sent", tenant=self._name, target=target)
        self._failures += targets


def _disjoint(crowds: Iterable[tuple[str, ...]]) -> bool:
    """Whether nobody is in two crowds."""
    seen: set[str] = set()
    for targets in crowds:
        if not seen.isdisjoint(targets):
            return False
        seen.update(targets)
    return True
