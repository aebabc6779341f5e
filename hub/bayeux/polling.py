"""Delivery by the replies to ``/meta/connect``: long-polling, callback-polling, and WebSockets whose clients acknowledge what they get."""

from __future__ import annotations

from hub.bayeux.connects import Connects
from hub.bayeux.held_connect import HeldConnect
from hub.bayeux.ports import Peer
from hub.bayeux.session import ServerSession, WebSocketDelivery
from hub.core.message import Message


class PollingDelivery:
    """Sends queued messages with the reply to the connect that is held. While none is held they stay queued until the next connect, or the
    response to another request. Nothing is sent while a response with messages is on its way: they may be queued again, and come first then
    (:attr:`hub.bayeux.session.ServerSession.in_flight`). One object serves all sessions of a server. See
    :class:`hub.bayeux.session.Delivery`.
    """

    __slots__ = ("_connects",)

    def __init__(self, connects: Connects) -> None:
        self._connects = connects

    def flush(self, session: ServerSession) -> None:
        if session.held is None or session.requests or session.in_flight:
            return  # the messages go with the next response
        if session.queue:
            self._connects.answer(session)
        else:
            session.take()  # nothing but a snapshot is due: ask for it

    def answers_at_once(self, session: ServerSession) -> bool:
        return bool((session.queue and not session.in_flight) or session.acknowledged)

    def rides_on_response(self, session: ServerSession, peer: Peer, websocket: WebSocketDelivery | None, *, connect: bool) -> bool:
        # only replies to connects carry messages that are to be acknowledged, and any message by callback-polling
        return websocket is None and session.acknowledged is None and not session.in_flight and (connect or not peer.callback)

    def reaches_client(self, session: ServerSession) -> bool:
        return session.held is not None

    def take_for_reply(self, session: ServerSession) -> list[Message]:
        return [] if session.in_flight else session.take_with_unacknowledged()

    def put_back(self, session: ServerSession) -> None:
        session.wake()

    def send_last(self, session: ServerSession, held: HeldConnect[ServerSession] | None, closing: Message | None) -> None:
        if held is None:
            return
        if session.in_flight:  # a client that comes back with its position would not get what was lost before a later message
            held.messages.extend([] if closing is None else [closing])
            return
        if closing is not None:
            session.offer_anyway(closing)
        held.messages.extend(session.take_with_unacknowledged())
