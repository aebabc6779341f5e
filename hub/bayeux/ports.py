"""What the Bayeux conversation asks of others: the connection, the authenticator, and what a transport says of who sends a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from hub.core.frames import DirectWrite
from hub.core.principal import Principal

LONG_POLLING = "long-polling"
WEBSOCKET = "websocket"
CALLBACK_POLLING = "callback-polling"

TRANSPORTS = (WEBSOCKET, LONG_POLLING, CALLBACK_POLLING)
"""The connection types that are served, in the order of preference that the handshake reply gives."""


class Connection(Protocol):
    """A WebSocket as the conversation sees it; :class:`hub.transports.socket.Socket` is one. No method awaits, none raises."""

    @property
    def buffered(self) -> int:
        """Bytes that wait because the peer has not read them."""
        ...

    @property
    def open(self) -> bool:
        """Whether :meth:`write` would send."""
        ...

    @property
    def direct_write(self) -> DirectWrite | None:
        """Writes ready frames at once; may raise ``RuntimeError`` or ``OSError`` when the connection was lost this moment. None while bytes
        wait that the peer has not read, and where the server takes no frames.
        """
        ...

    def on_writable_changed(self, callback: Callable[[DirectWrite | None], object]) -> None:
        """Call ``callback`` with :attr:`direct_write` whenever that changes; the last callback alone."""
        ...

    def write(self, frame: bytes) -> bool:
        """Send one whole text frame (:func:`hub.core.frames.text_frames`); False when the connection is over."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """Start the closing handshake behind what was written. Idempotent."""
        ...


class Remote(NamedTuple):
    """The owner of a session that is not in this process."""

    incarnation: str
    """The process that has the session, or had it."""


class KnownBrowsers(NamedTuple):
    """Which of some ``BAYEUX_BROWSER`` cookies are known in the other processes of a hub."""

    known: frozenset[str]
    """Those that lead to sessions there."""
    offered: frozenset[str]
    """Those that were given to clients of WebSockets which are open there."""


class OtherBrowsers(Protocol):
    """The cookies of the other processes of a hub."""

    async def look(self, values: Sequence[str]) -> KnownBrowsers:
        """Which of these cookies are known in another process."""
        ...


class Caller(Protocol):
    """The result of a credential."""

    @property
    def principal(self) -> Principal | None:
        """The caller; None when the credential is missing, wrong or expired."""
        ...


class Authenticator(Protocol):
    """Identifies callers (docs/protocol/credentials.md#order-of-credentials)."""

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Caller:
        """Identify the caller of ``{"token": T}`` or ``{"apiKey": K}``."""
        ...

    def anonymous(self, *, discriminator: str = "") -> Principal | None:
        """A principal for a caller without credentials; None where such callers are not let in."""
        ...

    def still_good(self, principal: Principal) -> bool:
        """Whether a caller who was identified before has not ended since: see :meth:`hub.security.directory.Directory.still_good`."""
        ...


class Counted(Protocol):
    """The connection by which a peer came, as the server counts it."""

    @property
    def limited_address(self) -> str | None:
        """The address whose limits hold; None where it says nothing of the client."""
        ...

    def admit(self, *, anonymous: bool, tenant: str = "") -> None:
        """The peer has shown a good credential of ``tenant``, or was let in without one."""
        ...


class Peer:
    """The sender of an HTTP request, or of all messages of a WebSocket."""

    __slots__ = (
        "browsers",
        "by_cookie",
        "callback",
        "connection",
        "offered",
        "origin",
        "presented",
        "principal",
        "statistics_session",
        "websocket",
    )

    def __init__(
        self,
        *,
        principal: Principal | None = None,
        presented: bool = False,
        by_cookie: bool = False,
        browsers: tuple[str, ...] = (),
        offered: str | None = None,
        origin: str | None = None,
        statistics_session: str | None = None,
        websocket: bool = False,
        callback: bool = False,
        connection: Counted | None = None,
    ) -> None:
        self.principal = principal
        """The principal of the headers or the sign-in cookie; None when there are none, or bad ones."""
        self.presented = presented
        """Whether there was such a credential, good or bad: it decides, and a bad one is refused rather than skipped."""
        self.by_cookie = by_cookie
        """Whether the credential was the sign-in cookie, which a browser sends with requests of any page."""
        self.browsers = browsers
        """The ``BAYEUX_BROWSER`` cookies that it brought."""
        self.offered = offered
        """The ``BAYEUX_BROWSER`` cookie that a client without one is given with the answer; whether it is kept is not known."""
        self.origin = origin
        """The ``Origin`` of the page that sends, where that is of another site than the hub and brought no sign-in cookie."""
        self.statistics_session = statistics_session
        """The ``STATISTICS_SESSIONID`` cookie, brought or about to be set."""
        self.websocket = websocket
        """Whether it sends over a WebSocket, rather than by HTTP requests."""
        self.connection = connection
        """None under a server that does not count its connections."""
        self.callback = callback
        """It came by callback-polling: it brings neither cookies nor headers, and events ride on the replies to connects alone."""
