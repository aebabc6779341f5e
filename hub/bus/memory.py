"""The bus of a single process. There are no other nodes, so that only log messages pass through it."""

import asyncio
from collections.abc import Mapping, Sequence

from hub.bus.interface import BusError, Envelope, Receiver
from hub.core.message import Topic
from hub.eventlog.channel_log import ChannelLog
from hub.eventlog.interface import EventLogError


class MemoryBus:
    """Gives the same positions and order as the other backends. It hands over each log message, also of topics without a subscription."""

    __slots__ = ("_appending", "_handed_over", "_log", "_receiver", "_taken_over", "node")

    def __init__(self, log: ChannelLog, node: str = "local") -> None:
        """``log`` assigns the positions and keeps the messages."""
        self.node = node
        self._log = log
        self._receiver: Receiver | None = None
        self._appending: set[asyncio.Future[int | None]] = set()
        # by tenant: the position up to which all log messages have been handed over
        self._handed_over: dict[str, int] = {}
        # by tenant: the newest position of the log when it was first asked for; messages up to it are not handed over
        self._taken_over: dict[str, int] = {}

    @property
    def sequence(self) -> int:
        """See :attr:`Bus.sequence`. No other node hears of any."""
        return 0

    def attach(self, receiver: Receiver) -> None:
        """See :meth:`Bus.attach`."""
        self._receiver = receiver

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        """See :meth:`Bus.subscribe`. All topics of a tenant have the same position."""
        if not positions or not topics:
            return {}
        tenant = topics[0].tenant
        if tenant not in self._handed_over:
            try:
                newest = (await self._log.span(tenant)).newest
            except EventLogError as fault:
                raise BusError(f"the log cannot say how far it reaches: {fault}") from fault
            if tenant not in self._handed_over:  # an append may have ended meanwhile
                self._taken_over[tenant] = self._handed_over[tenant] = newest
        position = self._handed_over[tenant]
        if self._receiver is not None:
            self._receiver.on_position(tenant, position)
        return dict.fromkeys(topics, position)

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Nothing to do: the receiver ignores messages that have no subscriber."""

    def publish(self, envelope: Envelope) -> None:
        """Nothing to do: the hub has already delivered it to local subscribers, and there are no other nodes."""

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """As :meth:`publish`."""

    async def flush(self, tenant: str) -> None:
        """See :meth:`Bus.flush`. There are no other nodes."""

    async def settle(self, tenant: str) -> None:
        """See :meth:`Bus.settle`. Nobody else publishes."""

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        """See :meth:`Bus.append`."""
        # a separate task: if the caller is cancelled, a message that is in the log must still be delivered
        work = asyncio.ensure_future(self._append(envelope, idempotency_key))
        self._appending.add(work)
        work.add_done_callback(self._appending.discard)
        return await asyncio.shield(work)

    async def _append(self, envelope: Envelope, idempotency_key: str) -> int | None:
        tenant = envelope.topic.tenant
        appended = await self._log.append(envelope.topic, envelope.data, envelope.extra, idempotency_key=idempotency_key)
        if appended is None:
            return None
        position, previous = appended
        if position <= self._taken_over.get(tenant, -1):  # subscribers were promised the messages after that position only
            return position
        self._handed_over[tenant] = max(position, self._handed_over.get(tenant, -1))
        if self._receiver is not None:
            self._receiver.on_envelope(envelope._replace(position=position, previous=previous, origin=self.node))
        return position

    async def close(self) -> None:
        """See :meth:`Bus.close`."""
        if self._appending:
            await asyncio.wait(self._appending)
