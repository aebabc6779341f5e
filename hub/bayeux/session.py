"""One Bayeux session: what waits, the connect that is held, and the clock that ends it. It knows nothing of HTTP or WebSocket."""

from __future__ import annotations

import hmac
import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hub.bayeux.ports import Peer
from hub.bayeux.replies import SERVER_DISCONNECT, failure, success
from hub.core.errors import CloseCode, WireError
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.timers import Timer

if TYPE_CHECKING:
    from hub.bayeux.link import SocketLink
    from hub.bayeux.server import BayeuxServer


class HeldConnect:
    """A ``/meta/connect`` that is not answered yet. It ends once, and then says so to whoever waits.

    ``beginning`` is the head of its reply. ``messages`` and ``reply`` are set when it ends; ``reply`` stays None when a newer connect took
    its place, or when nobody is there to be answered any more.
    """

    __slots__ = ("_done", "_waiter", "beginning", "closing", "cycle", "link", "messages", "reply", "session", "superseded", "timer")

    def __init__(self, session: ServerSession, beginning: bytes, cycle: int) -> None:
        self.session = session
        self.beginning = beginning
        self.cycle = cycle
        self.link = session.link
        """The WebSocket that it came by; None for long-polling."""
        self.timer: Timer | None = None
        self.messages: deque[Message] = deque()
        self.closing: bytes | None = None
        """A message that stands between the events and the reply: the server's own ``/meta/disconnect``."""
        self.reply: bytes | None = None
        self.superseded = False
        self._waiter: Callable[[HeldConnect], object] | None = None
        self._done = False

    def on_done(self, waiter: Callable[[HeldConnect], object]) -> None:
        """Call ``waiter`` once when this connect has ended; at once when it has already."""
        if self._done:
            waiter(self)
        else:
            self._waiter = waiter

    def finish(self) -> None:
        """Say that it has ended."""
        self._done = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter(self)

    def parts(self) -> list[bytes]:
        """The encoded messages of the response: events first, the connect reply last (bayeux.md 1.3)."""
        parts = [message.bayeux() for message in self.messages]
        if self.closing is not None:
            parts.append(self.closing)
        if self.reply is not None:
            parts.append(self.reply)
        return parts

    def written(self) -> None:
        """The response is on its way."""
        self.session.connect_answered(self.cycle)

    def lost(self) -> None:
        """The response did not reach the client: what it carried waits again, in front of what came since."""
        self.session.requeue(self.messages)
        self.session.connect_answered(self.cycle)


