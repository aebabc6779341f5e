"""Holds connects, and answers them (docs/protocol/bayeux.md#held-connects)."""

from __future__ import annotations

from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.replies import expiry_member, ext, failure, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import BayeuxContext, ServerSession
from hub.bayeux.timesync import Timesync
from hub.core.errors import WireError


class Connects:
    """The connects of all sessions of a server."""

    __slots__ = ("_context", "_on_timeout")

    def __init__(self, context: BayeuxContext) -> None:
        self._context = context
        self._on_timeout = self._timed_out  # made once, for thousands of connects are held

    def begin(self, session: ServerSession) -> None:
        """A connect has come: it stops the clock and supersedes the one that is held."""
        session.begin_connect()
        if session.held is not None:
            self._context.counters.duplicate_connects += 1
            session.supersede_connect()

    def hold(
        self,
        session: ServerSession,
        batch: ResponseBatch,
        beginning: bytes,
        timeout_ms: int,
        *,
        timesync: Timesync | None,
        browser: str | None,
    ) -> None:
        """Hold the connect that has just begun until there are messages, for at most ``timeout_ms``. ``beginning`` is the head of its
        reply, ``browser`` see :class:`HeldConnect`.
        """
        held = HeldConnect(
            session,
            self._on_timeout,
            beginning,
            session.connect_seq,
            batch.messages,
            batch.replies,
            timesync=timesync,
            browser=browser,
            websocket=session.websocket,
        )
        held.timer = session.hub.timers.after(timeout_ms / 1000, held.timed_out)
        batch.held = session.held = held
        self._context.registry.hold(browser)
        if session.resync_due and not session.dirty:
            session.hub.flusher.mark(session)

    def _timed_out(self, session: ServerSession) -> None:
        if session.idle_too_long:
            session.disconnect()
        else:
            self.answer(session)

    def answer(self, session: ServerSession) -> None:
        """Answer the connect that is held, with the queued messages: a message came, or its time is over."""
        held = self._take(session)
        if held is not None:
            self.finish(session, held, self.reply(session, held.beginning, held.timesync, self._context.advice.retry))

    def send_away(self, session: ServerSession) -> None:
        """The server stops: answer the connect that is held with the queued messages and the advice to shake hands again.

        The reply is 402, not a success, for clients follow that advice on a failed reply only.
        """
        held = self._take(session)
        if held is not None:
            self.refuse(session, held)
            self.let_go(session)

    def let_go(self, session: ServerSession) -> None:
        """Send nothing more over the WebSocket of a session whose client was told that it is unknown: the client may have forgotten its
        subscriptions, while an extension that remembers positions (replay) would take such a message for one that was heard.
        """
        websocket = session.websocket
        if websocket is not None:
            session.reach_by(None)
            websocket.lose_session(session)

    def _take(self, session: ServerSession) -> HeldConnect[ServerSession] | None:
        """Stop holding the connect that is held, and give it the messages that go with its reply."""
        if not session.flush_pending():
            return None
        held = session.release_connect()
        if held is not None:
            held.messages.extend(session.delivery.take_for_reply(session))
        return held

    def refuse(self, session: ServerSession, held: HeldConnect[ServerSession], *, spread: bool = False) -> None:
        """Answer a connect that was held with 402, and the advice to shake hands again. ``spread``: see
        :meth:`hub.bayeux.advice.Advice.handshake`.
        """
        self.finish(session, held, failure(held.beginning, WireError.SESSION_UNKNOWN.text, self._context.advice.handshake(spread=spread)))

    def finish(self, session: ServerSession, held: HeldConnect[ServerSession], reply: bytes) -> None:
        """Answer a connect that was held with this reply."""
        extensions = self._context.extensions
        if held.messages and held.websocket is None:
            held.in_flight = session.depart()
        held.replies.append(reply if extensions.none else extensions.reply(session, session.extensions, reply))
        held.finish()

    def reply(self, session: ServerSession, beginning: bytes, timesync: Timesync | None, advice: bytes) -> bytes:
        """A good reply to a connect, with the members of the protocol's extensions. Its messages have been taken from the queue."""
        if session.acknowledged is None and timesync is None and not session.replay and not session.tells_end:  # nearly always
            return success(beginning, advice)
        members: dict[str, bytes] = {}
        if session.tells_end:
            self._add_end(session, members)
        if session.acknowledged is not None:
            members["ack"] = b"%d" % session.acknowledged.batch
        if timesync is not None:
            members["timesync"] = timesync.member(session.hub.clock.wall_ms())
        if session.replay and session.recovery is None and not session.in_flight and not session.queue:
            position = session.hub.positions.newest(session.principal.tenant)
            # the position of a client that hears nothing for long must not fall behind the records that the log keeps
            if position is not None and position > session.sent_position:
                session.sent_position = position
                members["replay"] = b"%d" % position
        return success(beginning, ext(members) + advice)

    def _add_end(self, session: ServerSession, members: dict[str, bytes]) -> None:
        """Add when the credential ends: with each reply from the notice on, once where a newer one was shown."""
        renewals = session.hub.renewals
        left = renewals.expires_in(session.principal)
        if left is not None:
            members["authentication"] = expiry_member(left)
        session.end_untold = False
        session.tells_end = renewals.is_soon(left)
