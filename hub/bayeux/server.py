"""The server's side of Bayeux 1.0: who owns a request, and one handler for each meta channel.

What the handlers wait for (a decision, a confirmed bus subscription, a snapshot) are ports, so that tests drive them with messages in and
messages out.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from hub.bayeux.acknowledge import Acknowledged
from hub.bayeux.binding import Binding
from hub.bayeux.channel_handlers import ChannelHandlers, subscription_member
from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.exchange import Exchange
from hub.bayeux.extensions import Extension, ExtensionMessage, Extensions, FaultReport
from hub.bayeux.link import SocketLink
from hub.bayeux.messages import CONNECT, DISCONNECT, HANDSHAKE, SUBSCRIBE, UNSUBSCRIBE, FieldError, Incoming
from hub.bayeux.ports import TRANSPORTS, Authenticator, Peer
from hub.bayeux.replay import asks_for_replay
from hub.bayeux.replies import Prepared, advice, ext, failure, field_error, head, success
from hub.bayeux.services import Services
from hub.bayeux.session import ServerSession
from hub.bayeux.timesync import read_timesync
from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.hub import Hub
from hub.core.message import Message
from hub.core.principal import Principal
from hub.core.time_slice import TimeSlice

CLIENT_ID_BYTES = 24
"""192 random bits, of which the first 64 may be shown (:data:`hub.core.subscriber.PUBLIC_ID_CHARACTERS`): a clientId is all that some
sessions ask for, and the contract wants at least 128.
"""

JITTER_MS = 5000
"""The longest interval that is advised when many clients come back at once (docs/protocol/bayeux.md#advice)."""

LIMITED_INTERVAL_MS = 1000
"""The shortest interval that is advised when a handshake was refused for a limit: an interval of 0 would be a storm."""

Handler = Callable[[Incoming, ServerSession, Exchange], Awaitable[bytes]]
"""Answers one request of a session that is known, or raises FieldError or RefusedError."""

_TYPES_MEMBER = b',"supportedConnectionTypes":[%b]' % b",".join(b'"%b"' % name.encode("ascii") for name in TRANSPORTS)


class BayeuxServer:
    """All Bayeux sessions of one process, over every transport."""

    __slots__ = (
        "_authenticator",
        "_draining",
        "_handlers",
        "_jitter",
        "_many_clients_advice",
        "_on_fault",
        "_publish",
        "_unconnected",
        "activity_counts_deliveries",
        "browsers",
        "connects_held",
        "counters",
        "extensions",
        "hub",
        "links",
        "none_advice",
        "occupied",
        "offered",
        "retry_advice",
        "services",
        "sessions",
    )

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        *,
        jitter: Callable[[int], int] = secrets.randbelow,
        extensions: Iterable[Extension] = (),
        on_fault: FaultReport = lambda _source, _fault: None,
    ) -> None:
        """``jitter(n)`` gives a number of milliseconds below ``n`` by which clients that all come back at once are spread; ``on_fault`` is
        told of exceptions that are nobody's answer, of extensions, services and the server itself; they are counted in any case.
        """
        self.hub = hub
        self.counters = BayeuxCounters()
        self.sessions: dict[str, ServerSession] = {}
        self.links: dict[SocketLink, None] = {}
        self.none_advice = advice("none", 0, hub.limits.timeout_ms)
        self._authenticator = authenticator
        self._jitter = jitter
        self._on_fault = on_fault
        # what every good handshake and connect reply carries (docs/protocol/bayeux.md#advice)
        self.retry_advice = advice("retry", hub.limits.interval_ms, hub.limits.timeout_ms)
        self._many_clients_advice = advice("retry", hub.limits.many_clients_interval_ms, hub.limits.timeout_ms, many_clients=True)
        self._draining = False
        self._unconnected: Counter[str] = Counter()
        """Sessions of each tenant that have not connected yet."""
        self.browsers: Counter[str] = Counter()
        """Sessions of each ``BAYEUX_BROWSER`` cookie."""
        self.offered: set[str] = set()
        """``BAYEUX_BROWSER`` cookies that WebSockets which are open were given."""
        # connects of each browser that long-polling holds
        self.occupied: Counter[str] = Counter()
        self.connects_held = 0
        """Connects that wait for something to tell, or for their time to be over."""
        self.activity_counts_deliveries = bool(hub.limits.activity_ms and hub.limits.activity_counts_deliveries)
        self.services = Services(on_fault)
        self.extensions = Extensions(extensions, on_fault)
        if not self.extensions.none:
            hub.on_publish = self.extensions.published
            self.extensions.started(self)
        channels = ChannelHandlers(hub, self.services, self.counters)
        self._publish = channels.publish
        self._handlers: dict[str, Handler] = {
            DISCONNECT: self._disconnect,
            SUBSCRIBE: channels.subscribe,
            UNSUBSCRIBE: channels.unsubscribe,
        }

    # -- advice -----------------------------------------------------------------------------------------------------

    def handshake_advice(self) -> bytes:
        """What goes with 402 on a connect; the interval is 0, or spread over 5 s while this server drains."""
        interval = 1 + self._jitter(JITTER_MS) if self._draining else 0
        return advice("handshake", interval, self.hub.limits.timeout_ms)

    def _limited_advice(self) -> bytes:
        return advice("handshake", LIMITED_INTERVAL_MS + self._jitter(JITTER_MS - LIMITED_INTERVAL_MS), self.hub.limits.timeout_ms)

    # -- requests ---------------------------------------------------------------------------------------------------

    def owner(self, messages: Sequence[Incoming]) -> ServerSession | None:
        """The session that a request claims to be of: the first clientId in it decides for all of its messages
        (docs/protocol/bayeux.md#unknown-sessions).
        """
        for message in messages:
            if (claimed := message.claimed_id) is not None:
                return self.sessions.get(claimed)
        return None

    async def handle(self, messages: Sequence[Incoming], peer: Peer) -> Exchange:
        """Process the messages of one request, in order. A handshake stands alone: what is beside it is answered 402
        (docs/protocol/bayeux.md#handshake).
        """
        exchange = Exchange()
        handshake = find_handshake(messages)
        if handshake is not None:
            try:
                first = await self._handshake(handshake, peer, exchange)
            except Exception as fault:
                first = self._refused(handshake, fault)
            exchange.first = self.outgoing(exchange.opened, first)
            exchange.replies = [self._unknown(message) for message in messages if message is not handshake]
            return exchange
        session = self.owner(messages)
        if session is not None and (session.answers_to(peer) or await self._proves(messages, peer, session)):
            await session.turns.wait()
        else:
            session = None
        if session is None or session.ended:
            exchange.replies = [self._unknown(message) for message in messages]
            return exchange
        exchange.session = session
        if peer.connection is not None:
            peer.connection.admit(anonymous=session.principal.anonymous, tenant=session.principal.tenant)
        session.touch()
        session.by_callback = peer.callback
        if peer.link is not None:
            peer.link.bind(session)
        session.requests += 1
        alone = len(messages) == 1
        time_slice = None if alone else TimeSlice(self.hub.clock, self.hub.loop)
        try:
            for message in messages:
                if time_slice is not None:
                    await session.turns.take(time_slice.checkpoint())
                reply = await self._answer(message, session, exchange, peer, alone=alone)
                if reply is not None:
                    exchange.replies.append(self.outgoing(session, reply))
        except BaseException:  # the client let go of the request: nobody will read that its connect was answered
            if exchange.cycle is not None:
                session.connect_answered(exchange.cycle)
            session.wake()
            raise
        finally:
            session.requests -= 1
        self._collect(session, exchange, peer)
        return exchange

    async def _proves(self, messages: Sequence[Incoming], peer: Peer, session: ServerSession) -> bool:
        """Whether a request without the session's cookie may use it all the same: by an ``ext.authentication`` of the session's caller,
        which decides where there is one, or by the clientId alone (:meth:`Binding.takes_id_alone`).
        """
        if peer.presented or session.binding.by_header:
            return False
        for message in messages:
            try:
                authentication = message.authentication()
            except FieldError:  # the message is refused for it, by itself
                continue
            if authentication is not None:
                caller = await self._authenticator.from_ext(authentication, statistics_session=peer.statistics_session)
                return caller.principal is not None and caller.principal.same_caller(session.principal)
        if not session.binding.takes_id_alone(peer, self.browsers, self.offered, self.hub.limits.session_binding):
            return False
        self.counters.resumed_by_id += 1
        cookie = peer.offered if peer.link is not None else next((value for value in peer.browsers if value in self.offered), None)
        if cookie is not None:
            self._release_browsers(session)
            session.binding.adopt(cookie)
            self._count_browsers(session)
        return True

    def _collect(self, session: ServerSession, exchange: Exchange, peer: Peer) -> None:
        """Let what waits ride on the response, unless it has a better way: the connect that has just been held, or a WebSocket."""
        if session.ended or not (session.queue or session.resync_due or session.recovery):  # nearly always nothing waits
            return
        here = session.link is peer.link and (peer.link is None or peer.link.writable)
        if session.acknowledged is not None or (peer.callback and exchange.cycle is None):
            here = False  # its events ride on replies to connects alone
        if here and exchange.held is None:
            exchange.messages.extend(session.take())
        else:
            session.wake()

    def _unknown(self, message: Incoming) -> bytes:
        """402; only a connect, and a handshake beside another one, is also told what to do about it
        (docs/protocol/bayeux.md#unknown-sessions).
        """
        self.counters.sessions_unknown += 1
        tail = self.handshake_advice() if message.channel in {CONNECT, HANDSHAKE} else subscription_member(message)
        return failure(head(message), WireError.SESSION_UNKNOWN.text, tail)

    async def _answer(self, message: Incoming, session: ServerSession, exchange: Exchange, peer: Peer, *, alone: bool) -> bytes | None:
        """The reply to one message of a session's; None when it is a connect that is held."""
        if session.ended or message.claimed_id != session.id:
            if (raw := message.raw("clientId")) is None or message.claimed_id is not None:
                return self._unknown(message)
            return self._invalid(message, FieldError("clientId", "a text", raw))
        if not self.extensions.none:
            session.requests -= 1  # an extension may take its time: a connect that is held does not wait for it with what is published
            session.wake()
            try:
                passed = await self._incoming(session, message)
            finally:
                session.requests += 1
            if passed is None:
                return failure(head(message), WireError.MESSAGE_DELETED.text, self._tail(message))
            message = passed
            if session.id not in self.sessions:  # it ended while an extension waited
                return self._unknown(message)
        if session.closing and message.channel not in {CONNECT, DISCONNECT}:
            return self._unknown(message)  # disconnected by the server; it will hear of it by its next connect
        try:
            self._check(message)
            if message.channel == CONNECT:
                return self._connect(message, session, exchange, peer, alone=alone)
            session.active_at = self.hub.clock.monotonic()
            return await self._handlers.get(message.channel, self._publish)(message, session, exchange)
        except Exception as fault:  # what is wrong with one message is its own reply, and harms no other
            return self._refused(message, fault)

    async def _incoming(self, session: ServerSession | None, message: Incoming) -> Incoming | None:
        """A message as the extensions leave it; None when one of them refused it."""
        seen = ExtensionMessage(dict(message.fields))
        if not await self.extensions.incoming(session, seen):
            return None
        return Incoming(seen.members, message.size) if seen.changed else message

    def outgoing(self, session: ServerSession | None, reply: bytes) -> bytes:
        """A reply as the extensions leave it."""
        return reply if self.extensions.none else self.extensions.reply(session, reply)

    def outgoing_message(self, session: ServerSession, message: Message) -> Message:
        """A message for one session as the extensions leave it."""
        encoded = self.extensions.reply(session, message.bayeux())
        return message if encoded is message.bayeux() else Prepared(message, encoded)

    def _refused(self, message: Incoming, fault: Exception) -> bytes:
        if isinstance(fault, FieldError):
            return self._invalid(message, fault)
        if not isinstance(fault, RefusedError):  # the server's own: it is logged, and the other messages of the request go on
            self.counters.failed += 1
            self._on_fault(self, fault)
            return failure(head(message), WireError.INTERNAL.text, self._tail(message))
        if fault.error is WireError.SESSION_UNKNOWN:
            return self._unknown(message)
        if fault.error is WireError.TOO_LARGE:
            self.counters.too_large += 1
        elif fault.error in {WireError.CHANNEL_MISSING, WireError.DATA_MISSING, WireError.SUBSCRIPTION_MISSING}:
            self.counters.invalid_messages += 1
        return failure(head(message), fault.error.text, self._tail(message))

    def _invalid(self, message: Incoming, fault: FieldError) -> bytes:
        self.counters.invalid_messages += 1
        error = WireError.SUBSCRIPTION_INVALID.text if fault.field == "subscription" else field_error(fault.field)
        return failure(head(message), error, self._tail(message))

    def _tail(self, message: Incoming) -> bytes:
        """What stands behind the error of a message: the whole advice on a handshake or connect, else the subscription as it came."""
        channel = message.channel
        if channel == HANDSHAKE:
            return self.none_advice
        return self.retry_advice if channel == CONNECT else subscription_member(message)

    def _check(self, message: Incoming) -> None:
        """What every message must satisfy, whatever its channel.

        Raises:
            RefusedError: TOO_LARGE or CHANNEL_MISSING.
            FieldError: a common member has the wrong type.
        """
        if message.size > self.hub.limits.max_message_bytes:
            raise RefusedError(WireError.TOO_LARGE)
        if message.channel_text is None and message.text("channel") is None:
            raise RefusedError(WireError.CHANNEL_MISSING)
        message.check_common()

    # -- /meta/handshake --------------------------------------------------------------------------------------------

    async def _handshake(self, message: Incoming, peer: Peer, exchange: Exchange) -> bytes:
        """MUST contain channel, version, supportedConnectionTypes; MAY contain minimumVersion, ext, id, advice (Bayeux 1.0 section 4.1).
        The version is not looked at: old clients send "0.9" and work.
        """
        self._check(message)
        if peer.connection is not None:
            try:
                self.hub.arrives(peer.connection.limited_address)
            except RefusedError:
                return self._limited(message)
        if not self.extensions.none:
            passed = await self._incoming(None, message)
            if passed is None:
                return failure(head(message), WireError.MESSAGE_DELETED.text, self.none_advice)
            message = passed
        timesync = read_timesync(message, self.hub.clock.wall_ms())
        offered = message.texts("supportedConnectionTypes") or ()
        if not set(offered).intersection(TRANSPORTS):
            self.counters.handshakes_unsupported += 1
            return failure(head(message), WireError.CONNECTION_TYPES.text, _TYPES_MEMBER + self.none_advice)
        if self._draining:
            return self._limited(message)
        identifier = secrets.token_hex(CLIENT_ID_BYTES)
        principal = await self._who(message, peer, identifier)
        if principal is None:
            self.counters.handshakes_denied += 1
            return failure(head(message), WireError.HANDSHAKE_DENIED.text, self.none_advice)
        if not self._has_room(principal.tenant):
            self.hub.counters.refused_unconnected += 1
            return self._limited(message)
        session = ServerSession(self, identifier, principal, Binding(peer, known=self.browsers))
        try:
            self.hub.attach(session)
        except RefusedError:
            return self._limited(message)
        self._open(session, peer)
        exchange.opened = session
        members: dict[str, bytes] = {}
        if message.wants_acknowledgement():
            session.acknowledged = Acknowledged()
            session.update_direct_write()
            members["ack"] = b"true"
        if timesync is not None:
            members["timesync"] = timesync.member(self.hub.clock.wall_ms())
        if asks_for_replay(message):
            session.tell_positions()
            members["replay"] = b"true"
        tail = b',"clientId":"%b","version":"1.0","minimumVersion":"1.0"' % identifier.encode("ascii")
        return success(head(message), tail + _TYPES_MEMBER + ext(members) + self.retry_advice)

    async def _who(self, message: Incoming, peer: Peer, identifier: str) -> Principal | None:
        """Who shakes hands (docs/protocol/credentials.md#order-of-credentials): headers and the sign-in cookie come before
        ``ext.authentication``; without any of them it is an anonymous client, where those are let in.
        """
        if peer.presented:
            return peer.principal
        authentication = message.authentication()
        if authentication is None:
            return self._authenticator.anonymous(discriminator=identifier)
        return (await self._authenticator.from_ext(authentication, statistics_session=peer.statistics_session)).principal

    def _limited(self, message: Incoming) -> bytes:
        self.counters.handshakes_limited += 1
        return failure(head(message), WireError.RATE_LIMITED.text, self._limited_advice())

    def _has_room(self, tenant: str) -> bool:
        """Whether one more session may wait for its first connect: of all, and of this tenant."""
        most = self.hub.limits.max_unconnected
        return self._unconnected.total() < most and self._unconnected[tenant] < self.hub.limits.of_tenant(most)

    def _now_connected(self, tenant: str) -> None:
        self._unconnected[tenant] -= 1
        if not self._unconnected[tenant]:
            del self._unconnected[tenant]

    def _open(self, session: ServerSession, peer: Peer) -> None:
        self.counters.handshakes += 1
        self.sessions[session.id] = session
        self._unconnected[session.principal.tenant] += 1
        if peer.connection is not None:
            peer.connection.admit(anonymous=session.principal.anonymous, tenant=session.principal.tenant)
        self._count_browsers(session)
        self.hub.login_arrived(session.principal)
        session.start_clock()
        session.by_callback = peer.callback
        if peer.link is not None:
            peer.link.bind(session)
        if not self.extensions.none:
            session.extensions = self.extensions.session_opened(session)

    def _count_browsers(self, session: ServerSession) -> None:
        for browser in session.binding.browsers:
            self.browsers[browser] += 1

    def _release_browsers(self, session: ServerSession) -> None:
        for browser in session.binding.browsers:
            self.browsers[browser] -= 1
            if not self.browsers[browser]:
                del self.browsers[browser]

    def release_browser(self, browser: str) -> None:
        """A connect of this browser is held no more."""
        self.occupied[browser] -= 1
        if not self.occupied[browser]:
            del self.occupied[browser]

    def idle_too_long(self, session: ServerSession) -> bool:
        """Whether the session has had no traffic but its connects for longer than it may (docs/protocol/bayeux.md#activity)."""
        limit = self.hub.limits.activity_ms
        return bool(limit) and self.hub.clock.monotonic() - session.active_at > limit / 1000

    def forget(self, session: ServerSession) -> None:
        """A session has ended: give back all that it held. Called once for each session, by the session itself."""
        del self.sessions[session.id]
        self._release_browsers(session)
        if not session.connected:
            self._now_connected(session.principal.tenant)
        self.hub.detach(session)
        self.hub.login_left(session.principal)

    # -- /meta/connect ----------------------------------------------------------------------------------------------

    def _connect(self, message: Incoming, session: ServerSession, exchange: Exchange, peer: Peer, *, alone: bool) -> bytes | None:
        """MUST contain channel, clientId, connectionType; MAY contain ext, id, advice (Bayeux 1.0 section 4.2). None when it is held.

        It is answered at once when it is the first, not alone in its request, when the client asks for it with ``advice.timeout`` 0, and on
        long-polling when something waits (docs/protocol/bayeux.md#connect).
        """
        message.text("connectionType")
        limits = self.hub.limits
        wanted, pause = message.timeout_ms(), message.interval_ms()
        batch = message.acknowledged()
        timesync = read_timesync(message, self.hub.clock.wall_ms())
        timeout_ms = limits.timeout_ms if wanted is None else min(wanted, limits.timeout_ms)
        self.counters.connects += 1
        first = not session.connected
        if first:
            session.connected = True
            self._now_connected(session.principal.tenant)
        if peer.link is None:
            session.leave_link()
        session.begin_connect()
        session.interval_ms = None if pause is None else max(limits.interval_ms, min(pause, limits.max_client_interval_ms))
        exchange.cycle = session.cycle
        if batch is not None:
            session.acknowledge(batch)
        if self._draining:
            return failure(head(message), WireError.SESSION_UNKNOWN.text, self.handshake_advice())
        if self.idle_too_long(session):
            session.disconnect()
            if session.ended:
                return success(head(message), self.none_advice)
        advised = self.none_advice if session.closing else self.retry_advice
        waits = session.waits
        if session.ended:  # what fan-outs had for it was too much for its queue
            return failure(head(message), WireError.SESSION_UNKNOWN.text, self.handshake_advice())
        if not (first or not alone or timeout_ms == 0 or waits or session.closing):
            browser = None if peer.link is not None or peer.callback or not peer.browsers else peer.browsers[0]
            if browser is None or self.occupied[browser] < limits.max_held_per_browser:
                exchange.held = session.hold(head(message), timeout_ms, timesync=timesync, browser=browser)
                return None
            self.counters.many_clients += 1
            advised = self._many_clients_advice
        if session.acknowledged is not None:
            exchange.messages.clear()  # of a connect before it in the same request, whose batch is a part of this one
        if session.acknowledged is not None or session.closing:
            exchange.messages.extend(session.take_for_connect())
        reply = session.connect_reply(head(message), timesync, advised)
        if session.closing:
            session.end_by_connect()
        return reply

    # -- /meta/disconnect -------------------------------------------------------------------------------------------

    async def _disconnect(self, message: Incoming, session: ServerSession, exchange: Exchange) -> bytes:
        """MUST contain channel, clientId; MAY contain ext, id (Bayeux 1.0 section 4.3)."""
        exchange.messages.extend(session.end_by_client())
        return success(head(message))

    @property
    def draining(self) -> bool:
        """Whether the server sends its clients away."""
        return self._draining

    # -- from outside -----------------------------------------------------------------------------------------------

    def revoke(self, gone: Callable[[Principal], bool]) -> Iterator[None]:
        """End what was opened with credentials that are gone. A step for each client, so that the caller can give way between them; one
        that shows a newer credential before its turn stays.
        """
        return self._revoke(gone, list(self.sessions.values()), list(self.links))

    def _revoke(self, gone: Callable[[Principal], bool], sessions: list[ServerSession], links: list[SocketLink]) -> Iterator[None]:
        for session in sessions:
            if gone(session.principal):
                session.end_revoked()
            yield
        for link in links:
            link.revoke(gone)
            yield

    def drain(self) -> Iterator[None]:
        """The server stops: answer every held connect with 402, ``reconnect: handshake`` and an interval of up to 5 s, close every
        WebSocket with 1012; from now on no connect is held and no session opened. A step for each client, so that the caller can spread
        them over time.
        """
        self._draining = True
        return self._drain(list(self.sessions.values()), list(self.links))

    def _drain(self, sessions: list[ServerSession], links: list[SocketLink]) -> Iterator[None]:
        for session in sessions:
            if session.held is not None:
                session.send_away()
                yield
        for link in links:
            link.connection.close(CloseCode.RESTARTING, "the server stops")
            yield


def find_handshake(messages: Iterable[Incoming]) -> Incoming | None:
    """The first ``/meta/handshake`` of a request: exactly that channel, nothing below it."""
    for message in messages:
        if message.channel == HANDSHAKE:
            return message
    return None