class ServerSession(Subscriber):
    """A session from its handshake to its end.

    It is reached in one of two ways: by a WebSocket, ``link``, at any time; or by the ``/meta/connect`` that long-polling has ``held``.
    Each connect has a number, ``cycle``; what belongs to an older one can neither answer nor start the clock (bayeux.md 1.5).
    """

    __slots__ = (
        "_deadline",
        "_expiry",
        "_expiry_at",
        "_server",
        "browser",
        "by_header",
        "connected",
        "cycle",
        "ended",
        "held",
        "link",
        "requests",
    )

    def __init__(self, server: BayeuxServer, identifier: str, principal: Principal, *, browser: str | None, by_header: bool) -> None:
        super().__init__(server.hub, identifier, principal)
        self._server = server
        self.browser = browser
        """The ``BAYEUX_BROWSER`` cookie of the handshake; None when it came over a WebSocket without one."""
        self.by_header = by_header
        """Made with a credential in a header or the sign-in cookie: every later request must bring one of the same caller."""
        self.connected = False
        """Whether a connect ever came."""
        self.ended = False
        self.link: SocketLink | None = None
        self.held: HeldConnect | None = None
        self.cycle = 0
        self.requests = 0
        """HTTP requests of this session that are being processed: what is published meanwhile rides on their responses."""
        self._deadline = math.inf
        self._expiry: Timer | None = None
        self._expiry_at = math.inf

    # -- whose it is ------------------------------------------------------------------------------------------------

    def answers_to(self, peer: Peer) -> bool:
        """Whether a request may use this session (contract part 2): same credentials, or without them the same browser."""
        if self.by_header:
            return peer.principal is not None and self.principal.same_caller(peer.principal)
        if peer.principal is not None and self.principal.same_caller(peer.principal):
            return True
        if peer.presented and not peer.by_cookie:
            return False
        if peer.link is not None and peer.link is self.link:
            return True
        if self.browser is None:  # made over a WebSocket that brought neither a credential nor a cookie: its clientId is all that it has
            return True
        return peer.browser is not None and hmac.compare_digest(self.browser.encode(), peer.browser.encode())

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
        """The client has ``interval`` + ``maxInterval`` from now on to send its next connect."""
        self.expire_in(self.hub.limits.interval_ms + self.hub.limits.max_interval_ms)

    def touch(self) -> None:
        """Any message of the client's puts a running clock back to its start."""
        if self._deadline != math.inf:
            self.start_clock()

    # -- connects ---------------------------------------------------------------------------------------------------

    def begin_connect(self) -> None:
        """A connect has come: it stops the clock and ends the one that is held."""
        self.cycle += 1
        self._deadline = math.inf
        if self.held is not None:
            self._server.counters.duplicate_connects += 1
            self._supersede()

    def hold(self, beginning: bytes, timeout_ms: int) -> HeldConnect:
        """Hold the connect that has just begun until something waits, for at most ``timeout_ms``."""
        held = HeldConnect(self, beginning, self.cycle)
        held.timer = self.hub.timers.after(timeout_ms / 1000, self.answer_held)
        self.held = held
        if self.resync_due and not self.dirty:
            self.hub.flusher.mark(self)
        return held

    def send_away(self) -> None:
        """The server stops: end the connect that is held, with what waits and the advice to shake hands again.

        It is answered 402, not as a success: to clients that advice means something on a failed reply alone.
        """
        held = self._answer()
        if held is not None:
            held.reply = failure(held.beginning, WireError.SESSION_UNKNOWN.text, self._server.handshake_advice())
            held.finish()

    def answer_held(self) -> None:
        """Answer the connect that is held, with what waits: a message came, or its time is over."""
        held = self._answer()
        if held is not None:
            held.reply = success(held.beginning, self._server.retry_advice)
            held.finish()

    def _answer(self) -> HeldConnect | None:
        """Let go of the connect that is held; on long-polling it takes with it what waits."""
        held = self._release()
        if held is not None and self.link is None:
            held.messages = self.take()
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
        if held is not None and held.timer is not None:
            self.hub.timers.cancel(held.timer)
        return held

    # -- what waits -------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        if self.ended:
            return
        if self.link is not None:
            self.link.push(self)
        elif self.held is None or self.requests:
            return  # it waits for the next response
        elif self.queue:
            self.answer_held()
        else:
            self.take()  # nothing but a snapshot is due: ask for it

    def requeue(self, messages: Iterable[Message]) -> None:
        """Put messages back in front: they were taken and did not reach the client."""
        if self.ended:
            return
        for message in reversed(list(messages)):
            self.queue.appendleft(message)
            self.queued_bytes += message.size
        if self.link is None:  # a WebSocket that did not take them is about to be gone: trying again at once would be an endless loop
            self.wake()

    def wake(self) -> None:
        """Have what waits sent in the next tick, if anything does."""
        if (self.queue or self.resync_due) and not self.dirty:
            self.hub.flusher.mark(self)

    # -- the WebSocket ----------------------------------------------------------------------------------------------

    def bind(self, link: SocketLink) -> None:
        """From now on this WebSocket is the way to the client (bayeux.md 1.14: at its first message of any kind)."""
        before, self.link = self.link, link
        if before is not None:
            before.lose_session(self)
            if self.held is not None and self.held.link is before:
                self._supersede()
                self.start_clock()
        self.wake()

    def unbind(self, link: SocketLink) -> None:
        """The WebSocket closed, or turned to another session: the ``maxInterval`` clock starts at once (contract part 3)."""
        if self.link is not link:
            return
        self.link = None
        if self.held is not None and self.held.link is None:  # long-polling holds a connect meanwhile
            self.wake()
            return
        self._release()
        self.expire_in(self.hub.limits.max_interval_ms)

    def leave_link(self) -> None:
        """The client has turned from its WebSocket to long-polling."""
        if self.link is not None:
            link, self.link = self.link, None
            link.lose_session(self)

    # -- its end ----------------------------------------------------------------------------------------------------

    def end_by_client(self) -> deque[Message]:
        """``/meta/disconnect``: the held connect is answered with ``reconnect: none`` (bayeux.md 1.6). Returns what still waited."""
        self.resync_due = False
        waiting = self.take()
        held = self._release()
        self._server.counters.disconnects += 1
        self._end()
        if held is not None:
            held.reply = success(held.beginning, self._server.none_advice)
            held.finish()
        return waiting

    def end_revoked(self) -> None:
        """The credential is gone: ``/meta/disconnect`` from the server, then the connect reply with ``reconnect: none``."""
        if self.ended:
            return
        self._server.counters.revoked += 1
        link = self.link
        held = self._part(SERVER_DISCONNECT)
        if held is not None:
            held.reply = success(held.beginning, self._server.none_advice)
            held.finish()
        if link is not None:
            link.connection.close(CloseCode.NOT_AUTHENTICATED, "the credential was removed or changed")

    def end_too_slow(self) -> None:
        """A log channel overflowed: the session ends, and the client is told to shake hands again and replay."""
        if self.ended:
            return
        link = self.link
        self.queue.clear()
        self.queued_bytes = 0
        held = self._part(None)
        if held is not None:
            held.reply = failure(held.beginning, WireError.SESSION_UNKNOWN.text, self._server.handshake_advice())
            held.finish()
        if link is not None:
            link.connection.close(CloseCode.TOO_SLOW, "messages of a log channel waited for too long; shake hands again")

    def _part(self, closing: bytes | None) -> HeldConnect | None:
        """End it, with what waits and a last message on the way to the client where there is a way; returns the connect to be answered."""
        self.resync_due = False
        held = self._release()
        if self.link is not None:
            self.link.push(self)
            if closing is not None:
                self.link.write([closing])
        elif held is not None:
            held.messages = self.take()
            held.closing = closing
        self._end()
        return held

    def _end(self) -> None:
        self.ended = True
        if self._expiry is not None:
            self.hub.timers.cancel(self._expiry)
            self._expiry = None
        link, self.link = self.link, None
        self._server.forget(self)
        if link is not None:
            link.lose_session(self)
