"""The session of a ``/ws`` connection. Messages leave as JSON arrays, many in a frame."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hub.core.delivery import DeliveryClass
from hub.core.errors import CREDENTIAL_ENDED, CREDENTIAL_UNVERIFIED, CloseCode
from hub.core.frames import DirectWrite, text_frames
from hub.core.hub import Hub
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.timers import Timer
from hub.dashboard.ports import Connection


class Reply(Message):
    """An answer. It goes through the same queue as events, so that their order holds.

    It counts as ``log``, which is never dropped: a client that sends commands and does not read is disconnected when its queue is full.
    """

    __slots__ = ()

    def __init__(self, payload: bytes) -> None:
        super().__init__("", payload, DeliveryClass.LOG)
        self._dashboard = payload


class DashboardSession(Subscriber):
    """One authenticated dashboard connection."""

    __slots__ = ("_connection", "_held", "_news", "_sent_position", "ended")

    door = "ws"

    def __init__(self, hub: Hub, identifier: str, principal: Principal, connection: Connection) -> None:
        super().__init__(hub, identifier, principal)
        self.ended = False
        self._connection = connection
        self._held = False
        self.frame_cache = hub.frame_caches.dashboard
        self.update_direct_write()
        connection.on_writable_changed(self.writable_changed)
        self._news: Timer | None = None
        """The timer of the next ``position`` message; None while the session hears no log channel."""
        self._sent_position = 0
        """The last position that was sent by itself, not with an event."""

    def reply(self, payload: bytes) -> None:
        """Answer a command with one JSON object, behind the messages that wait."""
        if not self.ended:
            self.offer(Reply(payload))

    # -- holding events back while a subscribe is under way ---------------------------------------------------------

    def hold(self) -> int:
        """Send nothing until :meth:`release`: events of a channel may arrive before the bus has confirmed all channels. Returns how many
        messages wait: the answer's place.
        """
        self._held = True
        self.update_direct_write()
        return len(self.queue)

    def release(self, at: int, payload: bytes) -> None:
        """Queue the answer before what came since :meth:`hold`, which returned ``at``, and send again."""
        self._held = False
        self.update_direct_write()
        self.reply(payload)
        queue = self.queue
        if queue and isinstance(queue[-1], Reply):
            # an overflow may have shortened the queue meanwhile: insert takes any index
            queue.insert(at, queue.pop())

    # -- how far the log is, for clients that hear nothing -----------------------------------------------------------

    def follow_log(self) -> None:
        """Begin to send the position of the log every ``heartbeat_s``, since the session hears log channels. Without it a client to which
        nothing comes for long would return with a position that has been trimmed, and learn that it may have missed something.
        """
        if self._news is None and not self.ended:  # the answer to the subscribe may have been one too many for its queue
            self._news = self.hub.timers.after(self.hub.limits.heartbeat_s, self._tell)

    def _tell(self) -> None:
        position = self.hub.positions.newest(self.principal.tenant)
        if position is not None and position > self._sent_position and not self.queue and self.recovery is None:
            self._sent_position = position
            self.reply(b'{"type":"position","position":%d}' % position)
        self._news = None
        self.follow_log()

    # -- the end of its credential ----------------------------------------------------------------------------------

    def tell_expiring(self, seconds: int) -> None:
        self.reply(b'{"type":"expiring","expiresIn":%d}' % seconds)

    def tell_unsubscribed(self, patterns: Sequence[str]) -> None:
        told = {"type": "unsubscribed", "channels": list(patterns), "reason": "the newer token does not cover them"}
        self.reply(json.dumps(told, separators=(",", ":")).encode("ascii"))

    # -- Subscriber -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, in frames of up to ``max_frame_bytes``; nothing while the client has more than ``max_queue_bytes`` unread."""
        limits = self.hub.limits
        if self._held or self.send_directly() or self._connection.buffered > limits.max_queue_bytes:
            return
        for frame, _ in text_frames([message.dashboard() for message in self.take()], limits.max_frame_bytes):
            self._connection.write(frame)

    @property
    def unread_bytes(self) -> int:
        return self._connection.buffered

    def writable_changed(self, direct_write: DirectWrite | None) -> None:
        """The connection has begun to take frames directly, or does so no more."""
        self.direct_write = None if self._held or self.ended else direct_write

    def update_direct_write(self) -> None:
        """Let fan-outs write directly, where the connection takes that now."""
        self.writable_changed(self._connection.direct_write)

    def drained(self) -> None:
        """Go on with what waits, since the connection has taken all that was written."""
        if (self.queue or self.resync_due) and not self.dirty:
            self.hub.flusher.mark(self)

    def end(self, code: CloseCode, reason: str = "") -> None:
        """Close the connection and give back all subscriptions. Calling it twice does no harm."""
        if not self.ended:
            self.ended = True
            if self._news is not None:
                self.hub.timers.cancel(self._news)
                self._news = None
            self.hub.sessions.detach(self)
            self._connection.close(code, reason)

    def end_too_slow(self) -> None:
        self.end(CloseCode.TOO_SLOW, "messages of a log channel waited for too long; connect and subscribe again")

    def disconnect(self) -> None:
        self.end(CloseCode.FORBIDDEN, "disconnected by an administrator")

    def end_revoked(self) -> None:
        self.end(CloseCode.NOT_AUTHENTICATED, CREDENTIAL_ENDED)

    def end_unverified(self) -> None:
        self.end(CloseCode.UNAVAILABLE, CREDENTIAL_UNVERIFIED)
