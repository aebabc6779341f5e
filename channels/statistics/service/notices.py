"""The JSON of what the stat server tells: built from parts that are encoded once and shared (docs/protocol/statistics.md#notifications)."""

from __future__ import annotations

from collections.abc import Sequence

from channels.statistics.engine.values import Value
from channels.statistics.service.owner import SERVICE, UPDATES, ServiceState
from hub.ops.envelope import ascii_json


def update_head(subscription_id: str, statistic_id: str, *, name: str | None, object_id: str, object_type: str, verbose: bool) -> bytes:
    """An item of a ``StatisticUpdate`` up to its value; without ``verbose`` it names the ids alone
    (docs/protocol/statistics.md#verbose).
    """
    head: dict[str, str] = {"subscriptionId": subscription_id, "statisticId": statistic_id}
    if verbose:
        head |= described(name, object_id, object_type)
    return ascii_json(head)[:-1]


def value_head(name: str, object_id: str, object_type: str) -> bytes:
    """The data of a values channel up to its value."""
    return ascii_json(described(name, object_id, object_type))[:-1]


def described(name: str | None, object_id: str, object_type: str) -> dict[str, str]:
    """What a statistic is: ``name`` (of a predefined one), ``objectId``, ``objectType``."""
    known = {} if name is None else {"name": name}
    return known | {"objectId": object_id, "objectType": object_type}


def encode_value(value: Value, timestamp_ms: int) -> bytes:
    """The tail of an item: value, that it is empty if so, and timestamp. The same bytes serve everyone who has this statistic open."""
    beside = b',"empty":true' if value.empty else b""
    return b',"value":%b%b,"timestamp":%d}' % (ascii_json(value.to_json(timestamp_ms)), beside, timestamp_ms)


def statistic_update(items: Sequence[bytes]) -> bytes:
    """One notification with all of a login's items."""
    return b'{"name":"StatisticUpdate","topic":"%b","data":{"statistics":[%b]}}' % (UPDATES.encode(), b",".join(items))


def service_state_change(state: ServiceState) -> bytes:
    """The notification of a service state."""
    return b'{"name":"ServiceStateChange","topic":"%b","data":{"serviceState":"%b"}}' % (SERVICE.encode(), state.value.encode())
