"""One Bayeux session: what waits, the connect that is held, and the clock that ends it. It knows nothing of HTTP or WebSocket."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hub.bayeux.acknowledge import Acknowledged
from hub.bayeux.binding import Binding
from hub.bayeux.extensions import SessionExtension
from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.ports import CALLBACK_POLLING, LONG_POLLING, WEBSOCKET, Peer
from hub.bayeux.replies import ServerDisconnect, ext, failure, success
from hub.bayeux.timesync import Timesync
from hub.bayeux.turns import Turns
from hub.core.channels import check_channel
from hub.core.errors import CloseCode, WireError
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.timers import Timer

if TYPE_CHECKING:
    from hub.bayeux.link import SocketLink
    from hub.bayeux.server import BayeuxServer


class ServerSession(Subscriber):
    """A session from its handshake to its end.

    It is reached in one of two ways: by a WebSocket, ``link``, at any time; or by the ``/meta/connect`` that long-polling has ``held``.
    Each connect has a number, ``cycle``; what belongs to an older one can neither answer nor start the clock
    (docs/protocol/bayeux.md#held-connects).
    """

    __slots__ = (
        "_deadline",
        "_expiry",
        "_expiry_at",
        "_sent_position",
        "_server",
        "acknowledged",
        "active_at",
        "binding",
        "by_callback",
        "calls",
        "connected",
        "cycle",
        "ended",
        "extensions",
        "held",
        "interval_ms",
        "link",
        "replay",
        "requests",
        "turns",
    )

    def __init__(self, server: BayeuxServer, identifier: str, principal: Principal, binding: Binding) -> None:
        super().__init__(server.hub, identifier, principal)
        self._server = server
        self.binding = binding
        """What it asks of the requests that name its clientId."""
        self.connected = False
        """Whether a connect ever came."""
        self.ended = False
        # what the handshake turned on
        self.acknowledged: Acknowledged | None = None
        self.replay = False
        self._sent_position = 0
        """The last position of the log that a connect reply told."""
        self.extensions: tuple[SessionExtension, ...] = ()
        # how it is reached
        self.by_callback = False
        """Its last request came by callback-polling."""
        self.link: SocketLink | None = None
        self.held: HeldConnect | None = None
        self.cycle = 0
        self.interval_ms: int | None = None
        """The pause that the client announced with its last connect, in ms; None when it did not."""
        self.requests = 0
        """HTTP requests of this session that are being processed: what is published meanwhile rides on their responses."""
        self.turns = Turns(server.hub.loop)
        self.calls = 0
        """Remote calls that are under way."""
        self.active_at = server.hub.clock.monotonic()
        """When there was the last traffic but connects."""
        self._deadline = math.inf
        self._expiry: Timer | None = None
        self._expiry_at = math.inf

    @property
    def door(self) -> str:
        if self.link is not None:
            return WEBSOCKET
        return CALLBACK_POLLING if self.by_callback else LONG_POLLING

    # -- whose it is ------------------------------------------------------------------------------------------------

    def answers_to(self, peer: Peer) -> bool:
        """Whether a request brings the credential or the cookie that this session asks for."""
        return self.binding.fits(peer, self.principal, self.link)

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
        self._server.counters.expired += 1
        self._end()

    def start_clock(self) -> None:
        """The client has ``interval``, its own when it announced one, + ``maxInterval`` from now on to send its next connect."""
        interval_ms = self.hub.limits.interval_ms if self.interval_ms is None else self.interval_ms
        self.expire_in(interval_ms + self.hub.limits.max_interval_ms)

    def touch(self) -> None:
        """Any message of the client's puts a running clock back to its start; who was sent away has to connect, to hear of it."""
        if self._deadline != math.inf and not self.closing:
            self.start_clock()

    # -- connects ---------------------------------------------------------------------------------------------------

    def begin_connect(self) -> None:
        """A connect has come: it stops the clock and ends the one that is held."""
        self.cycle += 1
        self._deadline = math.inf
        if self.held is not None:
            self._server.counters.duplicate_connects += 1
            self._supersede()

    def hold(self, beginning: bytes, timeout_ms: int, *, timesync: Timesync | None, browser: str | None) -> HeldConnect:
        """Hold the connect that has just begun until something waits, for at most ``timeout_ms``."""
        held = HeldConnect(self, beginning, self.cycle, timesync=timesync, browser=browser)
        held.timer = self.hub.timers.after(timeout_ms / 1000, self._held_long_enough)
        self.held = held
        self._server.connects_held += 1
        if browser is not None:
            self._server.occupied[browser] += 1
        if self.resync_due and not self.dirty:
            self.hub.flusher.mark(self)
        return held

    def send_away(self) -> None:
        """The server stops: end the connect that is held, with what waits and the advice to shake hands again.

        It is answered 402, not as a success: to clients that advice means something on a failed reply alone.
        """
        held = self._answer()
        if held is not None:
            self._finish(held, failure(held.beginning, WireError.SESSION_UNKNOWN.text, self._server.handshake_advice()))

    def _held_long_enough(self) -> None:
        if self._server.idle_too_long(self):
            self.disconnect()
        else:
            self.answer_held()

    def _finish(self, held: HeldConnect, reply: bytes) -> None:
        held.reply = self._server.outgoing(self, reply)
        held.finish()

    def answer_held(self) -> None:
        """Answer the connect that is held, with what waits: a message came, or its time is over."""
        held = self._answer()
        if held is not None:
            self._finish(held, self.connect_reply(held.beginning, held.timesync, self._server.retry_advice))

    def connect_reply(self, beginning: bytes, timesync: Timesync | None, advice: bytes) -> bytes:
        """A good reply to a connect, with what the session's extensions say in it. What goes with it has been taken."""
        members: dict[str, bytes] = {}
        if self.acknowledged is not None:
            members["ack"] = b"%d" % self.acknowledged.batch
        if timesync is not None:
            members["timesync"] = timesync.member(self.hub.clock.wall_ms())
        if self.replay and self.recovery is None and not self.queue:
            position = self.hub.position(self.principal.tenant)
            if position is not None and position > self._sent_position:  # who hears nothing for long must not fall behind what is kept
                self._sent_position = position
                members["replay"] = b"%d" % position
        return success(beginning, ext(members) + advice)

    def take_for_connect(self) -> list[Message]:
        """What goes with the reply to a connect: all that waits, behind all that the client has not acknowledged."""
        taken = self.take()
        if self.acknowledged is None:
            return taken
        self._server.counters.resent += len(self.acknowledged)
        batch = self.acknowledged.send(taken)
        self._reserve()
        return batch

    def acknowledge(self, batch: int) -> None:
        """The client has seen all batches up to this one."""
        if self.acknowledged is not None:
            self.acknowledged.acknowledge(batch)
            self._reserve()
            self.hub.replay(self)  # there may be room again

    def _reserve(self) -> None:
        assert self.acknowledged is not None
        self.queued_bytes += self.acknowledged.bytes - self.reserved_bytes
        self.reserved_bytes = self.acknowledged.bytes

    @property
    def waits(self) -> bool:
        """Whether a connect that has come is answered at once, because there is something that it alone can carry."""
        if self.acknowledged is not None:
            return bool(self.queue or self.acknowledged)
        return self.link is None and bool(self.queue)

    def _answer(self) -> HeldConnect | None:
        """Let go of the connect that is held; it takes with it what waits, but on a WebSocket without acknowledgement."""
        if not self.flush_pending():
            return None
        held = self._release()
        if held is not None and (self.link is None or self.acknowledged is not None):
            held.messages = self.take_for_connect()
        return held

    def abandon(self, held: HeldConnect) -> None:
        """The client of a held connect has gone: what waits goes on waiting, and the clock starts."""
        if self.held is held:
            self._release()
            self.connect_answered(held.cycle)

    def connect_answered(self, cycle: int) -> None:
        """The reply of a connect was written, or nobody was there to read it: unless a newer one has come, the clock starts."""
        if cycle == self.cycle and self.held is None and not self.ended:
            self.start_clock()

    def _supersede(self) -> None:
        held = self._release()
        if held is not None:
            held.superseded = True
            held.finish()

    def _release(self) -> HeldConnect | None:
        held, self.held = self.held, None
        if held is None:
            return None
        self._server.connects_held -= 1
        if held.timer is not None:
            self.hub.timers.cancel(held.timer)
        if held.browser is not None:
            self._server.release_browser(held.browser)
            held.browser = None
        return held

    # -- what waits -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        if self.ended:
            return
        if self.link is not None and self.acknowledged is None:
            if not self.send_directly():
                self.link.push(self)
        elif self.held is None or self.requests:
            return  # it waits for the next response
        elif self.queue:
            self.answer_held()
        else:
            self.take()  # nothing but a snapshot is due: ask for it

    def encode(self, messages: Iterable[Message]) -> list[bytes]:
        """Messages as this session gets them, on their way out."""
        if messages and self._server.activity_counts_deliveries:
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
        """As :meth:`deliver`, of a message that is made already."""
        if self.ended or self.closing:
            return
        if not self._server.extensions.none:
            message = self._server.outgoing_message(self, message)
        self.offer(message)

    def requeue(self, messages: Iterable[Message]) -> None:
        """Put messages back in front: they were taken and did not reach the client. Of what came since, all that has no room any more is
        given up as its delivery class says: a client that lets go of response after response gets no longer queue by it. What has to be
        acknowledged is kept anyway.
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
            elif self.id not in self._server.sessions:  # a log channel's message had none: that has ended it
                return
        if self.link is None:  # a WebSocket that did not take them is about to be gone: trying again at once would be an endless loop
            self.wake()

    def wake(self) -> None:
        """Have what waits sent in the next tick, if anything does."""
        if (self.queue or self.resync_due) and not self.dirty:
            self.hub.flusher.mark(self)

    @property
    def unread_bytes(self) -> int:
        return 0 if self.link is None else self.link.connection.buffered

    # -- the WebSocket ----------------------------------------------------------------------------------------------

    def update_direct_write(self) -> None:
        """Take the direct way to the client, where there is one now; the others go through :meth:`encode`, or wait for a connect."""
        direct = self.link is not None and self.acknowledged is None and not self._server.activity_counts_deliveries
        self.direct_write = self.link.connection.direct_write if direct and self.link is not None else None

    def tell_positions(self) -> None:
        """The client wants to hear the position of each message of a log channel."""
        self.replay = True
        self.frame_cache = self.hub.frame_caches.replayable

    def bind(self, link: SocketLink) -> None:
        """From now on this WebSocket is the way to the client (docs/protocol/bayeux.md#websocket: at its first message of any kind)."""
        before, self.link = self.link, link
        if before is not None:
            before.lose_session(self)
            if self.held is not None and self.held.link is before:
                self._supersede()
                self.start_clock()
        self.update_direct_write()
        self.wake()

    def unbind(self, link: SocketLink) -> None:
        """The WebSocket closed, or turned to another session: the ``maxInterval`` clock starts at once (docs/protocol/bayeux.md#expiry)."""
        if self.link is not link:
            return
        if self.held is not None and self.held.link is link and link.connection.open:
            self.answer_held()  # the client is there still, and every request gets its reply
        self.link = None
        self.update_direct_write()
        if self.held is not None and self.held.link is None:  # long-polling holds a connect meanwhile
            self.wake()
            return
        self._release()
        self.expire_in(self.hub.limits.max_interval_ms)

    def leave_link(self) -> None:
        """The client has turned from its WebSocket to long-polling."""
        if self.link is not None:
            link, self.link = self.link, None
            self.update_direct_write()
            link.lose_session(self)

    # -- its end ----------------------------------------------------------------------------------------------------

    def end_by_client(self) -> list[Message]:
        """``/meta/disconnect``: the held connect is answered with ``reconnect: none`` (docs/protocol/bayeux.md#disconnect). Returns what
        still waited.
        """
        self._server.counters.disconnects += 1
        if not self.flush_pending():
            return []
        self.resync_due = False
        waiting = self.take()
        held = self._release()
        self._end()
        if held is not None:
            self._finish(held, success(held.beginning, self._server.none_advice))
        return waiting

    def disconnect(self) -> None:
        """The server ends the session: what waits, ``/meta/disconnect``, and the reply to the connect with ``reconnect: none``. A client
        between two connects is told by its next one.
        """
        if self.ended or self.closing or not self.flush_pending():
            return
        self._server.counters.disconnected += 1
        if self.held is None and (self.link is None or self.acknowledged is not None):
            self.closing = True
            self.hub.unsubscribe(self, list(self.subscriptions))
            self.resync_due = False
            self.recovery = None
            self.offer_anyway(ServerDisconnect())
            self.start_clock()
            return
        self._send_home()

    def _send_home(self) -> None:
        held = self._part(ServerDisconnect())
        if held is not None:
            self._finish(held, self.connect_reply(held.beginning, held.timesync, self._server.none_advice))

    def end_revoked(self) -> None:
        """The credential is gone: ``/meta/disconnect`` from the server, then the connect reply with ``reconnect: none``."""
        if self.ended or not self.flush_pending():
            return
        self._server.counters.revoked += 1
        link = self.link
        self._send_home()
        if link is not None:
            link.connection.close(CloseCode.NOT_AUTHENTICATED, "the credential was removed or changed")

    def end_too_slow(self) -> None:
        """A log channel overflowed: the session ends, and the client is told to shake hands again and replay."""
        if self.ended:
            return
        link = self.link
        self.hub.fan_outs.drop(self)
        self.waiting.clear()
        self.queued_bytes = 0
        held = self._part(None)
        if held is not None:
            self._finish(held, failure(held.beginning, WireError.SESSION_UNKNOWN.text, self._server.handshake_advice()))
        if link is not None:
            link.connection.close(CloseCode.TOO_SLOW, "messages of a log channel waited for too long; shake hands again")

    def _part(self, closing: Message | None) -> HeldConnect | None:
        """End it, with what waits and a last message on the way to the client where there is a way; returns the connect to be answered."""
        self.resync_due = False
        self.recovery = None
        held = self._release()
        link = self.link
        if link is not None and self.acknowledged is None:
            link.push(self)
            if closing is not None:
                link.send([closing.bayeux()])
        elif held is not None:
            if closing is not None:
                self.offer_anyway(closing)
            held.messages = self.take_for_connect()
        self._end()
        return held

    def end_by_connect(self) -> None:
        """The connect after :meth:`disconnect` has come, and takes all with it: the session is over."""
        self._end()

    def _end(self) -> None:
        self.ended = True
        if self._expiry is not None:
            self.hub.timers.cancel(self._expiry)
            self._expiry = None
        link, self.link = self.link, None
        self._server.forget(self)
        if link is not None:
            link.lose_session(self)
