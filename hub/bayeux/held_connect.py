"""A ``/meta/connect`` that waits for a message to deliver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hub.bayeux.timesync import Timesync
from hub.core.message import Message
from hub.core.timers import Timer

if TYPE_CHECKING:
    from hub.bayeux.session import ServerSession


class HeldConnect:
    """One connect that is not answered yet. It ends once, and then calls the function that waits for that.

    ``beginning`` is the head of its reply. ``messages`` and ``reply`` are set when it ends; ``reply`` stays None when a newer connect took
    its place, or when the client has gone.
    """

    __slots__ = (
        "_done",
        "_waiter",
        "beginning",
        "browser",
        "cycle",
        "link",
        "messages",
        "reply",
        "session",
        "superseded",
        "timer",
        "timesync",
    )

    def __init__(self, session: ServerSession, beginning: bytes, cycle: int, *, timesync: Timesync | None, browser: str | None) -> None:
        self.session = session
        self.beginning = beginning
        self.cycle = cycle
        self.timesync = timesync
        self.browser = browser
        """The browser whose connection it occupies; None on a WebSocket, and for clients without a cookie."""
        self.link = session.link
        """The WebSocket that it came by; None for long-polling."""
        self.timer: Timer | None = None
        self.messages: list[Message] = []
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
        """The encoded messages of the response: events first, the connect reply last (docs/protocol/bayeux.md#order-in-a-response)."""
        parts = self.session.encode(self.messages)
        if self.reply is not None:
            parts.append(self.reply)
        return parts

    def written(self) -> None:
        """The response is on its way."""
        self.session.connect_answered(self.cycle)

    def lost(self) -> None:
        """The response did not reach the client: queue its messages again, in front of newer ones."""
        self.session.requeue(self.messages)
        self.session.connect_answered(self.cycle)
