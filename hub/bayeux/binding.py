"""Who may go on with a session: the rules of ``docs/security.md``, section "Whose a session is"."""

from __future__ import annotations

import hmac
from collections.abc import Container
from typing import Final

from hub.bayeux.ports import Peer
from hub.core.principal import Principal

STRICT: Final = "strict"
"""The value of ``limits.session_binding`` under which a clientId alone leads to no session."""


class Binding:
    """What one session requires of requests that name its clientId.

    A session whose handshake carried a header credential or the sign-in cookie (``by_header``) answers to the same tenant and subject only.
    Any other answers to its ``BAYEUX_BROWSER`` cookie and to the same credential; where a request brings neither a credential nor the
    cookie of any session here, to the clientId alone

    - over a WebSocket, for some clients open theirs before the handshake's reply has brought the cookie;
    - over HTTP with the cookie that was offered to a WebSocket which is open: where a client opens one beside its handshake, each of the
      two answers brings a cookie, and the client keeps the later one;
    - over HTTP, where request and handshake bear the same ``Origin`` of another site: browsers withhold the cookie there;
    - over callback-polling, which has no cookies, where the handshake came by callback-polling too.

    From then on the cookie that such a WebSocket was offered leads to the session too, beside the cookie of its handshake.
    """

    __slots__ = ("_of_handshake", "browsers", "by_header", "by_script", "origin")

    def __init__(self, peer: Peer, *, known: Container[str]) -> None:
        """``peer`` sent the handshake; ``known`` are the ``BAYEUX_BROWSER`` cookies that sessions of this process answer to."""
        self.by_header = peer.principal is not None
        own = next((value for value in peer.browsers if value in known), None)
        browser = own or (peer.browsers[0] if peer.browsers else peer.offered)
        self._of_handshake: tuple[str, ...] = () if browser is None else (browser,)
        self.browsers: tuple[str, ...] = self._of_handshake
        """The ``BAYEUX_BROWSER`` cookies that lead to the session. First the cookie that the handshake brought (of several the one that
        leads to a session here already) or was offered; then the cookie that was offered to the newest WebSocket that came by the clientId
        alone. Empty by callback-polling.
        """
        self.origin = peer.origin if own is None else None
        """The ``Origin`` of the other site whose page sent the handshake without a cookie; None for every other handshake."""
        self.by_script = peer.callback

    def fits(self, peer: Peer, owner: Principal, *, bound: bool) -> bool:
        """Whether a request brings what the session requires: ``owner``'s credential, or the session's cookie; or comes by the WebSocket
        that leads to the session already, as ``bound`` says.
        """
        if self.by_header:
            return peer.principal is not None and owner.same_caller(peer.principal)
        if peer.principal is not None and owner.same_caller(peer.principal):
            return True
        if peer.presented and not peer.by_cookie:
            return False
        if bound:
            return True
        for own in self.browsers:
            for value in peer.browsers:
                if _equal(own, value):
                    return True
        return False

    def takes_id_alone(self, peer: Peer, known: Container[str], offered: Container[str], binding: str) -> bool:
        """Whether a request that does not :meth:`fit <fits>` may use the session by its clientId alone. ``known`` are the cookies that lead
        to sessions here, ``offered`` those that open WebSockets were offered, ``binding`` is ``limits.session_binding``. A cookie that is
        in neither, perhaps of another hub on the same host, is ignored.
        """
        if binding == STRICT or self.by_header or peer.presented or any(value in known for value in peer.browsers):
            return False
        if peer.websocket:
            return True
        if peer.callback:
            return self.by_script
        if any(value in offered for value in peer.browsers):
            return True
        return self.origin is not None and self.origin == peer.origin

    def adopt(self, browser: str) -> None:
        """Let ``browser``, the cookie that a WebSocket was offered, lead to the session too, in place of one that was adopted before."""
        self.browsers = (*self._of_handshake, browser)


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
