"""One tick of one tenant: what is due is looked at, and what is news is told."""

from __future__ import annotations

import structlog

from channels.statistics.engine.values import Value
from channels.statistics.service.notices import statistic_update
from channels.statistics.service.notification import OpenStatistic
from channels.statistics.service.owner import UPDATES, VALUES
from channels.statistics.service.pace import Pace
from channels.statistics.service.tenant import Counters, Encoder, Tenant
from hub.core.hub import Hub
from hub.core.ports import Clock

_log = structlog.get_logger(__name__)

_Told = tuple[OpenStatistic, Value, bytes]
"""An open statistic, what had been sent of it before, and its item now."""


async def tell_due(name: str, tenant: Tenant, now_ms: int, *, hub: Hub, clock: Clock, counters: Counters) -> None:
    """Tell what is due of a tenant at ``now_ms`` (monotonic milliseconds), in slices.

    A statistic that cannot be computed and a target that cannot be reached take nothing from the others: each is counted
    (``tick_failures``) and tried again later; the first of a tick is logged with its traceback, of further ones how many they are.
    """
    tenant.catch_up()
    notifier = tenant.notifier
    notifier.changed(tenant.engine.take_changed(), now_ms)
    due = notifier.next_due()
    if due is None or due > now_ms:
        return
    encoder = Encoder(tenant.engine)
    pace = Pace(clock)
    told: dict[str, list[_Told]] = {}
    failures = 0
    for opened in notifier.due(now_ms):
        last = opened.last
        try:
            if notifier.looked(opened, encoder.value(opened.statistic), now_ms):
                told.setdefault(opened.target, []).append((opened, last, encoder.item(opened)))
        except Exception:
            if not failures:
                _log.exception("a statistic cannot be told", tenant=name, target=opened.target, statistic=opened.statistic_id)
            failures += 1
            notifier.failed(opened, last, now_ms)
        await pace.breathe()
    for target, items in told.items():
        try:
            await _tell(name, target, items, hub, counters)
        except Exception:
            if not failures:
                _log.exception("a notification cannot be sent", tenant=name, target=target)
            failures += 1
            for opened, last, _ in items:
                notifier.failed(opened, last, now_ms)
        await pace.breathe()
    counters.tick_failures += failures
    if failures > 1:
        _log.error("a tick told less than was due", tenant=name, failures=failures)


async def _tell(name: str, target: str, items: list[_Told], hub: Hub, counters: Counters) -> None:
    """Tell a login, or a values channel, its items."""
    # what ended between two slices is told no more
    present = [item for opened, _, item in items if not opened.closed]
    if not present:
        return
    if target.startswith(VALUES):
        await hub.emit(name, target, present[-1])
        counters.values += 1
    else:
        await hub.emit(name, UPDATES, statistic_update(present), audience=target)
        counters.updates += 1
        counters.update_items += len(present)
