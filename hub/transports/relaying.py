"""What the Bayeux transports ask of a hub of several nodes: any node takes any request of any session (docs/scaling.md#sessions)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from hub.bayeux.ports import Connection
from hub.bayeux.websocket import RemoteSessions, WebSocketConnection

HOPS: Final = "hub.hops"
"""Key of a scope for the links that its request has come over. Only :mod:`hub.cluster.relay` sets it: a client cannot."""


OFFERED: Final = "hub.offered"
"""Key of a WebSocket's scope for the cookies ``BAYEUX_BROWSER`` and ``STATISTICS_SESSIONID`` that the node which holds the socket has given
its client; each may be None. Only :mod:`hub.cluster.relay` sets it.
"""


class ReleasedError(Exception):
    """This node stops, and so the request that another one holds is not waited for any more. The session is not lost."""


class SessionRelay(Protocol):
    """Serves requests of sessions that other nodes have."""

    def home_of(self, browser: str) -> str | None:
        """The incarnation of the node on which the sessions of a browser live, by its ``BAYEUX_BROWSER`` cookie; None if that is this
        node.
        """
        ...

    def new_browser(self) -> str:
        """A new ``BAYEUX_BROWSER`` cookie, of a browser whose sessions live on this node."""
        ...

    async def relay(self, scope: Scope, receive: Receive, send: Send, node: str, body: bytes) -> None:
        """Have another node answer a request, and write its answer, unless the client goes first.

        Raises:
            NodeGoneError: the node lives no more. Nothing was written.
            UnreachableError: the node lives but does not answer. Nothing was written.
            ReleasedError: see there. Nothing was written.
        """
        ...

    def socket(self, scope: Scope, connection: WebSocketConnection, socket: Connection, statistics_session: str | None) -> RemoteSessions:
        """The sessions of other nodes, for one WebSocket that was accepted: ``connection`` is its conversation here, ``socket`` writes to
        it.
        """
        ...

    def __len__(self) -> int:
        """Requests that another node has not answered."""
        ...

    def release(self) -> Iterator[None]:
        """This node stops: end the wait for every request that another node holds. A step for each, so that the caller can spread them
        over time.
        """
        ...


class RelayedAnswer(ABC):
    """A request that another node has relayed to this one: ``send`` of its ASGI application is a method of this."""

    @abstractmethod
    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, told: Callable[[bool], object]) -> bool:
        """Send a whole response at once, in place of several calls of ``send``. Returns whether it was sent: then ``told`` is called later,
        once, with whether the client has it. Else nothing was done, and the caller has to use ``send``.

        ``Content-Length`` is added by the other node; ``headers`` may contain neither that nor ``Connection``.
        """
        ...


def was_relayed(scope: Scope) -> bool:
    """Whether another node has relayed this request: it is answered here, whatever it asks for."""
    return HOPS in scope
