"""Has a node hear the words of the others, also where the bus cannot confirm it at the start (:mod:`hub.core.signals`)."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from hub.background import BackgroundTask
from hub.bus.interface import BusError
from hub.core.signals import Signals

RETRY_S: Final = 5.0
"""Seconds between two attempts to subscribe."""

_log = structlog.get_logger(__name__)


class SignalHearing:
    """A :class:`hub.family.Service`, to be started after the bus."""

    __slots__ = ("_retry_s", "_signals", "_task")

    def __init__(self, signals: Signals, *, retry_s: float = RETRY_S) -> None:
        self._signals = signals
        self._retry_s = retry_s
        self._task = BackgroundTask("hub.signals")

    async def start(self) -> None:
        """Begin to subscribe. A hub starts also while its bus is away."""
        self._task.start(self._subscribe())

    async def stop(self) -> None:
        """Give up subscribing."""
        await self._task.stop()

    async def _subscribe(self) -> None:
        while True:
            try:
                await self._signals.subscribe()
            except BusError as error:
                _log.info("signals_not_heard", reason=str(error))
                await asyncio.sleep(self._retry_s)
            else:
                return
