"""A message for subscribers. Each form on the wire is encoded once."""

from typing import NamedTuple

from hub.core.delivery import DeliveryClass
from hub.core.replay_id import into_event, with_replay_id

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
"""JSON text holds line ends between its tokens alone, where a space means the same."""


class Topic(NamedTuple):
    """Where a message goes: tenant + audience + channel (docs/architecture.md#topics). ``audience`` is empty for all, else one login."""

    tenant: str
    audience: str
    channel: str


def queued_size(channel: str, data: bytes, extra: bytes) -> int:
    """Bytes that a message counts against a queue's limit: its payload and an allowance for what is around it."""
    return len(data) + len(channel) + len(extra) + 64


class Message:
    """One message. ``data`` is the producer's own JSON text, pure ASCII; each form on the wire is built from it at most once and shared.

    Neither the publisher's clientId nor its message id is in here, so neither can leak to subscribers (docs/protocol/bayeux.md#broadcasts).
    """

    __slots__ = ("_bayeux", "_dashboard", "_replayable", "_sse", "channel", "data", "delivery", "extra", "position", "size")

    def __init__(
        self, channel: str, data: bytes, delivery: DeliveryClass = DeliveryClass.EVENT, *, extra: bytes = b"", position: int | None = None
    ) -> None:
        self.channel = channel
        self.data = data
        self.delivery = delivery
        self.extra = extra
        """Further members of a Bayeux message, encoded, each led by a comma: ``,"ext":{...}``."""
        self.position = position
        self.size = queued_size(channel, data, extra)
        """See :func:`queued_size`."""
        self._bayeux: bytes | None = None
        self._dashboard: bytes | None = None
        self._replayable: bytes | None = None
        self._sse: bytes | None = None

    def bayeux(self) -> bytes:
        """``{"channel":...,"data":...}`` and what the publisher sent beside them. With a position, data that is an object with an object
        ``event`` has it there, as ``replayId``: clients of Salesforce's streaming expect it whether they ask for it or not.
        """
        if self._bayeux is None:
            data = None if self.position is None else into_event(self.data, self.position)
            self._bayeux = b'{"channel":"%b","data":%b%b}' % (self.channel.encode(), self.data if data is None else data, self.extra)
        return self._bayeux

    def replayable(self) -> bytes:
        """As :meth:`bayeux`, with the position in ``data.event.replayId``; where ``data`` has no place for it, in a member ``replayId`` of
        the message itself. Without a position it is :meth:`bayeux`.
        """
        if self._replayable is None:
            if self.position is None or into_event(self.data, self.position) is not None:
                self._replayable = self.bayeux()
            elif (data := with_replay_id(self.data, self.position)) is not None:
                self._replayable = b'{"channel":"%b","data":%b%b}' % (self.channel.encode(), data, self.extra)
            else:
                self._replayable = b'{"channel":"%b","data":%b,"replayId":%d%b}' % (
                    self.channel.encode(),
                    self.data,
                    self.position,
                    self.extra,
                )
        return self._replayable

    def dashboard(self) -> bytes:
        """``{"type":"event","channel":...,"data":...}``, with the position on log channels (docs/protocol/dashboard.md#events)."""
        if self._dashboard is None:
            position = b"" if self.position is None else b',"position":%d' % self.position
            self._dashboard = b'{"type":"event","channel":"%b","data":%b%b}' % (self.channel.encode(), self.data, position)
        return self._dashboard

    def sse(self) -> bytes:
        """A block of ``text/event-stream``: ``event: message``, ``data: {"channel":...,"data":...}`` in one line, and on log channels
        ``id:``, the position (docs/protocol/dashboard.md#event-streams; WHATWG HTML section 9.2.5).
        """
        if self._sse is None:
            data = self.data if b"\n" not in self.data and b"\r" not in self.data else self.data.translate(_ONE_LINE)
            identifier = b"" if self.position is None else b"id: %d\n" % self.position
            self._sse = b'event: message\ndata: {"channel":"%b","data":%b}\n%b\n' % (self.channel.encode(), data, identifier)
        return self._sse
