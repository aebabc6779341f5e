"""The interface of the bus, and the envelope that it carries."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from hub.core.delivery import DeliveryClass
from hub.core.message import Topic


class EnvelopeError(ValueError):
    """The bytes are not an envelope, or have a version that this node does not know."""


class Envelope(NamedTuple):
    """A message with its metadata. Each backend has its own wire format for it.

    ``position`` is set on ``log`` channels: one number that rises through all log channels of a tenant, below 2^53. ``previous`` is a
    lower position; between the two the topic had no other message. A receiver can thus notice a gap at once
    (docs/protocol/channels.md#positions).
    """

    topic: Topic
    delivery: DeliveryClass
    data: bytes
    extra: bytes = b""
    position: int | None = None
    previous: int | None = None
    origin: str = ""
    """The node that published the message. A node ignores its own ``event`` and ``state`` messages when they come back to it."""
    sequence: int = 0
    """A number that rises with each envelope that a node publishes. Origin and sequence together are the id of an ``event`` or ``state``
    envelope: a bus hands over each id once. A ``log`` envelope is identified by its position, also when it is read from the log again.
    """
    epoch: int = 0
    """The fence of the process that owns the tenant's statistics, in the messages that only the owner publishes; 0 in all others. A bus
    refuses an epoch lower than the highest one of the tenant, and hands over none (docs/scaling.md#owners).
    """


class BusError(Exception):
    """The bus could not confirm a subscription, or the log could not name the position from which it is in force. The caller must regard
    the subscription as failed, and unsubscribe from its topics.
    """


class Gap(NamedTuple):
    """Messages of a tenant that this node was subscribed to, but that the bus cannot hand over any more."""

    tenant: str
    after: int | None = None
    """The position up to which all log messages were handed over; None if no log message is missing."""
    resume_position: int | None = None
    """The position after which all log messages are handed over again."""


class Receiver(Protocol):
    """Gets the messages of the bus. The bus calls it in the order of the tenant's log, one method at a time, and does not await it."""

    def on_envelope(self, envelope: Envelope) -> None:
        """A message of a subscribed topic came. The topic may also be one from which the hub unsubscribed a moment ago. Log messages come
        in the order of their positions.
        """
        ...

    def on_position(self, tenant: str, position: int) -> None:
        """Every log message of the subscribed topics up to this position has been handed over."""
        ...

    def on_gap(self, gap: Gap) -> None:
        """Messages may be lost: ``event`` and ``state`` messages of the tenant, and log messages if the gap says so. Log messages that the
        bus can still read from the log after a broken connection are handed over and are not part of a gap.
        """
        ...

    def on_reset(self, tenant: str, seam: int) -> None:
        """The tenant's log lost records. Positions below ``seam`` may now stand for other messages than before, or for none: a subscriber
        that resumes from one of them has not recovered (:class:`hub.eventlog.channel_log.Span`).
        """
        ...


class Bus(Protocol):
    """Carries messages between nodes. It delivers no envelope twice, and never delivers to a node its own ``event`` or ``state`` envelopes.

    A message for all logins of a subject (:func:`hub.core.principal.subject_audience`) is delivered to every node that is subscribed to any
    topic of the tenant.

    Calls of :meth:`subscribe` and :meth:`unsubscribe` take effect in the order in which they are made, also while a confirmation is still
    outstanding.
    """

    @property
    def node(self) -> str:
        """The :attr:`Envelope.origin` of what this node publishes."""
        ...

    @property
    def sequence(self) -> int:
        """The :attr:`Envelope.sequence` of the newest envelope that this node has published; 0 before the first."""
        ...

    def attach(self, receiver: Receiver) -> None:
        """Set the receiver of messages. Called once, before anything else."""
        ...

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        """Begin to receive topics of one tenant; their channels may be patterns. Returns when all subscriptions are in force.

        With ``positions`` the result contains, for each topic, the position of the tenant's log from which the subscription is in force:
        messages of the topic after this position are handed over, those up to it are in the log. :meth:`Receiver.on_position` is called
        with this position before this method returns. Without ``positions`` the log is not asked, and the result may be empty. Subscribing
        to a topic whose subscription is in force already confirms it again.

        Raises:
            BusError: the subscription failed. The topics may be in force all the same: the caller must unsubscribe from them.
        """
        ...

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Stop receiving topics. A topic that is not subscribed is ignored."""
        ...

    def publish(self, envelope: Envelope) -> None:
        """Send an ``event`` or ``state`` envelope to the other nodes. Each gets it at most once."""
        ...

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """As :meth:`publish`, but to several logins; the audience of ``envelope`` is empty."""
        ...

    async def flush(self, tenant: str) -> None:
        """Return when all envelopes of a tenant that this node published before the call were sent to the other nodes, or are lost."""
        ...

    async def settle(self, tenant: str) -> None:
        """Return when all envelopes of a tenant that any node had published and sent before the call were handed over here, as far as this
        node is subscribed to their topics. Those that are lost are told by :meth:`Receiver.on_gap`, now or later.

        Raises:
            BusError: the bus cannot confirm that.
        """
        ...

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        """Append a ``log`` envelope. It gets its position, and is delivered to every subscribed node, also this one, in the order of
        positions. Returns the position; if this node is subscribed, not before the message was handed over here. If the log already has a
        message with this ``idempotency_key`` (:meth:`hub.eventlog.channel_log.ChannelLog.append`), it is not delivered again: returns the
        position of that one, or None where the log does not say it. A message that was recorded is delivered even if the caller is
        cancelled in the meantime.

        Raises:
            EventLogError: as far as this node knows, nothing was recorded. If the log is in another process that did not answer, the
                message may still be recorded. The caller may repeat it with the same ``idempotency_key``.
        """
        ...

    async def close(self) -> None:
        """Finish the appends in progress and close every connection. The log stays open: whoever opened it closes it."""
        ...
