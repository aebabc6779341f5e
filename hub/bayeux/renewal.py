"""Newer credentials that Bayeux sessions show (docs/protocol/bayeux.md#a-newer-credential): ``ext.authentication`` on any message, or the
header of an HTTP request.
"""

from __future__ import annotations

from hub.bayeux.ports import Authenticator, Peer
from hub.bayeux.session import ServerSession, WebSocketDelivery
from hub.core.hub import Hub


class ShownCredentials:
    """Looks at the credentials that requests of a session bring."""

    __slots__ = ("_authenticator", "_renewals")

    def __init__(self, hub: Hub, authenticator: Authenticator) -> None:
        self._renewals = hub.renewals
        self._authenticator = authenticator

    def in_header(self, session: ServerSession, peer: Peer, websocket: WebSocketDelivery | None) -> bool:
        """Whether a request that was let in has a newer credential in its header. That of a WebSocket is the one of its opening: it counts
        when the socket comes to the session, and not with each message.
        """
        shown = peer.principal
        if shown is None or session.ended:  # nearly always
            return False
        if websocket is not None and (session.websocket is websocket or not websocket.open):
            return False
        own = session.principal
        return not own.anonymous and own.same_caller(shown) and self._renewals.is_news(session, shown)

    async def take_header(self, session: ServerSession, peer: Peer) -> None:
        """Have the credential of the header take the place of the old one."""
        assert peer.principal is not None
        await self._renewals.renew(session, peer.principal)
        session.tell_end()

    async def take(self, authentication: object, session: ServerSession, peer: Peer) -> None:
        """Have the credential of a message, its ``ext.authentication``, take the place of the old one. A WebSocket goes on with it, too: it
        is not closed when the credential ends by which it was opened.

        Raises:
            RefusedError: CREDENTIAL_DENIED, it is wrong, or another caller's; UNAVAILABLE. The session goes on with its old one.
        """
        if session.principal.anonymous:
            # it has no caller whose newer credential this could be; clients that send one with every message are served as before
            return
        shown = (await self._authenticator.from_ext(authentication, statistics_session=peer.statistics_session)).principal
        if session.ended:
            return
        if shown is None:
            raise self._renewals.refused("it is wrong or expired")
        news = self._renewals.is_news(session, shown)
        if news and peer.websocket and peer.principal is not None and peer.principal.same_caller(shown):
            peer.principal = peer.principal.succeeded_by(shown)
        await self._renewals.renew(session, shown)
        if news:
            session.tell_end()
