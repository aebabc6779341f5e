"""The state of one Bayeux session: what the handshake negotiated, the queue, the way to the client, and the clock that ends the session.

Other modules act on a session: :mod:`hub.bayeux.handlers` for requests, :mod:`hub.bayeux.polling` and :mod:`hub.bayeux.websocket` for
delivery, :mod:`hub.bayeux.endings` for its end. The session knows them by the ports below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from hub.bayeux.acknowledge import Acknowledged
from hub.bayeux.binding import Binding
from hub.bayeux.context import Context
from hub.bayeux.extension_chain import SessionHooks
from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.ports import CALLBACK_POLLING, LONG_POLLING, WEBSOCKET, Peer
from hub.bayeux.replies import Prepared, Unsubscribed
from hub.bayeux.request_order import RequestOrder
from hub.core.channels import check_channel
from hub.core.frames import DirectWrite
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.session_hub import SessionHub
from hub.core.subscriber import Subscriber
from hub.core.timers import Timer


class Delivery(Protocol):
    """Sends the queued messages of sessions to their clients. There are two classes: :class:`hub.bayeux.polling.PollingDelivery` sends them
    with the replies to ``/meta/connect``, :class:`hub.bayeux.websocket.WebSocketConnection` at any time. No method awaits.
    """

    def flush(self, session: ServerSession) -> None:
        """Send the queued messages, if the client can take them now."""
        ...

    def answers_at_once(self, session: ServerSession) -> bool:
        """Whether a connect that has come is answered at once, because its reply has messages to carry."""
        ...

    def rides_on_response(self, session: ServerSession, peer: Peer, websocket: WebSocketDelivery | None, *, connect: bool) -> bool:
        """Whether the response to a request carries the queued messages. ``peer`` and ``websocket`` say how the request came, ``connect``
        whether it has a connect.
        """
        ...

    def reaches_client(self, session: ServerSession) -> bool:
        """Whether a message can be sent now, before the client sends another request."""
        ...

    def take_for_reply(self, session: ServerSession) -> list[Message]:
        """Take from the queue the messages that go with the reply to a connect."""
        ...

    def put_back(self, session: ServerSession) -> None:
        """Messages were put back into the queue, because they did not reach the client."""
        ...

    def send_last(self, session: ServerSession, held: HeldConnect[ServerSession] | None, closing: Message | None) -> None:
        """The session ends: send the queued messages, then ``closing``. ``held`` is the connect that was held, answered after that."""
        ...


class WebSocketDelivery(Delivery, Protocol):
    """The WebSocket that leads to a session."""

    direct_write: DirectWrite | None
    """Writes ready frames at once; see :class:`hub.bayeux.ports.Connection`."""

    @property
    def open(self) -> bool:
        """Whether a message can be sent."""
        ...

    @property
    def unread_bytes(self) -> int:
        """Bytes that were written and that the client has not read."""
        ...

    def bind(self, session: ServerSession) -> None:
        """From now on it leads to this session (docs/protocol/bayeux.md#websocket: from the first message of any kind on)."""
        ...

    def lose_session(self, session: ServerSession) -> None:
        """The session has ended, or is reached in another way now."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake behind what was written."""
        ...

    def revoke(self, gone: Callable[[Principal], bool]) -> None:
        """Close when the credential of the opening handshake is gone."""
        ...

    def give_up(self, unverified: Callable[[Principal], bool]) -> None:
        """Close when nobody knows any more whether the credential of the opening handshake is good."""
        ...


class Endings(Protocol):
    """How sessions end, except by their client: see :class:`hub.bayeux.endings.SessionEndings`."""

    def disconnect(self, session: ServerSession) -> None:
        """The server ends the session."""
        ...

    def revoke(self, session: ServerSession) -> None:
        """The credential of the session is gone."""
        ...

    def unverified(self, session: ServerSession) -> None:
        """Nobody knows any more whether the credential of the session is good."""
        ...

    def too_slow(self, session: ServerSession) -> None:
        """Messages of a log channel have no room in the queue."""
        ...

    def expire(self, session: ServerSession) -> None:
        """The client has sent nothing for too long."""
        ...

    def expiring(self, session: ServerSession) -> None:
        """The credential of the session ends soon, or is a new one."""
        ...


BayeuxContext = Context["ServerSession", WebSocketDelivery]


class ServerSession(Subscriber):
    """A session from its handshake to its end.

    Messages reach its client over a ``websocket`` at any time, or with the replies to its requests; one ``/meta/connect`` may be ``held``.
    Each connect has a number, ``connect_seq``, so that the end of an older connect does not start the clock
    (docs/protocol/bayeux.md#held-connects).
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_endings",
        "_expiry",
        "_expiry_at",
        "_polling",
        "acknowledged",
        "active_at",
        "binding",
        "by_callback",
        "calls",
        "connect_seq",
        "connected",
        "delivery",
        "end_untold",
        "ended",
        "extensions",
        "held",
        "in_flight",
        "interval_ms",
        "replay",
        "request_order",
        "requests",
        "sent_position",
        "tells_end",
        "websocket",
    )

    def __init__(
        self,
        hub: SessionHub[Subscriber],
        context: BayeuxContext,
        polling: Delivery,
        endings: Endings,
        identifier: str,
        principal: Principal,
        binding: Binding,
    ) -> None:
        super().__init__(hub, identifier, principal)
        self._context = context
        self._polling = polling
        self._endings = endings
        self.binding = binding
        """What it requires of requests that name its clientId."""
        self.connected = False
        """Whether a connect has come."""
        self.ended = False
        # what the handshake turned on
        self.acknowledged: Acknowledged | None = None
        """The batches that the client has not acknowledged; None without the ack extension."""
        self.replay = False
        """Whether the client hears the position of each message of a log channel."""
        self.sent_position = 0
        """The last position of the log that a connect reply told."""
        self.extensions: tuple[SessionHooks[ServerSession], ...] = ()
        # the end of its credential
        self.tells_end = False
        """Whether replies to connects tell when its credential ends: it ends soon, or is a new one."""
        self.end_untold = False
        """Whether the next connect is answered at once for that."""
        # how the client is reached
        self.delivery = polling
        self.websocket: WebSocketDelivery | None = None
        self.by_callback = False
        """Its last request came by callback-polling."""
        self.held: HeldConnect[ServerSession] | None = None
        self.in_flight = False
        """Whether a response with messages is on its way to the client, and nobody knows yet whether it arrives. If it does not, they are
        queued again; until that is known no later message is sent, so that none comes before them. Never with the ack extension, by which
        each reply brings all that is not acknowledged, in order.
        """
        self.connect_seq = 0
        self.interval_ms: int | None = None
        """The pause that the client announced with its last connect, in ms; None when it did not."""
        # what the client does
        self.requests = 0
        """Requests that are being processed; their responses carry what is published meanwhile."""
        self.request_order = RequestOrder(hub.loop)
        self.calls = 0
        """Remote calls that are under way."""
        self.active_at = hub.clock.monotonic()
        """When the last message came or went that counts as activity (docs/protocol/bayeux.md#activity); monotonic seconds."""
        # the clock that ends it
        self._deadline = math.inf
        self._expiry: Timer | None = None
        self._expiry_at = math.inf

    @property
    def door(self) -> str:
        if self.websocket is not None:
            return WEBSOCKET
        return CALLBACK_POLLING if self.by_callback else LONG_POLLING

    # -- whose it is ------------------------------------------------------------------------------------------------

    @property
    def browsers(self) -> tuple[str, ...]:
        """The ``BAYEUX_BROWSER`` cookies that lead to it."""
        return self.binding.browsers

    def answers_to(self, peer: Peer, websocket: WebSocketDelivery | None) -> bool:
        """Whether a request brings the credential or the cookie that this session requires."""
        return self.binding.fits(peer, self.principal, bound=websocket is not None and websocket is self.websocket)

    # -- the clock that ends it -------------------------------------------------------------------------------------

    def expire_in(self, milliseconds: int) -> None:
        """Start the clock, or start it again: the session ends when it runs out."""
        now = self.hub.clock.monotonic()
        self._deadline = now + milliseconds / 1000
        if self._expiry is not None:
            if self._expiry_at <= self._deadline:  # it looks at the deadline when it fires: most requests cost no timer at all
                return
            self.hub.timers.cancel(self._expiry)
        self._set_expiry()

    def _set_expiry(self) -> None:
        self._expiry_at = self._deadline
        self._expiry = self.hub.timers.after(self._deadline - self.hub.clock.monotonic(), self._check_expiry)

    def _check_expiry(self) -> None:
        self._expiry = None
        if self.ended or self._deadline == math.inf:
            return
        if self.hub.clock.monotonic() < self._deadline:
            self._set_expiry()
            return
        self._endings.expire(self)

    def start_clock(self) -> None:
        """The client has ``interval``, its own when it announced one, + ``maxInterval`` from now on to send its next connect."""
        interval_ms = self.hub.limits.interval_ms if self.interval_ms is None else self.interval_ms
        self.expire_in(interval_ms + self.hub.limits.max_interval_ms)

    def touch(self) -> None:
        """A message of the client has come: start a running clock anew. A session that is closing ends at its time all the same."""
        if self._deadline != math.inf and not self.closing:
            self.start_clock()

    @property
    def idle_too_long(self) -> bool:
        """Whether it had no activity for longer than it may (docs/protocol/bayeux.md#activity)."""
        limit = self.hub.limits.activity_ms
        return bool(limit) and self.hub.clock.monotonic() - self.active_at > limit / 1000

    # -- connects ---------------------------------------------------------------------------------------------------

    def begin_connect(self) -> None:
        """A connect has come: it stops the clock."""
        self.connect_seq += 1
        self._deadline = math.inf

    def connect_answered(self, connect_seq: int) -> None:
        """The reply to a connect was written, or the client has gone: start the clock, unless a newer connect has come."""
        if connect_seq == self.connect_seq and self.held is None and not self.ended:
            self.start_clock()

    def release_connect(self) -> HeldConnect[ServerSession] | None:
        """Stop holding the connect that is held, and return it; None when none is held."""
        held, self.held = self.held, None
        if held is None:
            return None
        if held.timer is not None:
            self.hub.timers.cancel(held.timer)
            held.timer = None  # it refers to the connect: without this each connect would be left to the collector of reference cycles
        self._context.registry.release(held.browser)
        return held

    def supersede_connect(self) -> None:
        """The connect that is held gets no reply any more."""
        held = self.release_connect()
        if held is not None:
            held.superseded = True
            held.finish()

    def abandon_connect(self, held: HeldConnect[ServerSession]) -> None:
        """The client of a held connect has gone: the messages stay queued, and the clock starts."""
        if self.held is held:
            self.release_connect()
            held.abandon()
            self.connect_answered(held.connect_seq)

    # -- what waits -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        if self.direct_write is not None and self.send_directly():  # nearly always over a WebSocket
            return
        if not self.ended:
            self.delivery.flush(self)

    def encode(self, messages: Iterable[Message]) -> list[bytes]:
        """Encode messages for this session, which sends them now."""
        if messages and self._context.count_deliveries:
            self.active_at = self.hub.clock.monotonic()
        if self.replay:
            return [message.replayable() for message in messages]
        return [message.bayeux() for message in messages]

    def deliver(self, channel: str, data: Any, *, id: str | None = None) -> None:
        """Send a message to this session alone, whether it subscribed to the channel or not; ``data`` is any JSON value.

        Raises:
            ValueError: ``data`` is no JSON, or the channel is none.
        """
        encoded = json.dumps(data, separators=(",", ":"), allow_nan=False).encode("ascii")
        extra = b"" if id is None else b',"id":%b' % json.dumps(id).encode("ascii")
        self.deliver_message(Message(check_channel(channel), encoded, extra=extra))

    def deliver_message(self, message: Message) -> None:
        """As :meth:`deliver`, for a message that exists already."""
        if self.ended or self.closing:
            return
        extensions = self._context.extensions
        if not extensions.none:
            encoded = extensions.reply(self, self.extensions, message.bayeux())
            if encoded is not message.bayeux():
                message = Prepared(message, encoded)
        self.offer(message)

    def requeue(self, messages: Iterable[Message]) -> None:
        """Put messages back at the front of the queue: they were taken, and did not reach the client. Of the messages that came since,
        those that have no room any more are shed by their delivery class, so that a client that drops response after response gets no
        longer queue. With the ack extension nothing is put back, since :attr:`acknowledged` keeps all that was sent.
        """
        behind = self.queue
        if self.ended or self.acknowledged is not None:
            return
        self.waiting = list(messages)
        self.first_state = 0  # perhaps
        self.queued_bytes = sum(message.size for message in self.waiting)
        for message in behind:
            size = message.size
            if self.queued_bytes + size <= self.hub.limits.max_queue_bytes or self._make_room(message, size):
                self._append(message)
            elif not self.attached:  # a log channel's message had no room: that has ended the session
                return
        self.delivery.put_back(self)

    def depart(self) -> bool:
        """A response with messages sets out. Returns whether :meth:`landed` has to be called when its end is known."""
        if self.acknowledged is not None or self.ended:
            return False
        self.in_flight = True
        self.direct_write = None
        return True

    def landed(self) -> None:
        """It is known what became of the response that was on its way: go on with what waits."""
        self.in_flight = False
        if not self.ended:
            if self.websocket is not None:
                self.reach_by(self.websocket)
            self.wake()

    def wake(self) -> None:
        """Have the queued messages sent in the next tick, if there are any."""
        if (self.queue or self.resync_due) and not self.dirty:
            self.hub.flusher.mark(self)

    def take_with_unacknowledged(self) -> list[Message]:
        """What goes with the reply to a connect: all that the client has not acknowledged, then all that is queued."""
        taken = self.take()
        if self.acknowledged is None:
            return taken
        self._context.counters.resent += len(self.acknowledged)
        batch = self.acknowledged.send(taken)
        self._reserve()
        return batch

    def acknowledge(self, batch: int) -> None:
        """The client has seen all batches up to this one."""
        if self.acknowledged is not None:
            self.acknowledged.acknowledge(batch)
            self._reserve()
            if self.recovery is not None:
                self.recovery.resume()  # there may be room again

    def _reserve(self) -> None:
        assert self.acknowledged is not None
        self.queued_bytes += self.acknowledged.bytes - self.reserved_bytes
        self.reserved_bytes = self.acknowledged.bytes

    @property
    def unread_bytes(self) -> int:
        return 0 if self.websocket is None else self.websocket.unread_bytes

    # -- how the client is reached ----------------------------------------------------------------------------------

    def enable_replay(self) -> None:
        """The client asked for the position of each message of a log channel."""
        self.replay = True
        self.frame_cache = self.hub.frame_caches.replayable

    def enable_acknowledgement(self) -> None:
        """The client acknowledges what it gets: from now on only replies to connects carry messages, over a WebSocket too."""
        self.acknowledged = Acknowledged()
        self.reach_by(self.websocket)

    def reach_by(self, websocket: WebSocketDelivery | None) -> None:
        """From now on messages reach the client over this WebSocket; with None, with the replies to its requests."""
        self.websocket = websocket
        if websocket is None or self.acknowledged is not None:
            self.delivery = self._polling
            self.direct_write = None
        else:
            self.delivery = websocket
            self.direct_write = websocket.direct_write if self.sends_directly else None

    @property
    def sends_directly(self) -> bool:
        """Whether frames may be written to the WebSocket past :meth:`encode`, and past the queue."""
        return self.delivery is self.websocket and not self.in_flight and not self._context.count_deliveries

    # -- the end of its credential ----------------------------------------------------------------------------------

    def tell_end(self) -> None:
        """A newer credential has taken the place of the old one: the connect that is held, or else the next one, is answered at once, and
        its reply tells when that one ends.
        """
        self.tells_end = self.end_untold = self.principal.expires_ms is not None
        if self.end_untold:
            self._endings.expiring(self)

    def tell_expiring(self, seconds: int) -> None:
        self.tells_end = self.end_untold = True
        self._endings.expiring(self)

    def tell_unsubscribed(self, patterns: Sequence[str]) -> None:
        if not self.ended and not self.closing:
            self.offer_anyway(Unsubscribed(patterns))

    # -- its end ----------------------------------------------------------------------------------------------------

    def disconnect(self) -> None:
        """The server ends the session: the client gets the queued messages, ``/meta/disconnect``, and the reply to its connect with
        ``reconnect: none``. A client without a connect gets them with its next one.
        """
        self._endings.disconnect(self)

    def end_revoked(self) -> None:
        self._endings.revoke(self)

    def end_unverified(self) -> None:
        self._endings.unverified(self)

    def end_too_slow(self) -> None:
        self._endings.too_slow(self)

    def end(self) -> None:
        """The session has ended: give back all that it holds. Called once for each session."""
        self.ended = True
        if self._expiry is not None:
            self.hub.timers.cancel(self._expiry)
            self._expiry = None
        websocket, self.websocket = self.websocket, None
        self._context.registry.remove(self)
        self.hub.sessions.detach(self)
        self.hub.logins.left(self.principal)
        if websocket is not None:
            websocket.lose_session(self)
