"""Values as JSON. Each is computed and encoded once for all recipients; the state of a large group in slices."""

from __future__ import annotations

from channels.statistics.engine.engine import Engine
from channels.statistics.engine.statistic import Statistic
from channels.statistics.engine.values import Value
from channels.statistics.service.notification import OpenStatistic
from channels.statistics.service.payloads import encoding_value, item_tail
from hub.core.time_slice import TimeSlice


class Encoder:
    """Values at one moment, each computed and encoded once, however many subscriptions have the statistic open. Large ones are made in
    slices, with ``time_slice``.
    """

    __slots__ = ("_engine", "_tails", "_time_slice", "_values")

    def __init__(self, engine: Engine, time_slice: TimeSlice) -> None:
        self._engine = engine
        self._time_slice = time_slice
        self._values: dict[Statistic, Value] = {}
        self._tails: dict[Statistic, bytes] = {}

    async def value(self, statistic: Statistic) -> Value:
        """The value of a statistic."""
        value = self._values.get(statistic)
        if value is None:
            if statistic.takes_pieces:
                value = await self._time_slice.run(self._engine.valuing(statistic))
            else:
                value = self._engine.value(statistic)
            self._values[statistic] = value
        return value

    async def tail(self, statistic: Statistic) -> bytes:
        """The end of every item of the statistic: its value and timestamp. All subscriptions that have it open share the bytes."""
        tail = self._tails.get(statistic)
        if tail is None:
            value = await self.value(statistic)
            now_ms = self._engine.now_ms
            tail = self._tails[statistic] = item_tail(await self._time_slice.run(encoding_value(value, now_ms)), value, now_ms)
        return tail

    async def item(self, opened: OpenStatistic) -> bytes:
        """The whole item: what the statistic is, its value and timestamp."""
        return opened.head + await self.tail(opened.statistic)
