"""The bus as the hub sees it, and the envelope that travels on it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from hub.core.delivery import DeliveryClass
from hub.core.message import Topic


class EnvelopeError(ValueError):
    """Bytes that are no envelope of a version that this node knows."""


class Envelope(NamedTuple):
    """What is said of a message, and the producer's bytes; each backend has a form of its own for the wire.

    ``position`` is set on ``log`` channels: one number that rises through all log channels of a tenant, below 2^53; ``previous`` is one
    after which the same topic had no other message, so that a receiver sees a gap at once (docs/protocol/channels.md#positions).
    """

    topic: Topic
    delivery: DeliveryClass
    data: bytes
    extra: bytes = b""
    position: int | None = None
    previous: int | None = None
    origin: str = ""
    """The node that published it: ``event`` and ``state`` echoes are ignored by their own."""
    sequence: int = 0
    """Rises with each envelope that a node publishes. Origin and sequence are the envelope's id: a bus hands over none a
    second time. A ``log`` envelope is known by its position, also when it is read from the log again.
    """


class BusError(Exception):
    """The bus could not confirm a subscription, or the log could not say from which position it is in force. None of it is in force for the
    caller, who unsubscribes from what it asked for.
    """


class Gap(NamedTuple):
    """Messages of a tenant that this node was subscribed to and that the bus cannot hand over any more."""

    tenant: str
    after: int | None = None
    """Of log channels everything up to here was handed over; None where no message of a log channel is missing."""
    resume_position: int | None = None
    """After this position everything is handed over again."""


class Receiver(Protocol):
    """Who gets what the bus brings. The bus calls it in the order of the tenant's log, never two methods at once, and never awaits it."""

    def on_envelope(self, envelope: Envelope) -> None:
        """A message of a subscribed topic; it may also be of a topic that was unsubscribed a moment ago. Log messages come in the order of
        their positions.
        """
        ...

    def on_position(self, tenant: str, position: int) -> None:
        """Every log message of the subscribed topics up to this position has been handed over."""
        ...

    def on_gap(self, gap: Gap) -> None:
        """Messages are lost: ``event`` and ``state`` messages of the tenant perhaps, and log messages where the gap says so. What the bus
        can read from the log after a broken connection it hands over instead.
        """
        ...

    def on_reset(self, tenant: str, seam: int) -> None:
        """The tenant's log came back with less than it had. Positions below ``seam`` may name other messages than before, or none: who
        comes with one has not recovered (:class:`hub.eventlog.channel_log.Span`).
        """
        ...


class Bus(Protocol):
    """What connects nodes. It never delivers to a node an ``event`` or ``state`` envelope that this node published, and no envelope twice.

    What is for all logins of a subject (:func:`hub.core.principal.subject_audience`) comes to every node that is subscribed to any topic of
    the tenant.

    Calls of :meth:`subscribe` and :meth:`unsubscribe` take effect in the order in which they are made, also while a confirmation is under
    way.
    """

    def attach(self, receiver: Receiver) -> None:
        """Who gets what arrives. Called once, before anything else."""
        ...

    async def subscribe(self, topics: Sequence[Topic], *, positions: bool) -> Mapping[Topic, int]:
        """Begin to receive topics of one tenant; their channels may be patterns. Returns when all are in force.

        With ``positions`` the answer says for each topic the position of the tenant's log from which it is in force: each message of the
        topic after it is handed over, each up to it is in the log. Before this returns :meth:`Receiver.on_position` was called with that
        position. Without ``positions``, where the caller has no use for them, the log is not asked and the answer may be empty. To
        subscribe to a topic that is in force already confirms it again.

        Raises:
            BusError: see there. The topics may be in force: the caller unsubscribes from them.
        """
        ...

    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Cease to receive topics. One that is not subscribed is ignored."""
        ...

    def publish(self, envelope: Envelope) -> None:
        """Send an ``event`` or ``state`` envelope to the other nodes, at most once."""
        ...

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """As :meth:`publish`, of the same to each of several logins; the audience of ``envelope`` is left open, empty."""
        ...

    async def append(self, envelope: Envelope, *, idempotency_key: str = "") -> int | None:
        """Append a ``log`` envelope; it gets its position and reaches every subscribed node, this one too, in the order of positions.
        Returns the position, when the message has reached this node if it is subscribed; None when the log has it already by the name
        ``idempotency_key`` (:meth:`hub.eventlog.channel_log.ChannelLog.append`): it reaches nobody again. What was recorded is delivered,
        although the caller gave up meanwhile.

        Raises:
            EventLogError: nothing was recorded, as far as this node knows: where the log is another process that did not answer, the
                message may yet come. To repeat it under the same ``idempotency_key`` does no harm.
        """
        ...

    async def close(self) -> None:
        """Finish the appends that are under way and let go of every connection. The log stays open: it belongs to whoever opened it."""
        ...
