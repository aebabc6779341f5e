"""The JSON of notifications, built from parts that are encoded once and shared (docs/protocol/statistics.md#notifications)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import msgspec

from channels.statistics.engine.state import AGENTS
from channels.statistics.engine.values import Value
from channels.statistics.service.interface import SERVICE, UPDATES, ServiceState
from hub.core.json_text import ascii_json

_TREES_AT_ONCE = 64
"""States of agents that are encoded in one piece: 0.5 ms or so."""


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
    """The members that describe a statistic: ``name`` (of a predefined one), ``objectId``, ``objectType``."""
    known = {} if name is None else {"name": name}
    return known | {"objectId": object_id, "objectType": object_type}


def encoding_value(value: Value, timestamp_ms: int) -> Generator[None, None, list[bytes]]:
    """A value as JSON, in one part, or in several where it is the state of a large group. The generator yields between the parts."""
    found = value.to_json(timestamp_ms)
    state = value.state_value
    trees = None if state is None else state.get(AGENTS)
    if state is None or not isinstance(trees, list) or len(trees) <= _TREES_AT_ONCE:
        return [ascii_json(found)]
    before, empty, after = ascii_json(found | {"stateValue": state | {AGENTS: []}}).rpartition(b'"%b":[]' % AGENTS.encode())
    parts = [before, empty[:-1]]
    for start in range(0, len(trees), _TREES_AT_ONCE):
        parts += (ascii_json(trees[start : start + _TREES_AT_ONCE])[1:-1], b",")
        yield
    parts[-1] = b"]"
    return [*parts, after]


def item_tail(value_json: Sequence[bytes], value: Value, timestamp_ms: int) -> bytes:
    """The end of an item: the value, ``empty`` if it is the average or percentage of nothing, and the timestamp in ms."""
    beside = b',"empty":true' if value.empty else b""
    return b"".join((b',"value":', *value_json, b'%b,"timestamp":%d}' % (beside, timestamp_ms)))


def statistic_update(items: Sequence[bytes]) -> bytes:
    """One ``StatisticUpdate`` with these items."""
    first, *others = items or (b"",)
    following = (part for item in others for part in (b",", item))
    return b"".join((b'{"name":"StatisticUpdate","topic":"%b","data":{"statistics":[' % UPDATES.encode(), first, *following, b"]}}"))


class _Ids(msgspec.Struct, frozen=True):
    """What names the statistic of an item, as it is on the wire."""

    subscriptionId: str
    statisticId: str


class _Items(msgspec.Struct):
    statistics: list[msgspec.Raw]


class _Update(msgspec.Struct):
    data: _Items


_decode_update = msgspec.json.Decoder(_Update).decode
_decode_ids = msgspec.json.Decoder(_Ids).decode


def without(update: bytes, newer: Iterable[bytes]) -> tuple[bytes | None, int]:
    """A ``StatisticUpdate`` without the statistics that ``newer`` ones have, None if none is left; and how many were taken out."""
    known = {_decode_ids(item) for each in newer for item in _decode_update(each).data.statistics}
    items = [bytes(item) for item in _decode_update(update).data.statistics]
    kept = [item for item in items if _decode_ids(item) not in known]
    return (statistic_update(kept) if kept else None), len(items) - len(kept)


def service_state_change(state: ServiceState) -> bytes:
    """One ``ServiceStateChange``."""
    return b'{"name":"ServiceStateChange","topic":"%b","data":{"serviceState":"%b"}}' % (SERVICE.encode(), state.value.encode())
