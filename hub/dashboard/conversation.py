"""The conversation of one ``/ws`` connection: credentials, commands and their answers (docs/protocol/dashboard.md#conversation)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from hub.core.errors import CloseCode, RefusedError
from hub.core.hub import Hub
from hub.core.json_validation import BadJsonError
from hub.core.metric import CounterFamily
from hub.core.principal import Principal
from hub.core.subscriptions import Subscribed
from hub.core.time_slice import TimeSlice
from hub.core.timers import Timer
from hub.dashboard.commands import Command, CommandError, TooManyError, read_commands
from hub.dashboard.ports import Authenticator, Connection
from hub.dashboard.session import DashboardSession

BAD_REQUEST = 400
NOT_AUTHENTICATED = 401
TOO_LARGE = 413
TOO_MANY = 429


@dataclass(slots=True)
class DashboardCounters:
    """The counters of ``/ws``; ``/metrics`` reads them."""

    METRICS: ClassVar = (
        CounterFamily(
            "connections_refused",
            "Connections that the server closed, by reason.",
            "reason",
            {"not_authenticated": "not_authenticated", "bad_messages": "bad_message", "too_many": "too_many"},
        ),
        CounterFamily(
            "command_errors",
            "Commands that were answered with an error object.",
            "",
            {"errors": ""},
        ),
    )

    connections: int = 0
    """Connections that were opened."""
    welcomed: int = 0
    """Connections whose ``hello`` was accepted."""
    not_authenticated: int = 0
    """Connections closed with 4401 before they were welcomed: no credential, a bad one, or none in time."""
    bad_messages: int = 0
    """Connections closed with 4400 or 1009."""
    too_many: int = 0
    """Connections closed with 4429."""
    commands: int = 0
    """Commands of clients."""
    errors: int = 0
    """Commands answered with an error object."""


class Conversation:
    """One connection, from the opening handshake to its end.

    The transport calls :meth:`open` once, :meth:`receive` for each message, one at a time, and :meth:`gone` at the end. The conversation
    answers through the :class:`Connection`.
    """

    __slots__ = (
        "_admit",
        "_authenticator",
        "_closed",
        "_connection",
        "_counters",
        "_handlers",
        "_hello_timer",
        "_hub",
        "_identifier",
        "_session",
        "_statistics_session",
    )

    def __init__(
        self,
        hub: Hub,
        connection: Connection,
        authenticator: Authenticator,
        *,
        identifier: str,
        counters: DashboardCounters,
        statistics_session: str | None = None,
        admit: Callable[[Principal], None] | None = None,
    ) -> None:
        """``admit`` is called with the principal that was welcomed."""
        self._hub = hub
        self._admit = admit
        self._connection = connection
        self._authenticator = authenticator
        self._identifier = identifier
        """The id that the session will have: opaque, unique, not guessable."""
        self._statistics_session = statistics_session
        self._counters = counters
        self._session: DashboardSession | None = None
        self._hello_timer: Timer | None = None
        self._closed = False
        self._handlers: dict[str, Callable[[DashboardSession, Command, bytes | None], Awaitable[None]]] = {
            "hello": self._hello_again,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "ping": self._ping,
        }
        counters.connections += 1

    # -- what the transport calls -----------------------------------------------------------------------------------

    def open(self, principal: Principal | None) -> None:
        """The opening handshake is over: welcome a caller who is known already, else wait for ``hello``."""
        principal = principal or self._authenticator.anonymous()
        if principal is not None:
            self._welcome(principal)
            return
        self._hello_timer = self._hub.timers.after(self._hub.limits.hello_timeout_s, self._hello_late)

    async def receive(self, payload: bytes) -> None:
        """Take one message of the client: one command or an array of them, which are carried out in order."""
        if self.over():
            return
        try:
            commands = read_commands(payload, self._hub.limits)
        except BadJsonError as error:
            self._counters.bad_messages += 1
            self.close(CloseCode.BAD_MESSAGE, str(error))
            return
        except TooManyError as error:
            self._counters.too_many += 1
            self.close(CloseCode.TOO_MANY, str(error))
            return
        time_slice = None if len(commands) == 1 else TimeSlice(self._hub.clock, self._hub.loop)
        for command in commands:
            if time_slice is not None:
                await time_slice.checkpoint()
            if self.over():
                return
            self._counters.commands += 1
            if self._session is None:
                await self._first(command)
            else:
                await self._dispatch(self._session, command)

    def drained(self) -> None:
        """The transport calls this when the connection has taken all that was written."""
        if self._session is not None:
            self._session.drained()

    def refuse(self) -> None:
        """Close, since the credentials that came with the opening handshake are wrong."""
        self._counters.not_authenticated += 1
        self.close(CloseCode.NOT_AUTHENTICATED, "the credentials are wrong or expired")

    def bad_frame(self, code: CloseCode, reason: str) -> None:
        """Close for a message that is not text, or too large (1009)."""
        self._counters.bad_messages += 1
        self.close(code, reason)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End the conversation. Messages that wait are sent first if the client can take them. Calling it twice does no harm."""
        self._stop_hello_timer()
        self._closed = True
        if self._session is None:
            self._connection.close(code, reason)
        elif not self._session.ended:
            self._session.flush()
            self._session.end(code, reason)

    def give_way(self) -> None:
        """Close, since a newer connection of the same ticket replaces this one, whose client may be gone."""
        self.close(CloseCode.NORMAL, "a newer connection of the same ticket took this one's place")

    def gone(self) -> None:
        """The transport calls this when the connection is over, whoever ended it."""
        self.close(CloseCode.NORMAL)

    def over(self) -> bool:
        """Whether the conversation has ended."""
        return self._closed or (self._session is not None and self._session.ended)

    # -- credentials ------------------------------------------------------------------------------------------------

    def _hello_late(self) -> None:
        self._hello_timer = None
        self._counters.not_authenticated += 1
        self.close(CloseCode.NOT_AUTHENTICATED, f"expected hello within {self._hub.limits.hello_timeout_s} s")

    def _stop_hello_timer(self) -> None:
        if self._hello_timer is not None:
            self._hub.timers.cancel(self._hello_timer)
            self._hello_timer = None

    async def _first(self, command: Command) -> None:
        """Take a message of a client that is not identified yet: a hello, or the conversation ends."""
        try:
            kind = command.text("type")
        except CommandError:
            kind = ""
        if kind != "hello":
            self._counters.not_authenticated += 1
            self.close(CloseCode.NOT_AUTHENTICATED, f"expected hello first, got type {command.shown('type')}")
            return
        await self._authenticate(command)

    async def _authenticate(self, command: Command) -> None:
        """Welcome the caller of a hello with a good token, or end the conversation."""
        try:
            caller = await self._authenticator.from_ext({"token": command.text("token")}, statistics_session=self._statistics_session)
        except CommandError as error:
            self._counters.not_authenticated += 1
            self.close(CloseCode.NOT_AUTHENTICATED, str(error))
            return
        except RefusedError as refused:
            self.close(CloseCode.UNAVAILABLE, refused.detail)
            return
        if self.over():  # it took too long, or the client has gone
            return
        if caller.principal is None:
            self._counters.not_authenticated += 1
            self.close(CloseCode.NOT_AUTHENTICATED, "the token is wrong or expired")
            return
        self._welcome(caller.principal)

    def _welcome(self, principal: Principal) -> None:
        self._stop_hello_timer()
        if self._session is not None:  # an anonymous client that now shows a token
            self._hub.sessions.detach(self._session)
        session = DashboardSession(self._hub, self._identifier, principal, self._connection)
        try:
            self._hub.sessions.attach(session)
        except RefusedError as refused:
            self._counters.too_many += 1
            self.close(CloseCode.TOO_MANY, refused.detail)
            return
        self._session = session
        if self._admit is not None:
            self._admit(principal)
        self._counters.welcomed += 1
        self._send_welcome(session)

    def _send_welcome(self, session: DashboardSession) -> None:
        welcome: dict[str, object] = {"type": "welcome", "session": session.id, "heartbeat": self._hub.limits.heartbeat_s}
        left = self._hub.renewals.expires_in(session.principal)
        if left is not None:
            welcome["expiresIn"] = left
        session.reply(_encode(welcome))

    # -- commands ---------------------------------------------------------------------------------------------------

    async def _dispatch(self, session: DashboardSession, command: Command) -> None:
        identifier: bytes | None = None
        try:
            identifier = command.identifier()
            limit = self._hub.limits.max_message_bytes
            if command.size > limit:
                self._error(session, identifier, TOO_LARGE, f"expected a command of at most {limit} bytes, got {command.size}")
                return
            kind = command.text("type")
            handler = self._handlers.get(kind)
            if handler is None:
                raise CommandError(f"expected type to be one of {', '.join(self._handlers)}, got {command.shown('type')}")
            await handler(session, command, identifier)
        except CommandError as error:
            self._error(session, identifier, BAD_REQUEST, str(error))
        except RefusedError as refused:
            self._error(session, identifier, refused.error.code, refused.detail, refused.channel)

    async def _hello_again(self, session: DashboardSession, command: Command, identifier: bytes | None) -> None:
        """With ``--open`` a client without credentials is welcomed as anonymous at once. Its first command may still be a hello with a
        token. A session that is authenticated shows a newer token by it.
        """
        if not session.principal.anonymous:
            await self._show_newer(session, command, identifier)
            return
        if session.subscriptions:
            raise CommandError("expected hello before the first subscribe, got it from an anonymous session with subscriptions")
        if command.has("token"):
            await self._authenticate(command)
        else:
            self._send_welcome(session)

    async def _show_newer(self, session: DashboardSession, command: Command, identifier: bytes | None) -> None:
        """Have a newer token take the place of the session's old one (docs/protocol/dashboard.md#a-newer-token). A bad one is an error;
        that of another caller ends the conversation.

        Raises:
            CommandError: there is no token.
            RefusedError: UNAVAILABLE.
        """
        token = command.text("token")
        caller = await self._authenticator.from_ext({"token": token}, statistics_session=self._statistics_session)
        if self.over():
            return
        renewals = self._hub.renewals
        if caller.principal is None:
            refused = renewals.refused("the token is wrong or expired; the session goes on with its old one")
            self._error(session, identifier, NOT_AUTHENTICATED, refused.detail)
            return
        try:
            await renewals.renew(session, caller.principal)
        except RefusedError as refused:
            self.close(CloseCode.FORBIDDEN, refused.detail)
            return
        if not self.over():
            self._send_welcome(session)

    async def _subscribe(self, session: DashboardSession, command: Command, identifier: bytes | None) -> None:
        channels = command.texts("channels")
        since = command.position("since")
        limit = self._hub.limits.max_subscriptions
        if len(channels) > limit:  # checked before the single channels
            self._error(session, identifier, TOO_MANY, f"a session holds at most {limit} subscriptions, got {len(channels)} channels")
            return
        place = session.hold()
        try:
            positions = None if since is None else dict.fromkeys(channels, since)
            result = await self._hub.subscriptions.subscribe(session, channels, since=positions)
        except RefusedError as refused:
            session.release(place, self._error_object(identifier, refused.error.code, refused.detail, refused.channel))
            return
        elements = b",".join(_subscribed(outcome, asked=since is not None) for outcome in result.outcomes)
        session.release(place, _object("subscribed", identifier, b'"channels":[%b]' % elements))
        if any(outcome.position is not None for outcome in result.outcomes):
            session.follow_log()
        await result.start()

    async def _unsubscribe(self, session: DashboardSession, command: Command, identifier: bytes | None) -> None:
        channels = command.texts("channels")
        self._hub.subscriptions.unsubscribe(session, channels)
        session.reply(_object("unsubscribed", identifier, b'"channels":%b' % _encode(channels)))

    async def _ping(self, session: DashboardSession, command: Command, identifier: bytes | None) -> None:
        session.reply(_object("pong", identifier))

    # -- answers ----------------------------------------------------------------------------------------------------

    def _error(self, session: DashboardSession, identifier: bytes | None, code: int, message: str, channel: str = "") -> None:
        session.reply(self._error_object(identifier, code, message, channel))

    def _error_object(self, identifier: bytes | None, code: int, message: str, channel: str = "") -> bytes:
        self._counters.errors += 1
        fields = b'"code":%d,"message":%b' % (code, _encode(message))
        if channel:
            fields += b',"channel":' + _encode(channel)
        return _object("error", identifier, fields)


def _subscribed(outcome: Subscribed, *, asked: bool) -> bytes:
    """One element of the answer to a subscribe. ``asked`` says that it came with ``since``: then the answer says whether the client has
    missed nothing, also for a channel that has no log.
    """
    fields: dict[str, object] = {"channel": outcome.pattern}
    if outcome.position is not None:
        fields["position"] = outcome.position
    if asked or outcome.position is not None:
        fields["recovered"] = outcome.recovered
    return _encode(fields)


def _encode(value: object) -> bytes:
    """Compact JSON text of ASCII bytes."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _object(kind: str, identifier: bytes | None, fields: bytes = b"") -> bytes:
    """A frame's element: its type, the command's id as it came, and encoded fields."""
    echoed = b"" if identifier is None else b',"id":' + identifier
    return b'{"type":"%b"%b%b}' % (kind.encode("ascii"), echoed, b"," + fields if fields else b"")
