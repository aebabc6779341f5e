"""The bus of a single process: nobody else is there, so only the log has something to do."""

import asyncio
from collections.abc import Callable, Sequence

from hub.bus.interface import Envelope
from hub.core.message import Topic
from hub.core.ports import Clock
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.channel_log_memory import MemoryChannelLog


class MemoryBus:
    """Positions and order as every other backend has them; no other node."""

    __slots__ = ("_appending", "_receive", "_topics", "log", "node")

    def __init__(self, clock: Clock, node: str = "local", *, log: ChannelLog | None = None) -> None:
        """``log`` gives the positions and keeps what is appended; without it that is kept in memory."""
        self.log: ChannelLog = log or MemoryChannelLog(clock)
        self.node = node
        self._receive: Callable[[Envelope], None] | None = None
        self._appending: set[asyncio.Future[int | None]] = set()
        self._topics: set[Topic] = set()

    def on_envelope(self, receive: Callable[[Envelope], None]) -> None:
        self._receive = receive

    async def subscribe(self, topic: Topic) -> None:
        self._topics.add(topic)

    def unsubscribe(self, topic: Topic) -> None:
        self._topics.discard(topic)

    def publish(self, envelope: Envelope) -> None:
        """Nothing to do: local subscribers have it already, and there are no others."""

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """As :meth:`publish`."""

    async def append(self, envelope: Envelope, *, once: str = "") -> int | None:
        # a task of its own: who gives up waiting must not keep from subscribers what is in the log
        work = asyncio.ensure_future(self._append(envelope, once))
        self._appending.add(work)
        work.add_done_callback(self._appending.discard)
        return await asyncio.shield(work)

    async def _append(self, envelope: Envelope, once: str) -> int | None:
        appended = await self.log.append(envelope.topic, envelope.data, envelope.extra, once=once)
        if appended is None:
            return None
        position, previous = appended
        if self._receive is not None:
            self._receive(envelope._replace(position=position, previous=previous, origin=self.node))
        return position

    async def close(self) -> None:
        self._topics.clear()
        await self.log.close()
        if self._appending:  # the log has written what waited
            await asyncio.wait(self._appending)
