"""Answers to requests for the values of statistics, put together in slices. The caller holds the tenant's lock."""

from __future__ import annotations

from collections.abc import Sequence

from channels.statistics.engine.engine import Engine
from channels.statistics.engine.values import Value
from channels.statistics.service.encoding import Encoder
from channels.statistics.service.interface import Reading, Readings
from channels.statistics.service.notification import OpenStatistic
from channels.statistics.service.payloads import encoding_value, statistic_update
from channels.statistics.service.requests import Refusal, Wanted, parse_item
from channels.statistics.service.subscriptions import Subscription
from channels.statistics.service.tenant import Tenant
from hub.core.time_slice import TimeSlice


async def open_statistics(
    tenant: Tenant,
    subscription: Subscription,
    items: Sequence[object],
    *,
    verbose: bool,
    now_ms: int,
    max_profiles: int,
    time_slice: TimeSlice,
) -> Readings:
    """Open what ``items`` describe for a new subscription, and make it known if at least one can be opened."""
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    taken: set[str] = set()
    try:
        for item in items:
            wanted = parse_item(item, taken)
            if isinstance(wanted, Refusal):
                refusals.append(wanted)
            elif not tenant.engine.has_room(wanted.opened.definition, max_profiles):
                refusals.append(_too_many_profiles(wanted, max_profiles))
            else:
                opened = await time_slice.run(tenant.opening_for_subscription(subscription, wanted, now_ms, verbose=verbose))
                readings.append(await _reading_of(opened, opened.last, tenant.engine.now_ms, time_slice))
            await time_slice.checkpoint()
    except BaseException:
        tenant.discard(subscription)
        raise
    if readings:
        tenant.register(subscription, now_ms)
    return Readings(readings, refusals, subscription.id)


async def peek_statistics(tenant: Tenant, subscription: Subscription, statistic_ids: Sequence[str], time_slice: TimeSlice) -> Readings:
    """The present values of a subscription: of all its statistics, or of those that ``statistic_ids`` name."""
    encoder = Encoder(tenant.engine, time_slice)
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    for statistic_id in _split_ids(statistic_ids, subscription) or list(subscription.statistics):
        opened = subscription.statistics.get(statistic_id)
        if opened is None:
            message = f"statisticIds: expected ids of subscription {subscription.id}, got {statistic_id}"
            refusals.append(Refusal(statistic_id, "statisticIds", message, code=404))
        else:
            value = await encoder.value(opened.statistic)
            readings.append(await _reading_of(opened, value, tenant.engine.now_ms, time_slice))
        await time_slice.checkpoint()
    return Readings(readings, refusals, subscription.id)


async def read_predefined(engine: Engine, items: Sequence[object], time_slice: TimeSlice) -> Readings:
    """The present values of predefined statistics, which are open no longer than it takes."""
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    for item in items:
        wanted = parse_item(item, set(), by_name_only=True)
        if isinstance(wanted, Refusal):
            refusals.append(wanted)
        else:
            statistic = await time_slice.run(engine.opening(wanted.opened.definition, wanted.object_type, wanted.object_id))
            try:
                value = await time_slice.run(engine.valuing(statistic))
            finally:
                engine.close(statistic)
            what = ("", wanted.name, wanted.object_type.value, wanted.object_id)
            readings.append(await _reading(what, value, engine.now_ms, time_slice))
        await time_slice.checkpoint()
    return Readings(readings, refusals)


async def present_update(tenant: Tenant, login: str, time_slice: TimeSlice) -> bytes | None:
    """One ``StatisticUpdate`` with the present value of every open statistic of a login; None if it has no subscription."""
    subscriptions = tenant.subscriptions.of_login(login)
    if not subscriptions:
        return None
    encoder = Encoder(tenant.engine, time_slice)
    items = []
    for subscription in subscriptions:
        for opened in list(subscription.statistics.values()):
            items.append(await encoder.item(opened))
            await time_slice.checkpoint()
    return statistic_update(items)


async def _reading_of(opened: OpenStatistic, value: Value, now_ms: int, time_slice: TimeSlice) -> Reading:
    what = (opened.statistic_id, opened.name, opened.object_type.value, opened.object_id)
    return await _reading(what, value, now_ms, time_slice)


async def _reading(what: tuple[str, str | None, str, str], value: Value, now_ms: int, time_slice: TimeSlice) -> Reading:
    """A value with what it is of: statistic id, name, object type and object id."""
    encoded = b"" if value.state_value is None else b"".join(await time_slice.run(encoding_value(value, now_ms)))
    return Reading(*what, value.to_json(now_ms), now_ms, value.empty, encoded)


def _too_many_profiles(wanted: Wanted, most: int) -> Refusal:
    return Refusal(
        wanted.statistic_id,
        "dynamicTimeProfile",
        f"dynamicTimeProfile: expected at most {most} different ones open in a tenant, got one more",
        name=wanted.name,
        object_id=wanted.object_id,
        object_type=wanted.object_type.value,
    )


def _split_ids(asked: Sequence[str], subscription: Subscription) -> list[str]:
    """The statistic ids of repeated and comma-joined parameters (docs/protocol/statistics.md#statistic-ids-in-queries), each once. An id
    that contains a comma is taken as it is.
    """
    found: dict[str, None] = {}
    for text in asked:
        for part in (text,) if text in subscription.statistics else text.split(","):
            if part := part.strip():
                found[part] = None
    return list(found)
