"""Keeps a session with a Bayeux server: handshake, connect after connect, and a new connection or session when something fails."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp
from yarl import URL

from hub.client.conversation import META_CONNECT, META_DISCONNECT, Conversation, Heard, Message, Outgoing, Reply, is_unknown_session
from hub.client.credentials import Credentials
from hub.client.errors import (
    BayeuxError,
    ClosedError,
    ConnectionLostError,
    HandshakeDeniedError,
    NotSentError,
    ProtocolError,
    RequestTooLargeError,
    ServerDisconnectedError,
)
from hub.client.requests import Requests
from hub.client.transports import LONG_POLLING, LongPolling, Transport, WebSocket
from hub.core.errors import WireError

MAX_REQUESTS: Final = 8
"""Requests under way at a time, beside the held connect."""
FAILURES_OF_A_SESSION: Final = 3
"""Failures in a row after which the client gives up the session. The next try makes a new one, over any transport."""
STEADY_S: Final = 5.0
"""Seconds after which a session counts as good, so that earlier failures are forgotten."""
MAX_REPEATS: Final = 2
"""Times that a request is repeated because its session was unknown."""
GOODBYE_WITHIN_S: Final = 1.0
_DEFAULT_HOLD_MS: Final = 60_000

Ask = Callable[[list[Outgoing]], Awaitable[list[Reply]]]


class State(enum.Enum):
    """The state of a client's session and connection."""

    UNCONNECTED = "unconnected"
    HANDSHAKING = "handshaking"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    """The connection was lost; the server may still have the session."""
    DISCONNECTED = "disconnected"
    """Final: the client was closed, the handshake was denied, or the server ended the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a client waits, in seconds; see :class:`~hub.client.BayeuxClient`."""

    open_within_s: float
    request_timeout_s: float
    max_network_delay_s: float
    backoff_s: float
    max_backoff_s: float


class User(Protocol):
    """The user of a session manager."""

    def on_message(self, message: Message) -> None:
        """A message came."""

    def on_position(self, position: int, asked: int) -> None:
        """Every log message up to ``position`` has come, of the subscriptions that were confirmed before the message with the id ``asked``
        was sent.
        """

    async def on_session(self, ask: Ask) -> None:
        """There is a new session: subscribe in it again, before any other request is made."""

    def on_end(self, failure: BayeuxError) -> None:
        """The session manager has ended."""

    def on_state(self, state: State, reason: str) -> None:
        """The state changed, or the reason for it."""


