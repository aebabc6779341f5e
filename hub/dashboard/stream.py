"""One event stream of ``/events``, without I/O: what was asked for, and what waits as blocks of ``text/event-stream``
(docs/protocol/dashboard.md#event-streams).

The format is that of WHATWG HTML section 9.2. A stream that hears nothing learns how far the log is by the event ``position``, which
has data: clients keep the ``id`` of a block that dispatches an event, and not all of them that of a block without data.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol
from urllib.parse import parse_qsl

from hub.core.delivery import ChannelRegistry, DeliveryClass
from hub.core.errors import CREDENTIAL_ENDED, CREDENTIAL_UNVERIFIED
from hub.core.field_error import FieldError
from hub.core.hub import Hub
from hub.core.limits import Limits
from hub.core.message import Message
from hub.core.metric import CounterFamily
from hub.core.principal import Principal
from hub.core.subscriber import Subscriber
from hub.core.subscriptions import Subscribed
from hub.core.timers import Timer
from hub.dashboard.commands import POSITION_END

RESTART_JITTER_MS = 5000
"""Milliseconds that a browser waits longer at random when the server stops, so that streams do not come back together: as for Bayeux
clients.
"""

STALLED_AFTER = 2
"""After so many comments in a row during which the client has read nothing, it is taken for gone."""

_SHOWN = 60
"""Characters of a wrong value that an error message repeats."""

_POSITION_DIGITS = 16
"""No position has more: 2^53 has 16."""


class QueryError(FieldError):
    """A parameter of the query that is missing or wrong."""


class StreamRequest(NamedTuple):
    """What a client asks for."""

    channels: list[str]
    since: int | None
    """The position after which it wants to hear log channels."""
    resumes: bool
    """Whether the client said how far it was, understood or not: then it learns whether it has missed something."""


def read_request(query: bytes, last_event_id: str | None, limits: Limits) -> StreamRequest:
    """Read the query ``channel=/a&channel=/b/**``, and where to resume: the header ``Last-Event-ID``, else ``lastEventId`` or ``since``.

    The header decides where it is there: a browser that comes back repeats the query of its first request, and tells its newest position
    by the header. A last event id that is no position of this log is none of ours: the stream begins now, and nothing was recovered.

    Raises:
        QueryError: no channel, too many of them, or a ``since`` that is no position.
    """
    channels: dict[str, None] = {}
    by_id: str | None = None
    since: str | None = None
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "channel":
            channels[value] = None
        elif name == "lastEventId":
            by_id = value
        elif name == "since":
            since = value
    if not channels:
        raise QueryError("channel", "at least one channel or pattern, as in ?channel=/a&channel=/b/**", "none")
    if len(channels) > limits.max_subscriptions:
        raise QueryError("channel", f"at most {limits.max_subscriptions} channels", str(len(channels)))
    for identifier in (last_event_id, by_id):
        if identifier:
            return StreamRequest(list(channels), _position(identifier), resumes=True)
    if since is None:
        return StreamRequest(list(channels), None, resumes=False)
    position = _position(since)
    if position is None:
        shown = since if len(since) <= _SHOWN else since[:_SHOWN] + "..."
        raise QueryError("since", "a position, an integer from 0 to 2^53 - 1", json.dumps(shown))
    return StreamRequest(list(channels), position, resumes=True)


def _position(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= _POSITION_DIGITS):
        return None
    position = int(text)
    return position if position < POSITION_END else None


def gaps(registry: ChannelRegistry, outcomes: Sequence[Subscribed]) -> list[Subscribed]:
    """The patterns on which a client that resumes may have missed something. A state channel is none of them: its snapshot replaces all."""
    return [outcome for outcome in outcomes if not (outcome.recovered or _is_state(registry, outcome.pattern))]


def _is_state(registry: ChannelRegistry, pattern: str) -> bool:
    declarations = registry.overlapping(pattern)
    return bool(declarations) and all(declaration.delivery is DeliveryClass.STATE for declaration in declarations)


@dataclass(slots=True)
class StreamCounters:
    """The counters of ``/events``; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "refused",
            "Requests for an event stream that were refused, by reason.",
            "reason",
            {"not_authenticated": "not_authenticated", "denied": "denied", "bad_requests": "bad_request", "too_many": "too_many"},
        ),
        CounterFamily(
            "ended",
            "Event streams that ended, by who or what ended them.",
            "reason",
            {"client_gone": "client", "disconnected": "server", "too_slow": "too_slow", "stalled": "stalled", "revoked": "revoked"},
        ),
    )

    opened: int = 0
    """Event streams that were opened."""
    comments: int = 0
    """Comments that were sent to keep quiet streams alive."""
    not_authenticated: int = 0
    """Requests without a credential, or with a bad one."""
    denied: int = 0
    """Requests for a channel that is not allowed."""
    bad_requests: int = 0
    """Requests without a channel, with a bad one, or with another method."""
    too_many: int = 0
    """Requests that the server had no room for."""
    client_gone: int = 0
    """Streams that the client ended."""
    too_slow: int = 0
    """Streams that were ended because a log channel overflowed, or the rest of a replay was gone."""
    stalled: int = 0
    """Streams that were ended because the client read nothing for a while."""
    revoked: int = 0
    """Streams that ended because their credential was removed."""
    disconnected: int = 0
    """Streams that an administrator or the application ended."""


class Outlet(Protocol):
    """The response as the stream sees it; :class:`hub.transports.sse.Response` is one. No method awaits, none raises."""

    def wake(self) -> None:
        """Something waits: ask :meth:`StreamSession.next_chunk` soon. May be called any number of times."""
        ...

    def unread(self) -> int | None:
        """None when the client takes what it is sent; else a number that stays the same for as long as it reads nothing."""
        ...

    def close(self) -> None:
        """The stream has ended: send what :meth:`StreamSession.next_chunk` still has, then end the response. A client that does not read
        is cut off after a while.
        """
        ...


class StreamSession(Subscriber):
    """One event stream. The transport asks for :meth:`next_chunk` whenever the client can take more."""

    __slots__ = (
        "_beat",
        "_comment_due",
        "_counters",
        "_follows",
        "_jitter",
        "_known_position",
        "_last_words",
        "_notice",
        "_outlet",
        "_sending",
        "_stalls",
        "_unread",
        "ended",
    )

    door = "sse"

    def __init__(
        self,
        hub: Hub,
        identifier: str,
        principal: Principal,
        outlet: Outlet,
        counters: StreamCounters,
        *,
        jitter: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        """``jitter(n)`` returns a random number below ``n``, so that not all streams do something at the same time."""
        super().__init__(hub, identifier, principal)
        self.ended = False
        self._outlet = outlet
        self._counters = counters
        self._jitter = jitter
        self._sending: deque[Message] = deque()
        """Taken from the queue, and not handed over yet."""
        self._last_words = b""
        """The block that ends the stream."""
        self._follows = False
        """Whether it hears log channels."""
        self._known_position = 0
        """The newest position that the client knows."""
        self._beat: Timer | None = None
        self._comment_due = False
        self._notice = b""
        """The event ``expiring``, until it is sent."""
        self._stalls = 0
        self._unread: int | None = None

    # -- its beginning ----------------------------------------------------------------------------------------------

    def open(self, outcomes: Sequence[Subscribed], *, resumes: bool) -> bytes:
        """The first blocks, after the hub has let the stream in: when to come back, from which position on everything follows, and, where
        the client resumes, on which channels it may have missed something (event ``gap``).
        """
        self._counters.opened += 1
        retry_ms = self.hub.limits.sse_retry_ms
        opening = b"retry: %d\n" % (retry_ms + self._jitter(retry_ms + 1))
        positions = [outcome.position for outcome in outcomes if outcome.position is not None]
        if positions:
            self._follows = True
            # of several the first: what follows it on any of them is still to come
            self._known_position = min(positions)
        opening += _position_event(self._known_position if positions else None)
        if resumes and (missed := gaps(self.hub.registry, outcomes)):
            opening += b"event: gap\ndata: %b\n\n" % _gap(missed)
        if seconds := self.hub.limits.sse_comment_s:
            self._arm(seconds * (1 - self._jitter(1000) / 2000))
        return opening

    # -- comments ---------------------------------------------------------------------------------------------------

    def _arm(self, seconds: float) -> None:
        self._beat = self.hub.timers.after(seconds, self._on_beat)

    def _on_beat(self) -> None:
        """Send a comment, which keeps the stream alive, or end the stream if the client has read nothing for long."""
        unread = self._outlet.unread()
        self._stalls = self._stalls + 1 if unread is not None and unread == self._unread else 0
        self._unread = unread
        if self._stalls >= STALLED_AFTER:
            self._beat = None
            self._counters.stalled += 1
            self.end("the client does not read")
            return
        if unread is None:
            self._comment_due = True
            self._outlet.wake()
        self._arm(self.hub.limits.sse_comment_s)

    def _comment(self) -> bytes:
        self._comment_due = False
        self._counters.comments += 1
        position = self._news()
        return b":\n" + _position_event(position)

    def _news(self) -> int | None:
        """The position of the log up to which this stream has been sent everything; None where the client knows it, or where more waits."""
        if not self._follows or self.recovery is not None or self.ended:
            return None
        position = self.hub.positions.newest(self.principal.tenant)
        if position is None or position <= self._known_position:
            return None
        self._known_position = position
        return position

    # -- what waits -------------------------------------------------------------------------------------------------

    def next_chunk(self) -> bytes | None:
        """What to send next: blocks that wait, up to ``max_frame_bytes`` of them, a comment, or the end. None when nothing waits."""
        if not self._sending and not self.ended:
            self._sending = deque(self.take())
        blocks: list[bytes] = []
        size = 0
        while self._sending:
            message = self._sending[0]
            block = message.sse()
            if blocks and size + len(block) > self.hub.limits.max_frame_bytes:
                return b"".join(blocks)
            self._sending.popleft()
            blocks.append(block)
            size += len(block)
            if message.position is not None and message.position > self._known_position:
                self._known_position = message.position
        if self._notice:
            blocks.append(self._notice)
            self._notice = b""
        if self._comment_due and not self.queue:
            blocks.append(self._comment())
        if self._last_words:
            blocks.append(self._last_words)
            self._last_words = b""
        return b"".join(blocks) if blocks else None

    def flush(self) -> None:
        self._outlet.wake()

    def tell_expiring(self, seconds: int) -> None:
        """Send the event ``expiring``. It has no ``id``: what the client has heard is as before."""
        self._notice = b'event: expiring\ndata: {"expiresIn":%d}\n\n' % seconds
        self._outlet.wake()

    # -- its end ----------------------------------------------------------------------------------------------------

    def end(self, reason: str = "", *, retry_ms: int | None = None, send_rest: bool = False) -> None:
        """End the stream and give back all subscriptions; calling it twice does no harm.

        ``reason`` is for people: it stands in a comment. ``retry_ms`` is when browsers shall come back; ``send_rest``: with what waits.
        """
        if self.ended:
            return
        self.resync_due = False
        self.recovery = None
        rest = self.take()
        if send_rest:
            self._sending.extend(rest)
        else:
            self._sending.clear()
        self.ended = True
        self._comment_due = False
        if self._beat is not None:
            self.hub.timers.cancel(self._beat)
            self._beat = None
        self.hub.sessions.detach(self)
        retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
        self._last_words = b"%b: %b\n\n" % (retry, reason.encode("ascii", "replace")) if reason else b""
        self._outlet.close()

    def send_away(self) -> None:
        """End the stream because the server stops: the client gets what waits, and comes back after a random time."""
        self.end("the server stops", retry_ms=restart_ms(self._jitter), send_rest=True)

    def give_way(self) -> None:
        """End the stream because a newer one of the same ticket takes its place; its client may be gone."""
        self.end("a newer stream of the same ticket took this one's place")

    def client_gone(self) -> None:
        """The connection is over."""
        if not self.ended:
            self._counters.client_gone += 1
            self.end()

    def end_too_slow(self) -> None:
        if not self.ended:
            self._counters.too_slow += 1
            self.end("messages of a log channel waited for too long, or what was to be replayed is gone; come back")

    def disconnect(self) -> None:
        if not self.ended:
            self._counters.disconnected += 1
            self.end("disconnected by an administrator", send_rest=True)

    def end_revoked(self) -> None:
        if not self.ended:
            self._counters.revoked += 1
            self.end(CREDENTIAL_ENDED)

    def end_unverified(self) -> None:
        if not self.ended:
            self._counters.revoked += 1
            self.end(CREDENTIAL_UNVERIFIED, retry_ms=restart_ms(self._jitter))


def restart_ms(jitter: Callable[[int], int] = secrets.randbelow) -> int:
    """Milliseconds after which a client of a server that stops shall come back, at random."""
    return 1000 + jitter(RESTART_JITTER_MS)


def _position_event(position: int | None) -> bytes:
    """The rest of a block: the event ``position``, up to which the client has been sent all, or no event."""
    return b"\n" if position is None else b'event: position\ndata: {"position":%d}\nid: %d\n\n' % (position, position)


def _gap(missed: Sequence[Subscribed]) -> bytes:
    """What the event ``gap`` says: from which position on a channel is complete again; null where it has none."""
    channels = [{"channel": outcome.pattern, "position": outcome.position, "recovered": False} for outcome in missed]
    return json.dumps({"channels": channels}, separators=(",", ":")).encode("ascii")
