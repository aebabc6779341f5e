"""Publishing: whether a client may, and the way of a message to the subscribers of this process, to other nodes, or into the log."""

from __future__ import annotations

from collections.abc import Callable

from hub.bus.interface import Bus, Envelope
from hub.core.channels import META, SERVICE, InvalidChannelError, check_channel
from hub.core.counters import Counters
from hub.core.delivery import ChannelRegistry, DeliveryClass
from hub.core.errors import RefusedError, WireError
from hub.core.fan_out import FanOuts
from hub.core.message import Message, Topic
from hub.core.ports import Authorizer
from hub.core.principal import Action, Principal
from hub.core.recipient import Recipient
from hub.core.router import Router
from hub.eventlog.interface import EventLogError

Filter = Callable[[str, bytes, bytes], tuple[bytes, bytes] | None]
"""Gets the channel, ``data`` and ``extra`` of a message; returns the ``data`` and ``extra`` to deliver, or None to drop the message."""


class Publisher:
    """Publishes for clients (:meth:`publish`) and for the hub's own services (:meth:`emit`)."""

    __slots__ = ("_authorizer", "_bus", "_counters", "_fan_outs", "_registry", "_router", "filter", "withheld")

    def __init__(
        self, bus: Bus, registry: ChannelRegistry, router: Router[Recipient], fan_outs: FanOuts, authorizer: Authorizer, counters: Counters
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._router = router
        self._fan_outs = fan_outs
        self._authorizer = authorizer
        self._counters = counters
        self.filter: Filter | None = None
        """Called once with each message that is published."""
        self.withheld: Callable[[Topic], bool] | None = None
        """Whether a ``state`` message is not brought to the subscribers of this process now; whoever says so sends the state later."""

    async def check_publish(self, principal: Principal, channel: str) -> None:
        """Check that a client may publish on a channel.

        Raises:
            RefusedError: CHANNEL_INVALID or PUBLISH_DENIED.
        """
        try:
            check_channel(channel)
        except InvalidChannelError as error:
            raise RefusedError(WireError.CHANNEL_INVALID, str(error), channel=channel) from None
        decision = await self._authorizer.decide(principal, Action.PUBLISH, channel)
        if not decision.allowed or channel.startswith(META):
            self._counters.denied += 1
            raise RefusedError.denied(WireError.PUBLISH_DENIED, decision.reason.value, channel)

    async def publish(
        self, principal: Principal, channel: str, data: bytes, *, extra: bytes = b"", idempotency_key: str = ""
    ) -> int | None:
        """Publish for a client, to all of its tenant. ``data`` is JSON text in ASCII, kept verbatim; ``extra`` is that of
        :class:`hub.core.message.Message`. ``idempotency_key`` and the result are those of :meth:`emit`.

        A message for many subscribers waits until there is room for another large fan-out.

        Raises:
            RefusedError: CHANNEL_INVALID or PUBLISH_DENIED; UNAVAILABLE when it is a log channel's and could not be recorded.
        """
        await self.check_publish(principal, channel)
        if channel.startswith(SERVICE):  # never broadcast (Bayeux 1.0 section 2.4)
            return None
        topic = Topic(principal.tenant, "", channel)
        delivery = self._registry.of(channel).delivery
        if delivery is DeliveryClass.LOG:
            try:
                if self._fan_outs.is_for_many(self._router.match(topic)):
                    async with self._fan_outs.admit():  # others may publish while it is written to the log
                        return await self._append(topic, data, extra, idempotency_key)
                return await self._append(topic, data, extra, idempotency_key)
            except EventLogError as error:
                raise RefusedError(WireError.UNAVAILABLE, channel=channel) from error
        if self._fan_outs.crowded and self._fan_outs.is_for_many(self._router.match(topic)):
            async with self._fan_outs.admit():
                self._send(topic, delivery, data, extra)
        else:  # it is delivered before anything else runs, so that nothing has to be reserved for it
            self._send(topic, delivery, data, extra)
        return None

    async def emit(
        self,
        tenant: str,
        channel: str,
        data: bytes,
        *,
        audience: str = "",
        extra: bytes = b"",
        idempotency_key: str = "",
        epoch: int = 0,
    ) -> int | None:
        """Publish from within: to all of a tenant, or to one audience. Returns the position of a ``log`` message; of one that
        the log has already, where the log says it.

        ``event`` and ``state`` messages reach local subscribers at once, and other nodes by the bus. A ``log`` message travels only
        through the log, which gives it its position. ``idempotency_key`` names a message that its publisher may have to publish again:
        what the log has already under this name, on this channel for this audience, is neither recorded nor delivered again. Other
        channels remember no names, and deliver each time. ``epoch`` is that of the tenant's owner, in ``event`` and ``state`` messages that
        only the owner publishes (:attr:`hub.bus.interface.Envelope.epoch`).

        Raises:
            EventLogError: a ``log`` message could not be recorded; nobody has received it.
        """
        topic = Topic(tenant, audience, channel)
        delivery = self._registry.of(channel).delivery
        if delivery is DeliveryClass.LOG:
            return await self._append(topic, data, extra, idempotency_key)
        self._send(topic, delivery, data, extra, epoch)
        return None

    def emit_here(self, tenant: str, channel: str, data: bytes) -> None:
        """Publish an ``event`` or ``state`` message to the subscribers of this process alone, to all of a tenant."""
        passed = self._filtered(channel, data, b"")
        if passed is None:
            return
        data, extra = passed
        self._counters.published += 1
        self.deliver(Envelope(Topic(tenant, "", channel), self._registry.of(channel).delivery, data, extra))

    def emit_to_logins(self, tenant: str, channel: str, data: bytes, logins: tuple[str, ...], *, epoch: int = 0) -> None:
        """Publish the same message to several logins, in one fan-out. ``epoch`` is that of :meth:`emit`.

        Raises:
            ValueError: the channel is a log channel, where each message has a position of its own.
        """
        passed = self._filtered(channel, data, b"")
        if passed is None:
            return
        data, extra = passed
        delivery = self._registry.of(channel).delivery
        if delivery is DeliveryClass.LOG:
            raise ValueError(f"{channel} is a log channel: each message gets a position of its own")
        self._bus.publish_to_logins(Envelope(Topic(tenant, "", channel), delivery, data, extra, epoch=epoch), logins)
        reached = self._router.match_logins(tenant, channel, logins)
        self._counters.published += len(logins)
        self._counters.delivered += len(reached.subscribers)
        self._fan_outs.begin(Message(channel, data, delivery, extra=extra), reached)

    def _filtered(self, channel: str, data: bytes, extra: bytes) -> tuple[bytes, bytes] | None:
        """Data and extra as :attr:`filter` leaves them; None: the message is not published."""
        return (data, extra) if self.filter is None else self.filter(channel, data, extra)

    async def _append(self, topic: Topic, data: bytes, extra: bytes, idempotency_key: str) -> int | None:
        passed = self._filtered(topic.channel, data, extra)
        if passed is None:
            return None
        data, extra = passed
        position = await self._bus.append(Envelope(topic, DeliveryClass.LOG, data, extra), idempotency_key=idempotency_key)
        self._counters.published += position is not None
        return position

    def _send(self, topic: Topic, delivery: DeliveryClass, data: bytes, extra: bytes, epoch: int = 0) -> None:
        passed = self._filtered(topic.channel, data, extra)
        if passed is None:
            return
        data, extra = passed
        envelope = Envelope(topic, delivery, data, extra, epoch=epoch)
        self._counters.published += 1
        self.deliver(envelope)
        self._bus.publish(envelope)

    def deliver(self, envelope: Envelope) -> None:
        """Bring a message to the subscribers of this process."""
        if self.withheld is not None and envelope.delivery is DeliveryClass.STATE and self.withheld(envelope.topic):
            return
        members = self._router.match(envelope.topic)
        if members is None:
            return
        self._counters.delivered += len(members.subscribers)
        message = Message(envelope.topic.channel, envelope.data, envelope.delivery, extra=envelope.extra, position=envelope.position)
        self._fan_outs.begin(message, members)
