"""A ``/meta/connect`` that is not answered yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hub.bayeux.timesync import Timesync
from hub.core.message import Message
from hub.core.timers import Timer

S = TypeVar("S")
B = TypeVar("B")


class HeldConnect(Generic[S]):
    """One connect that is held until there is something to send, or its time is over. It ends once, and then calls the function that waits
    for that.

    ``messages`` and ``replies`` are the lists of the response: they are filled when it ends. They stay empty when a newer connect has
    ``superseded`` it. ``S`` is the sessions' class.
    """

    __slots__ = (
        "_batch",
        "_done",
        "_on_timeout",
        "_session",
        "_waiter",
        "beginning",
        "browser",
        "connect_seq",
        "in_flight",
        "messages",
        "replies",
        "superseded",
        "timer",
        "timesync",
        "websocket",
    )

    def __init__(
        self,
        session: S,
        on_timeout: Callable[[S], object],
        beginning: bytes,
        connect_seq: int,
        messages: list[Message],
        replies: list[bytes],
        *,
        timesync: Timesync | None,
        browser: str | None,
        websocket: object,
    ) -> None:
        self._session = session
        self._on_timeout = on_timeout
        self.beginning = beginning
        """The head of its reply."""
        self.connect_seq = connect_seq
        """The number of the connect among those of its session."""
        self.messages = messages
        self.replies = replies
        self.timesync = timesync
        self.browser = browser
        """The browser whose connection it occupies; None on a WebSocket, and for clients without a cookie."""
        self.websocket = websocket
        """The WebSocket that it came by; None for polling."""
        self.timer: Timer | None = None
        self.superseded = False
        self.in_flight = False
        """Whether its response carries messages that may be queued again: see :attr:`hub.bayeux.session.ServerSession.in_flight`."""
        # a function and its argument take less memory than a closure, and thousands of connects are held
        self._waiter: Callable[[Any], object] | None = None
        self._batch: object = None
        self._done = False

    def timed_out(self) -> None:
        """It has been held for as long as it may."""
        self._on_timeout(self._session)

    def on_done(self, waiter: Callable[[B], object], batch: B) -> None:
        """Call ``waiter`` with ``batch``, the response, once when this connect has ended; at once when it has already."""
        if self._done:
            waiter(batch)
        else:
            self._waiter = waiter
            self._batch = batch

    def finish(self) -> None:
        """The connect has ended: its lists are filled, or it is superseded."""
        self._done = True
        waiter, batch = self._waiter, self._batch
        self.abandon()
        if waiter is not None:
            waiter(batch)

    def abandon(self) -> None:
        """Nobody waits for its end any more."""
        self._waiter = self._batch = None  # the response refers to this
