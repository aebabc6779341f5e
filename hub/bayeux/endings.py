"""How sessions end, and what their clients are told then (docs/protocol/bayeux.md#disconnect)."""

from __future__ import annotations

from hub.bayeux.connects import Connects
from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.replies import ServerDisconnect, success
from hub.bayeux.session import BayeuxContext, ServerSession
from hub.core.errors import CREDENTIAL_ENDED, CREDENTIAL_UNVERIFIED, CloseCode
from hub.core.message import Message


class SessionEndings:
    """Ends the sessions of a server. See :class:`hub.bayeux.session.Endings`."""

    __slots__ = ("_connects", "_context")

    def __init__(self, context: BayeuxContext, connects: Connects) -> None:
        self._context = context
        self._connects = connects

    def by_client(self, session: ServerSession) -> list[Message]:
        """``/meta/disconnect``: the held connect is answered with ``reconnect: none``. Returns the messages that were queued."""
        self._context.counters.disconnects += 1
        if not session.flush_pending():
            return []
        session.resync_due = False
        waiting = [] if session.in_flight else session.take()
        held = session.release_connect()
        session.end()
        if held is not None:
            self._connects.finish(session, held, success(held.beginning, self._context.advice.none))
        return waiting

    def disconnect(self, session: ServerSession) -> None:
        """The server ends the session: the client gets the queued messages, ``/meta/disconnect``, and the reply to its connect with
        ``reconnect: none``. A client without a connect gets them with its next one.
        """
        if session.ended or session.closing or not session.flush_pending():
            return
        self._context.counters.disconnected += 1
        if session.delivery.reaches_client(session):
            self._send_home(session)
            return
        session.closing = True
        session.hub.subscriptions.unsubscribe(session, list(session.subscriptions))
        session.resync_due = False
        session.recovery = None
        session.offer_anyway(ServerDisconnect())
        session.start_clock()

    def revoke(self, session: ServerSession) -> None:
        """The credential is gone: ``/meta/disconnect`` from the server, then the connect reply with ``reconnect: none``."""
        if session.ended or not session.flush_pending():
            return
        self._context.counters.revoked += 1
        websocket = session.websocket
        self._send_home(session)
        if websocket is not None:
            websocket.close(CloseCode.NOT_AUTHENTICATED, CREDENTIAL_ENDED)

    def unverified(self, session: ServerSession) -> None:
        """Nobody knows whether the credential is good: the connect is answered with the advice to shake hands again within 5 s, for all
        clients come at once.
        """
        if session.ended or not session.flush_pending():
            return
        self._context.counters.revoked += 1
        websocket = session.websocket
        held = self._end(session, None)
        if held is not None:
            self._connects.refuse(session, held, spread=True)
        if websocket is not None:
            websocket.close(CloseCode.UNAVAILABLE, CREDENTIAL_UNVERIFIED)

    def _send_home(self, session: ServerSession) -> None:
        held = self._end(session, ServerDisconnect())
        if held is not None:
            reply = self._connects.reply(session, held.beginning, held.timesync, self._context.advice.none)
            self._connects.finish(session, held, reply)

    def too_slow(self, session: ServerSession) -> None:
        """A message of a log channel had no room in the queue: end the session, and tell the client to shake hands again and replay."""
        if session.ended:
            return
        websocket = session.websocket
        session.hub.fan_outs.drop(session)
        session.waiting.clear()
        session.queued_bytes = 0
        held = self._end(session, None)
        if held is not None:
            self._connects.refuse(session, held)
        if websocket is not None:
            websocket.close(CloseCode.TOO_SLOW, "messages of a log channel waited for too long; shake hands again")

    def expire(self, session: ServerSession) -> None:
        """The client has sent nothing for too long: end the session without a message."""
        self._context.counters.expired += 1
        session.end()

    def expiring(self, session: ServerSession) -> None:
        """The credential ends soon, or is a new one: answer the connect that is held, whose reply tells it. Without one the next connect
        is answered at once.
        """
        self._connects.answer(session)

    def _end(self, session: ServerSession, closing: Message | None) -> HeldConnect[ServerSession] | None:
        """End the session, after sending the queued messages and ``closing`` if the client can be reached. Returns the connect that was
        held, which the caller answers.
        """
        session.resync_due = False
        session.recovery = None
        held = session.release_connect()
        session.delivery.send_last(session, held, closing)
        session.end()
        return held
