"""The ports of the dashboard conversation: what the transports and the gate do for it."""

from collections.abc import Callable
from typing import Protocol

from hub.core.frames import DirectWrite
from hub.core.principal import Principal


class Connection(Protocol):
    """The WebSocket as the conversation sees it; :class:`hub.transports.socket.Socket` is one. No method awaits, none raises."""

    @property
    def buffered(self) -> int:
        """Bytes that wait because the peer has not read them."""
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


class Caller(Protocol):
    """The result of a credential."""

    @property
    def principal(self) -> Principal | None:
        """The caller; None when the credential is missing, wrong or expired."""
        ...


class Authenticator(Protocol):
    """Identifies callers (docs/protocol/credentials.md#order-of-credentials)."""

    async def from_ext(self, authentication: object, *, statistics_session: str | None = None) -> Caller:
        """Identify the caller of ``{"token": T}``."""
        ...

    def anonymous(self, *, discriminator: str = "") -> Principal | None:
        """A principal for a caller without credentials; None where such callers are not let in."""
        ...
