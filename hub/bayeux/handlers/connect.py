"""``/meta/connect`` (Bayeux 1.0 section 4.2)."""

from __future__ import annotations

from hub.bayeux.connects import Connects
from hub.bayeux.messages import Incoming
from hub.bayeux.replies import failure, head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import BayeuxContext, ServerSession
from hub.bayeux.timesync import read_timesync
from hub.core.errors import WireError


class ConnectHandler:
    """Answers connects at once, or holds them."""

    __slots__ = ("_connects", "_context")

    def __init__(self, context: BayeuxContext, connects: Connects) -> None:
        self._context = context
        self._connects = connects

    def handle(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes | None:
        """MUST contain channel, clientId, connectionType; MAY contain ext, id, advice. Returns None when the connect is held.

        It is answered at once when it is the first, not alone in its request, when the client asks for it with ``advice.timeout`` 0, and on
        long-polling when something waits; also when it has to tell the end of the credential (docs/protocol/bayeux.md#connect).

        Raises:
            FieldError: a member has the wrong type.
        """
        context = self._context
        limits, advice = context.limits, context.advice
        message.text("connectionType")
        wanted = pause = acknowledged = timesync = None
        if "advice" in message.fields:
            wanted, pause = message.timeout_ms(), message.interval_ms()
        if "ext" in message.fields:
            acknowledged, timesync = message.acknowledged(), read_timesync(message, session.hub.clock.wall_ms)
        timeout_ms = limits.timeout_ms if wanted is None else min(wanted, limits.timeout_ms)
        context.counters.connects += 1
        first = not session.connected
        if first:
            session.connected = True
            context.registry.connected(session.principal.tenant)
        if batch.websocket is None and session.websocket is not None:  # the client has turned to long-polling
            websocket = session.websocket
            session.reach_by(None)
            websocket.lose_session(session)
        self._connects.begin(session)
        session.interval_ms = None if pause is None else max(limits.interval_ms, min(pause, limits.max_client_interval_ms))
        batch.connect_seq = session.connect_seq
        if acknowledged is not None:
            session.acknowledge(acknowledged)
        if advice.draining:
            self._connects.let_go(session)
            return failure(head(message), WireError.SESSION_UNKNOWN.text, advice.handshake())
        if session.idle_too_long:
            session.disconnect()
            if session.ended:
                return success(head(message), advice.none)
        closing = session.closing and not session.in_flight  # else the client is told when it is known what came before
        advised = advice.none if closing else advice.retry
        waits = session.delivery.answers_at_once(session)
        if session.ended:  # what fan-outs had for it was too much for its queue
            return failure(head(message), WireError.SESSION_UNKNOWN.text, advice.handshake())
        if not (first or not batch.alone or timeout_ms == 0 or waits or closing or session.end_untold):
            peer = batch.peer
            browser = None if batch.websocket is not None or peer.callback or not peer.browsers else peer.browsers[0]
            if browser is None or context.registry.occupied.get(browser, 0) < limits.max_held_per_browser:
                self._connects.hold(session, batch, head(message), timeout_ms, timesync=timesync, browser=browser)
                return None
            context.counters.many_clients += 1
            advised = advice.many_clients
        if session.acknowledged is not None:
            batch.messages.clear()  # of a connect before it in the same request, whose batch is a part of this one
        if session.acknowledged is not None or closing:
            batch.messages.extend(session.take_with_unacknowledged())
        reply = self._connects.reply(session, head(message), timesync, advised)
        if closing:  # the client has been told now
            session.end()
        return reply
