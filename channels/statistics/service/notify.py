"""One round of notifications of one tenant: look at the statistics that are due, and send the values that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import structlog

from channels.statistics.engine.values import Value
from channels.statistics.service.counters import Counters
from channels.statistics.service.encoding import Encoder
from channels.statistics.service.interface import UPDATES, VALUES
from channels.statistics.service.notification import NotificationGroup, OpenStatistic, RecipientGroup
from channels.statistics.service.outlet import Outlet
from channels.statistics.service.payloads import statistic_update
from channels.statistics.service.tenant import Tenant
from hub.core.ports import Clock, Loop
from hub.core.time_slice import TimeSlice

_log = structlog.get_logger(__name__)

_LOGINS_A_PIECE = 256
"""Logins that are looked at in one piece: about 0.5 ms."""

SENT_TOGETHER = 1024
"""Logins that are sent the same notification in one piece: 2 ms where the hub has to find them first, which it remembers; little after
that.
"""


class _Update(NamedTuple):
    """An item that a group of recipients is to be sent, and the value that was sent to it before."""

    recipients: RecipientGroup
    last: Value
    item: bytes


_Pending = tuple[OpenStatistic, Value, bytes]
"""An open statistic, the value that was sent of it before, and its item now."""


async def notify_due(
    name: str,
    tenant: Tenant,
    now_ms: int,
    *,
    outlet: Outlet,
    loop: Loop,
    clock: Clock,
    counters: Counters,
    sent_together: int = SENT_TOGETHER,
) -> None:
    """Send what is due of a tenant at ``now_ms`` (monotonic milliseconds) through ``outlet``, in slices.

    A statistic that cannot be computed, and a target that cannot be reached, do not keep the others from being sent. Each such failure is
    counted (``tick_failures``) and tried again later. The first of a round is logged with its traceback; of the others the number is.
    """
    time_slice = TimeSlice(clock, loop)
    while changed := tenant.engine.take_changed(_LOGINS_A_PIECE):
        tenant.notifier.changed(changed, now_ms)
        await time_slice.checkpoint()
    due = tenant.notifier.next_due()
    if due is not None and due <= now_ms:
        await _Round(name, tenant, now_ms, outlet, loop, clock, counters, sent_together).run()


class _Round:
    """What is due at one moment.

    Logins that are sent the same items (a thousand viewers of one wallboard) are one group, for which the notification is put together
    once. If groups overlap, or a statistic is closed meanwhile, each login is handled by itself.
    """

    __slots__ = ("_counters", "_encoder", "_failures", "_name", "_notifier", "_now_ms", "_outlet", "_sent_together", "_time_slice")

    def __init__(
        self,
        name: str,
        tenant: Tenant,
        now_ms: int,
        outlet: Outlet,
        loop: Loop,
        clock: Clock,
        counters: Counters,
        sent_together: int,
    ) -> None:
        self._sent_together = sent_together
        self._name = name
        self._now_ms = now_ms
        self._outlet = outlet
        self._counters = counters
        self._notifier = tenant.notifier
        self._time_slice = TimeSlice(clock, loop)
        self._encoder = Encoder(tenant.engine, self._time_slice)
        self._failures = 0

    async def run(self) -> None:
        """See :func:`notify_due`."""
        closed_count = self._notifier.closed_count
        groups = await self._updates_by_targets()
        disjoint = closed_count == self._notifier.closed_count and _are_disjoint(groups)
        for targets, updates in groups.items() if disjoint else ():
            sent = 0
            while sent < len(targets) and closed_count == self._notifier.closed_count and not targets[0].startswith(VALUES):
                self._send_to_group(targets, updates, sent)
                sent += self._sent_together
                await self._time_slice.checkpoint()
            if sent < len(targets):
                await self._send_to_each(await self._pending_by_target([(updates, sent)]))
        if not disjoint:
            await self._send_to_each(await self._pending_by_target([(updates, 0) for updates in groups.values()]))
        self._counters.tick_failures += self._failures
        if self._failures > 1:
            _log.error("a tick told less than was due", tenant=self._name, failures=self._failures)

    # -- what has to be sent ----------------------------------------------------------------------------------------

    async def _updates_by_targets(self) -> dict[tuple[str, ...], list[_Update]]:
        """What has to be sent, by the targets that get it."""
        found: dict[tuple[str, ...], list[_Update]] = {}
        for group in self._notifier.due(self._now_ms):
            for number, update in enumerate(await self._updates_of(group), 1):
                found.setdefault(update.recipients.targets, []).append(update)
                if number % _LOGINS_A_PIECE == 0:
                    await self._time_slice.checkpoint()
            await self._time_slice.checkpoint()
        return found

    async def _updates_of(self, group: NotificationGroup) -> list[_Update]:
        """To whom a statistic has to be sent, and what."""
        last = group.last
        recipient_groups: Sequence[RecipientGroup] = ()
        try:
            value = await self._encoder.value(group.statistic)
            if not group.members:  # they were closed while the state of a large group was put together
                return []
            recipient_groups = self._notifier.evaluate(group, value, self._now_ms)
            if not recipient_groups:
                return []
            tail = await self._encoder.tail(group.statistic)
            return [_Update(recipients, last, recipients.head + tail) for recipients in recipient_groups]
        except Exception:
            if not self._failures:
                _log.exception("a statistic cannot be told", tenant=self._name, object=group.statistic.object_id)
            self._failures += sum(len(recipients.opened) for recipients in recipient_groups) or len(group.members)
            if not recipient_groups:
                self._notifier.value_failed(group, self._now_ms)
            for recipients in recipient_groups:
                for opened in recipients.opened:
                    self._notifier.send_failed(opened, last, self._now_ms)
            return []

    async def _pending_by_target(self, parts: list[tuple[list[_Update], int]]) -> dict[str, list[_Pending]]:
        """What each login, or values channel, has to be sent. Each part is a list of updates, and the number of the targets that have been
        sent them already.
        """
        found: dict[str, list[_Pending]] = {}
        for updates, sent in parts:
            for recipients, last, item in updates:
                for number, opened in enumerate(recipients.opened[sent:], 1):
                    found.setdefault(opened.target, []).append((opened, last, item))
                    if number % _LOGINS_A_PIECE == 0:
                        await self._time_slice.checkpoint()
            await self._time_slice.checkpoint()
        return found

    # -- sending it -------------------------------------------------------------------------------------------------

    def _send_to_group(self, targets: tuple[str, ...], updates: list[_Update], start: int) -> None:
        """Send some logins of a group, from place ``start`` on, what the whole group is sent."""
        logins = targets[start : start + self._sent_together]
        try:
            self._outlet.emit_to_logins(self._name, UPDATES, statistic_update([update.item for update in updates]), logins)
            self._counters.updates += len(logins)
            self._counters.update_items += len(logins) * len(updates)
        except Exception:
            self._count_failures(targets[start], len(logins))
            for recipients, last, _ in updates:
                for opened in recipients.opened[start : start + self._sent_together]:
                    self._notifier.send_failed(opened, last, self._now_ms)

    async def _send_to_each(self, pending: dict[str, list[_Pending]]) -> None:
        """Send to each login, or values channel, by itself; nothing of a statistic that was closed meanwhile."""
        for target, items in pending.items():
            present = [item for opened, _, item in items if not opened.closed]
            try:
                if present and target.startswith(VALUES):
                    await self._outlet.emit(self._name, target, present[-1])
                    self._counters.values += 1
                elif present:
                    await self._outlet.emit(self._name, UPDATES, statistic_update(present), audience=target)
                    self._counters.updates += 1
                    self._counters.update_items += len(present)
            except Exception:
                self._count_failures(target, 1)
                for opened, last, _ in items:
                    self._notifier.send_failed(opened, last, self._now_ms)
            await self._time_slice.checkpoint()

    def _count_failures(self, target: str, targets: int) -> None:
        if not self._failures:
            _log.exception("a notification cannot be sent", tenant=self._name, target=target)
        self._failures += targets


def _are_disjoint(groups: Iterable[tuple[str, ...]]) -> bool:
    """Whether no target is in two groups."""
    seen: set[str] = set()
    for targets in groups:
        if not seen.isdisjoint(targets):
            return False
        seen.update(targets)
    return True
