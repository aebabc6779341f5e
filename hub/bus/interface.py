"""The bus as the hub sees it, and the envelope that travels on it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import orjson

from hub.core.delivery import DeliveryClass
from hub.core.message import Topic
from hub.eventlog.channel_log import ChannelLog

ENVELOPE_VERSION = 1


class EnvelopeError(ValueError):
    """Bytes that are no envelope of a version that this node knows."""


class Envelope(NamedTuple):
    """A versioned header and the producer's bytes.

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

    def encode(self) -> bytes:
        """Header as one line of JSON, then the producer's bytes untouched."""
        header = {
            "v": ENVELOPE_VERSION,
            "t": list(self.topic),
            "d": self.delivery.value,
            "x": len(self.extra),
            "o": self.origin,
            "p": self.position,
            "q": self.previous,
        }
        return orjson.dumps(header) + b"\n" + self.extra + self.data

    @classmethod
    def decode(cls, raw: bytes) -> "Envelope":
        """The reverse of :meth:`encode`.

        Raises:
            EnvelopeError: not an envelope, or of another version.
        """
        head, newline, body = raw.partition(b"\n")
        try:
            header = orjson.loads(head)
            if not newline or header["v"] != ENVELOPE_VERSION:
                raise EnvelopeError(f"expected an envelope of version {ENVELOPE_VERSION}, got {header['v']}")
            split = int(header["x"])
            return cls(
                Topic(*header["t"]),
                DeliveryClass(header["d"]),
                body[split:],
                body[:split],
                header["p"],
                header["q"],
                header["o"],
            )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as fault:
            raise EnvelopeError(f"expected an envelope, got {raw[:40]!r}: {fault}") from fault


class Bus(Protocol):
    """What connects nodes. A backend confirms a subscription before it returns; it never delivers to a node an ``event`` or ``state``
    envelope that this node published. ``log`` is what it appends to: whoever subscribes reads there what was published before.
    """

    @property
    def log(self) -> ChannelLog: ...

    def on_envelope(self, receive: Callable[[Envelope], None]) -> None:
        """Who gets what arrives. Called once, before anything else."""
        ...

    async def subscribe(self, topic: Topic) -> None:
        """Begin to receive a topic; its channel may be a pattern. Returns when it is in force."""
        ...

    def unsubscribe(self, topic: Topic) -> None:
        """Cease to receive a topic."""
        ...

    def publish(self, envelope: Envelope) -> None:
        """Send an ``event`` or ``state`` envelope to the other nodes, at most once."""
        ...

    def publish_to_logins(self, envelope: Envelope, logins: Sequence[str]) -> None:
        """As :meth:`publish`, of the same to each of several logins; the audience of ``envelope`` is left open, empty."""
        ...

    async def append(self, envelope: Envelope, *, once: str = "") -> int | None:
        """Append a ``log`` envelope; it gets its position and reaches every subscribed node, this one too, in the order of positions.
        Returns the position; None when the log has it already by the name ``once`` (:meth:`ChannelLog.append`): it reaches nobody again.
        What was recorded is delivered, although the caller gave up meanwhile.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...