class SessionManager:
    """One client's session, over one connection after the other.

    Args:
        url: The server's Bayeux endpoint.
        proxy: The HTTP proxy through which the server is reached; None for none.
        conversation: Encodes requests and decodes replies.
        credentials: The token or API key of the client.
        preference: Names of the transports that may be used, the preferred one first.
        timeouts: How long the client waits for a connection, an answer and the next try.
        max_message_bytes: The largest frame or response that the client accepts.
        max_request_bytes: The largest request that the client sends.
        user: Its methods are called with messages and changes of state.
    """

    def __init__(
        self,
        url: URL,
        proxy: URL | None,
        conversation: Conversation,
        credentials: Credentials,
        preference: Sequence[str],
        timeouts: Timeouts,
        max_message_bytes: int,
        max_request_bytes: int,
        user: User,
    ) -> None:
        self._url = url
        self._proxy = proxy
        self._conversation = conversation
        self._credentials = credentials
        self._preference = tuple(preference)
        self._timeouts = timeouts
        self._max_message_bytes = max_message_bytes
        self._user = user
        self._http: aiohttp.ClientSession | None = None
        self._life: asyncio.Task[None] | None = None
        self._requests = Requests(url, max_request_bytes)
        self._ready = asyncio.Event()
        self._room = asyncio.Semaphore(MAX_REQUESTS)
        self._fresh = True
        """Whether the next connect is the first of its connection: it asks the server to answer at once."""
        self._last_transport = self._preference[0]
        self._failures = 0
        """Failures in a row."""
        self._ends_soon = False
        """Whether the server has said when the credential ends: a newer one is shown, if there is one."""
        self._steady_from: float | None = None
        """When the connection began to work, by the loop's clock; None while there is none."""
        self.transport: Transport | None = None
        self.failure: BayeuxError | None = None
        self.state = State.UNCONNECTED
        self.reason = ""
        self.reconnects = 0
        self.rehandshakes = 0

    async def open(self) -> None:
        """Start the session manager, and wait for the first session.

        Raises:
            HandshakeDeniedError: the server does not let the client in.
            ConnectionLostError: no server answered within ``open_within_s``.
            ProtocolError: the server at this address does not speak Bayeux.
            ClosedError: it was opened before.
        """
        if self._life is not None:
            raise ClosedError("a client is opened once: make a new one")
        self._http = aiohttp.ClientSession(
            proxy=self._proxy,
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # unsafe: also cookies of servers whose URL has an IP address
            connector=aiohttp.TCPConnector(limit=MAX_REQUESTS + 2),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.max_network_delay_s),
        )
        self._life = asyncio.create_task(self._live())
        try:
            await self._until_ready(self._timeouts.open_within_s)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Send a disconnect, if there is a connection, and end: within about 2 seconds, even if the server does not answer."""
        try:
            if self._life is not None:
                self._life.cancel()
                await asyncio.wait([self._life])
            if self.transport is not None and self._conversation.client_id is not None:
                try:
                    await self._requests.ask(self.transport, [self._conversation.disconnect()], GOODBYE_WITHIN_S)
                except BayeuxError:
                    pass  # the connection or the session has ended already
        finally:
            if self.failure is None:
                self._end(ClosedError("the client is closed"))
            try:
                await self._drop_transport(ClosedError("the client is closed"))
            finally:
                http, self._http = self._http, None
                if http is not None:
                    await http.close()

    @property
    def is_ready(self) -> bool:
        """Whether there is a session and a connection, as far as the client knows."""
        return self.failure is None and self.transport is not None and self._ready.is_set()

    def _end(self, failure: BayeuxError) -> None:
        self.failure = failure
        self._conversation.client_id = None
        self._ready.set()  # callers that wait for this event find the failure
        self._requests.fail(failure)
        self._user.on_end(failure)
        self._set(State.DISCONNECTED, str(failure))

    def _set(self, state: State, reason: str) -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._user.on_state(state, reason)

    # requests

    async def request(self, build: Callable[[], list[Outgoing]], *, repeatable: bool, within_s: float | None = None) -> list[Reply]:
        """Send the messages that ``build`` returns and wait for the replies. The request is sent again if it had not been sent, or if the
        server does not know the session any more: then the server has done nothing of it. A ``repeatable`` request is also sent again
        after a lost connection. If ``build`` returns no messages, there are no replies.

        Raises:
            NotSentError: within the time limit there was no connection, or too many other requests were under way.
            ConnectionLostError: no answer came in time, or the connection of a request that is not ``repeatable`` was lost before it.
            RequestTooLargeError: the request is larger than the client may send or the server accepts.
            BayeuxError: the client has ended.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (self._timeouts.request_timeout_s if within_s is None else within_s)
        tries = 0
        while True:
            async with self._in_room(end):
                transport = await self._until_ready(end - loop.time())
                session = self._conversation.client_id
                messages = build()
                if not messages:
                    return []
                tries += 1
                try:
                    replies = await self._requests.ask(transport, messages, end - loop.time())
                except ConnectionLostError as error:
                    if loop.time() >= end or not (repeatable or isinstance(error, NotSentError)):
                        raise
                else:
                    if tries > MAX_REPEATS or not all(is_unknown_session(reply.error) for reply in replies):
                        return replies
                    self._forget_session(session)
            await asyncio.sleep(min(self._pause_s(tries), max(end - loop.time(), 0)))  # meanwhile the session manager notices the loss

    @asynccontextmanager
    async def _in_room(self, end: float) -> AsyncIterator[None]:
        """Wait until another request may be under way. Call it before :meth:`_until_ready`: a connection may be lost during this wait."""
        try:
            async with asyncio.timeout_at(end):
                await self._room.acquire()
        except TimeoutError:
            raise NotSentError(f"{self._url}: not sent: too many requests were under way before it") from None
        try:
            yield
        finally:
            self._room.release()

    def _pause_s(self, tries: int) -> float:
        """Seconds to wait after a number of failed tries: 0 after the first, then more for each, reduced by up to a half at random."""
        pause_s = min((tries - 1) * self._timeouts.backoff_s, self._timeouts.max_backoff_s)
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    async def _until_ready(self, within_s: float) -> Transport:
        """Wait until there is a session with all subscriptions of the client."""
        if self._life is None:
            raise ClosedError("the client is not open: use it in `async with`")
        try:
            async with asyncio.timeout(within_s):
                while self.failure is None and (self.transport is None or not self._ready.is_set()):
                    await self._ready.wait()
        except TimeoutError:
            raise NotSentError(f"{self._url}: no connection in time; last: {self.reason or 'no answer'}") from None
        if self.failure is not None:
            raise self.failure
        assert self.transport is not None, "a client that is ready has a transport"
        return self.transport

    def _forget_session(self, client_id: str | None) -> None:
        """The server does not know the session any more: fail the held connect, so that the client makes a new session at once."""
        if client_id is not None and client_id == self._conversation.client_id:
            self._conversation.client_id = None
            self._ready.clear()
            self._requests.fail_connect(ConnectionLostError(f"{self._url}: the server does not know the session any more"))

    # replies and messages

    def _receive(self, body: bytes | str) -> None:
        self._conversation.receive(body, self._hear)

    def _hear(self, heard: Heard) -> None:
        if isinstance(heard, Message):
            self._user.on_message(heard)
            return
        if heard.channel == META_DISCONNECT and not self._requests.awaited(heard):
            self._requests.fail_connect(ServerDisconnectedError(heard.error or f"{self._url}: the server ended the session"))
            return
        position = heard.ext.get("replay")
        if heard.channel == META_CONNECT and heard.successful and isinstance(position, int) and self._requests.awaited(heard):
            self._user.on_position(position, int(heard.id))
        self._requests.answer(heard)

    # handshake, connect, recovery

    async def _live(self) -> None:
        """Handshake, then connect after connect. Recover from failures; end after a failure that another try cannot change."""
        sessions = 0
        try:
            while True:
                try:
                    if self._conversation.client_id is None:
                        await self._handshake()
                        self.rehandshakes += bool(sessions)
                        sessions += 1
                    await self._connect()
                except (ConnectionLostError, ProtocolError, RequestTooLargeError) as error:
                    if not sessions and isinstance(error, ProtocolError):
                        raise  # the address is wrong: another try would fail, too
                    await self._recover(error)
                except (ServerDisconnectedError, HandshakeDeniedError) as ended:
                    if not sessions or self._failures >= FAILURES_OF_A_SESSION or not await self._credentials.changed():
                        raise
                    self._conversation.client_id = None
                    await self._recover(ended)
        except BayeuxError as failure:
            self._end(failure)
        except Exception as error:  # a fault of this module or of a user's callback: callers must not wait for ever
            failed = ProtocolError(f"the client failed: {error!r}")
            failed.__cause__ = error
            self._end(failed)

    async def _recover(self, error: BayeuxError) -> None:
        """Count a failure, drop the connection, and wait before the next try."""
        if self._steady_from is not None and asyncio.get_running_loop().time() - self._steady_from >= STEADY_S:
            self._failures = 0
        self._steady_from = None
        self._failures += 1
        if self._failures >= FAILURES_OF_A_SESSION:
            self._conversation.client_id = None
        self._ready.clear()
        await self._drop_transport(error if isinstance(error, ConnectionLostError) else ConnectionLostError(str(error)))
        self._set(State.HANDSHAKING if self._conversation.client_id is None else State.RECONNECTING, str(error))
        await asyncio.sleep(self._pause_s(self._failures) + self._conversation.advice.interval / 1000)

    async def _handshake(self) -> None:
        """Make a session over the first transport that works.

        Raises:
            HandshakeDeniedError: the server does not let the client in.
            ConnectionLostError: no transport works, or the server refused the handshake for now.
            ProtocolError: the server at this address does not speak Bayeux.
        """
        self._set(State.HANDSHAKING, self.reason)
        reply, passing = await self._first_answer()
        if not reply.successful:
            text = f"{self._url}: {reply.error}"
            raise HandshakeDeniedError(text) if self._conversation.advice.reconnect == "none" else ConnectionLostError(text)
        chosen = next((name for name in passing if name in reply.connection_types), None)
        if chosen is None:
            raise HandshakeDeniedError(f"{self._url} offers {list(reply.connection_types)}, this client may use {list(passing)}")
        if self.transport is None or chosen != self.transport.name:
            await self._open(chosen)
        assert self.transport is not None, "a transport was opened"
        transport = self.transport
        self._last_transport = chosen
        self._fresh = True
        try:
            await self._user.on_session(lambda messages: self._requests.ask(transport, messages, self._timeouts.request_timeout_s))
        except BaseException:
            self._conversation.client_id = None  # this session lacks subscriptions of the last one: the next try makes another session
            raise

    async def _first_answer(self) -> tuple[Reply, tuple[str, ...]]:
        """The reply to a handshake over the first transport that brings one, and the transports that may be used: this one and those
        after it. The transports before it have failed, even if the server offers them: a proxy between them may block WebSockets.
        """
        authentication = await self._credentials.authentication()
        error: BayeuxError = ConnectionLostError("no transport was tried")
        for number, name in enumerate(self._preference):
            try:
                await self._open(name)
                assert self.transport is not None, "just opened"
                handshake = self._conversation.handshake(self._preference[number:], authentication)
                (reply,) = await self._requests.ask(self.transport, [handshake], self._timeouts.max_network_delay_s)
            except (ConnectionLostError, ProtocolError, HandshakeDeniedError) as failed:
                error = failed
            else:
                return reply, self._preference[number:]
        raise error

    async def _open(self, name: str) -> None:
        """Close the present connection, if there is one, and open another."""
        await self._drop_transport(ConnectionLostError(f"{self._url}: the session of before has ended"))
        assert self._http is not None, "an open client has an HTTP session"
        transport: Transport
        if name == LONG_POLLING:
            transport = LongPolling(self._http, self._url, self._credentials.headers, self._receive, max_bytes=self._max_message_bytes)
        else:
            transport = WebSocket(
                self._http,
                self._url,
                self._credentials.headers,
                self._receive,
                lost=lambda reason: self._requests.lose(transport, reason),
                max_bytes=self._max_message_bytes,
            )
        try:
            async with asyncio.timeout(self._timeouts.max_network_delay_s):
                await transport.open()
        except TimeoutError:
            raise ConnectionLostError(f"{self._url}: no connection within {self._timeouts.max_network_delay_s:g} s") from None
        self.transport = transport

    async def _drop_transport(self, error: BayeuxError) -> None:
        """Close the connection. Before that, raise ``error`` in the callers that wait for an answer over it."""
        transport, self.transport = self.transport, None
        if transport is not None:
            self._requests.lose(transport, error)
            await transport.close()

    async def _connect(self) -> None:
        """Send one connect, wait for its reply, and follow the advice in it.

        Raises:
            ServerDisconnectedError: the server ended the session: its advice is ``reconnect: none``.
            ConnectionLostError: no answer came, or the server refused the connect.
        """
        reopened = self.transport is None
        if self.transport is None:
            await self._open(self._last_transport)
            self._fresh = True
        assert self.transport is not None, "just opened"
        held = not self._fresh
        hold_ms = (self._conversation.advice.timeout or _DEFAULT_HOLD_MS) if held else 0
        newer = await self._credentials.newer() if self._ends_soon else None
        connect = self._conversation.connect(self.transport.name, at_once=not held, authentication=newer)
        (reply,) = await self._requests.ask(self.transport, [connect], hold_ms / 1000 + self._timeouts.max_network_delay_s)
        advice = self._conversation.advice
        if advice.reconnect == "none":
            raise ServerDisconnectedError(f"{self._url}: {reply.error or 'the server ended the session'}")
        if newer is not None and reply.error.startswith(WireError.CREDENTIAL_DENIED.text):  # the session goes on with the old one
            await asyncio.sleep(advice.interval / 1000)
            return
        if not reply.successful:
            if advice.reconnect == "handshake" or is_unknown_session(reply.error):
                self._conversation.client_id = None
            raise ConnectionLostError(f"{self._url}: {reply.error}")
        self._ends_soon = "authentication" in reply.ext
        self.reconnects += reopened
        self._fresh = False
        if held:
            self._failures = 0
        if self._steady_from is None:
            self._steady_from = asyncio.get_running_loop().time()
        self._set(State.CONNECTED, f"by {self.transport.name}")
        self._ready.set()
        if advice.interval:
            await asyncio.sleep(advice.interval / 1000)
