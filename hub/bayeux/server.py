"""The server's side of Bayeux 1.0: finds the session that a request is of, and has its messages handled one after the other.

It waits for others by ports only (a decision, a confirmed subscription of the bus, a snapshot), so that tests drive it with messages in and
messages out.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from typing import Protocol

from hub.bayeux.connects import Connects
from hub.bayeux.context import Context
from hub.bayeux.counters import BayeuxCounters
from hub.bayeux.endings import SessionEndings
from hub.bayeux.extension_chain import ExtensionChain, FaultReport, Hooks
from hub.bayeux.handlers.connect import ConnectHandler
from hub.bayeux.handlers.disconnect import DisconnectHandler
from hub.bayeux.handlers.handshake import HandshakeHandler
from hub.bayeux.handlers.publish import PublishHandler
from hub.bayeux.handlers.subscribe import SubscribeHandler
from hub.bayeux.handlers.unsubscribe import UnsubscribeHandler
from hub.bayeux.messages import CONNECT, DISCONNECT, HANDSHAKE, SUBSCRIBE, UNSUBSCRIBE, Incoming
from hub.bayeux.polling import PollingDelivery
from hub.bayeux.ports import Authenticator, OtherBrowsers, Peer, Remote
from hub.bayeux.refusals import Refusals
from hub.bayeux.registry import Registry
from hub.bayeux.renewal import ShownCredentials
from hub.bayeux.replies import head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.services import Services
from hub.bayeux.session import BayeuxContext, ServerSession, WebSocketDelivery
from hub.core.errors import CloseCode
from hub.core.field_error import FieldError
from hub.core.hub import Hub
from hub.core.principal import Principal
from hub.core.session_ids import incarnation_of
from hub.core.time_slice import TimeSlice

Handle = Callable[[Incoming, ServerSession, ResponseBatch], Awaitable[bytes]]
"""Answers one message of a session that is known, or raises FieldError or RefusedError."""


class ServerExtension(Hooks[ServerSession], Protocol):
    """What is asked of an extension. See :class:`hub.bayeux.extensions.Extension`."""

    def started(self, bayeux: BayeuxServer, /) -> None:
        """The server has started."""
        ...


class BayeuxServer:
    """All Bayeux sessions of one process, over every transport."""

    __slots__ = (
        "_authenticator",
        "_context",
        "_handle",
        "_handle_connect",
        "_handle_handshake",
        "_handle_publish",
        "_refusals",
        "_shown",
        "clustered",
        "connects",
        "counters",
        "endings",
        "extensions",
        "hub",
        "other_browsers",
        "registry",
        "services",
        "sessions",
    )

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        *,
        jitter: Callable[[int], int] = secrets.randbelow,
        extensions: Iterable[ServerExtension] = (),
        on_fault: FaultReport = lambda _source, _fault: None,
        clustered: bool = False,
    ) -> None:
        """``jitter(n)`` gives a number of milliseconds below ``n`` by which clients that all come back at once are spread; ``on_fault`` is
        called with the exceptions of extensions, services and the server itself that no client is told; they are counted in any case.
        ``clustered``: other processes of the hub have sessions, too.
        """
        self.hub = hub
        self.clustered = clustered
        self.other_browsers: OtherBrowsers | None = None
        """The cookies of the other processes; None where there are none."""
        self._authenticator = authenticator
        extensions = tuple(extensions)
        self.extensions: ExtensionChain[ServerSession] = ExtensionChain(extensions, on_fault)
        self._context: BayeuxContext = Context(hub.limits, self.extensions, jitter=jitter, on_fault=on_fault)
        self.counters: BayeuxCounters = self._context.counters
        self.registry: Registry[ServerSession, WebSocketDelivery] = self._context.registry
        self.sessions: dict[str, ServerSession] = self.registry.sessions
        self.services = Services(on_fault)
        self.connects = Connects(self._context)
        self.endings = SessionEndings(self._context, self.connects)
        self._refusals = Refusals(self._context)
        self._shown = ShownCredentials(hub, authenticator)
        self._handle_handshake = HandshakeHandler(
            hub, self._context, authenticator, self._refusals, PollingDelivery(self.connects), self.endings
        ).handle
        self._handle_connect = ConnectHandler(self._context, self.connects).handle
        self._handle_publish: Handle = PublishHandler(hub, self.services, self.counters).handle
        self._handle: dict[str, Handle] = {
            DISCONNECT: DisconnectHandler(self.endings).handle,
            SUBSCRIBE: SubscribeHandler(hub, self.counters).handle,
            UNSUBSCRIBE: UnsubscribeHandler(hub).handle,
        }
        if extensions:
            hub.publisher.filter = self.extensions.published
            for extension in extensions:
                extension.started(self)

    # -- requests ---------------------------------------------------------------------------------------------------

    def owner(self, client_id: str | None) -> ServerSession | Remote | None:
        """The session of a clientId; or the other process of the hub that has it, or had it; None when there is none."""
        if client_id is None:
            return None
        session = self.sessions.get(client_id)
        if session is not None or not self.clustered:  # nearly always
            return session
        incarnation = incarnation_of(client_id)
        return None if incarnation is None or incarnation == self.hub.incarnation else Remote(incarnation)

    async def handle(self, messages: Sequence[Incoming], peer: Peer, websocket: WebSocketDelivery | None = None) -> ResponseBatch:
        """Process the messages of one request, in order. A handshake stands alone: what is beside it is answered 402
        (docs/protocol/bayeux.md#handshake). ``websocket`` is the one by which the request came.
        """
        batch = ResponseBatch(peer, websocket, alone=len(messages) == 1)
        handshake = find_handshake(messages)
        if handshake is not None:
            await self._answer_handshake(handshake, messages, batch)
            return batch
        claimed = claimed_id(messages)
        session = None if claimed is None else self.sessions.get(claimed)
        if session is not None and not session.answers_to(peer, websocket) and not await self._reauthenticates(messages, peer, session):
            session = None
        if session is not None:
            if self._shown.in_header(session, peer, websocket):
                await session.request_order.run(self._shown.take_header(session, peer))
            await session.request_order.wait()
        if session is None:
            await self.hub.arrivals.turn()  # the clients of a process that was restarted come together
        if session is None or session.ended:
            batch.replies += [self._refusals.unknown(message) for message in messages]
            return batch
        batch.session = session
        if peer.connection is not None:
            peer.connection.admit(anonymous=session.principal.anonymous, tenant=session.principal.tenant)
        session.touch()
        session.by_callback = peer.callback
        if websocket is not None:
            websocket.bind(session)
        session.requests += 1
        time_slice = None if batch.alone else TimeSlice(self.hub.clock, self.hub.loop)
        try:
            for message in messages:
                if time_slice is not None:
                    await session.request_order.run(time_slice.checkpoint())
                reply = await self._answer(message, session, batch)
                if reply is not None:
                    batch.replies.append(reply if self.extensions.none else self._outgoing(session, reply))
        except BaseException:  # the client let go of the request: nobody will read that its connect was answered
            batch.written()
            session.wake()
            raise
        finally:
            session.requests -= 1
        self._collect(session, batch)
        return batch

    def answer_lost(self, messages: Sequence[Incoming], peer: Peer, websocket: WebSocketDelivery | None = None) -> ResponseBatch:
        """Answer messages of a session whose process has ended: 402, and the advice to shake hands again within 5 s, for all clients of
        that process come at once.
        """
        batch = ResponseBatch(peer, websocket, alone=len(messages) == 1)
        batch.replies += [self._refusals.unknown(message, spread=True) for message in messages]
        return batch

    def answer_released(self, connect: Incoming, peer: Peer) -> ResponseBatch:
        """Answer a connect that another process holds, as if its time were over: this process stops, and the client goes on by another
        one.
        """
        batch = ResponseBatch(peer, None, alone=True)
        batch.replies.append(success(head(connect), self._context.advice.retry))
        return batch

    async def _answer_handshake(self, handshake: Incoming, messages: Sequence[Incoming], batch: ResponseBatch) -> None:
        await self.hub.arrivals.turn()
        try:
            first = await self._handle_handshake(handshake, batch)
        except Exception as error:
            first = self._refusals.refused(handshake, error)
        batch.first = first if self.extensions.none else self._outgoing(batch.opened, first)
        batch.replies += [self._refusals.unknown(message) for message in messages if message is not handshake]

    async def _answer(self, message: Incoming, session: ServerSession, batch: ResponseBatch) -> bytes | None:
        """The reply to one message of a session's; None when it is a connect that is held."""
        if session.ended or message.claimed_id != session.id:
            if (raw := message.raw("clientId")) is None or message.claimed_id is not None:
                return self._refusals.unknown(message)
            return self._refusals.invalid(message, FieldError.of_json("clientId", "a text", raw))
        if not self.extensions.none:
            session.requests -= 1  # an extension may take its time: a connect that is held does not wait for it with what is published
            session.wake()
            try:
                passed = await self.extensions.incoming(session, session.extensions, message)
            finally:
                session.requests += 1
            if passed is None:
                return self._refusals.deleted(message)
            message = passed
            if session.id not in self.sessions:  # it ended while an extension waited
                return self._refusals.unknown(message)
        if session.closing and message.channel not in {CONNECT, DISCONNECT}:
            return self._refusals.unknown(message)  # disconnected by the server; it will hear of it by its next connect
        try:
            self._refusals.check(message)
            # whoever says goodbye with a token that has ended meanwhile goes all the same
            if "ext" in message.fields and message.channel != DISCONNECT and (shown := message.authentication()) is not None:
                await session.request_order.run(self._shown.take(shown, session, batch.peer))
                if session.id not in self.sessions:  # it ended meanwhile
                    return self._refusals.unknown(message)
            if message.channel == CONNECT:
                return self._handle_connect(message, session, batch)
            session.active_at = self.hub.clock.monotonic()
            return await self._handle.get(message.channel, self._handle_publish)(message, session, batch)
        except Exception as error:  # what is wrong with one message is its own reply, and harms no other
            return self._refusals.refused(message, error)

    async def _reauthenticates(self, messages: Sequence[Incoming], peer: Peer, session: ServerSession) -> bool:
        """Whether a request without the session's cookie may use it all the same: by an ``ext.authentication`` of the session's caller,
        which decides where there is one, or by the clientId alone (:meth:`hub.bayeux.binding.Binding.takes_id_alone`).
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
        registry = self.registry
        known: Container[str] = registry.browsers
        offered: Container[str] = registry.offered
        if self.other_browsers is not None and peer.browsers:
            elsewhere = await self.other_browsers.look(peer.browsers)
            known = elsewhere.known.union(value for value in peer.browsers if value in registry.browsers)
            offered = elsewhere.offered.union(value for value in peer.browsers if value in registry.offered)
        if not session.binding.takes_id_alone(peer, known, offered, self.hub.limits.session_binding):
            return False
        if session.ended:
            return False
        self.counters.resumed_by_id += 1
        cookie = peer.offered if peer.websocket else next((value for value in peer.browsers if value in offered), None)
        if cookie is not None:
            registry.release_browsers(session)
            session.binding.adopt(cookie)
            registry.count_browsers(session)
        return True

    def _collect(self, session: ServerSession, batch: ResponseBatch) -> None:
        """Put the queued messages into the response, unless they go another way: with the connect that is held, or over a WebSocket."""
        if not (session.waiting or session.resync_due or session.recovery or self.hub.fan_outs.jobs):  # nearly always
            return
        if session.ended or not (session.queue or session.resync_due or session.recovery):
            return
        connect = batch.connect_seq is not None
        if batch.held is None and session.delivery.rides_on_response(session, batch.peer, batch.websocket, connect=connect):
            batch.messages.extend(session.take())
            if batch.messages and batch.websocket is None:
                batch.in_flight = session.depart()
        else:
            session.wake()

    def _outgoing(self, session: ServerSession | None, reply: bytes) -> bytes:
        """A reply as the extensions leave it."""
        return self.extensions.reply(session, () if session is None else session.extensions, reply)

    # -- from outside -----------------------------------------------------------------------------------------------

    @property
    def draining(self) -> bool:
        """Whether the server sends its clients away."""
        return self._context.advice.draining

    def revoke(self, gone: Callable[[Principal], bool]) -> Iterator[None]:
        """End what was opened with credentials that are gone. A step for each client, so that the caller can give way between them; one
        that shows a newer credential before its turn stays.
        """
        return self._revoke(gone, list(self.sessions.values()), list(self.registry.websockets))

    def _revoke(
        self, gone: Callable[[Principal], bool], sessions: list[ServerSession], websockets: list[WebSocketDelivery]
    ) -> Iterator[None]:
        for session in sessions:
            if gone(session.principal):
                session.end_revoked()
            yield
        for websocket in websockets:
            websocket.revoke(gone)
            yield

    def give_up(self, unverified: Callable[[Principal], bool]) -> Iterator[None]:
        """Close the WebSockets that were opened with credentials of which nobody knows any more whether they are good; the hub ends the
        sessions. A step for each.
        """
        for websocket in list(self.registry.websockets):
            websocket.give_up(unverified)
            yield

    def drain(self) -> Iterator[None]:
        """The server stops: answer every held connect with 402, ``reconnect: handshake`` and an interval of up to 5 s, close every
        WebSocket with 1012; from now on no connect is held and no session opened. A step for each client, so that the caller can spread
        them over time.
        """
        self._context.advice.draining = True
        return self._drain(list(self.sessions.values()), list(self.registry.websockets))

    def _drain(self, sessions: list[ServerSession], websockets: list[WebSocketDelivery]) -> Iterator[None]:
        for session in sessions:
            if session.held is not None:
                self.connects.send_away(session)
                yield
        for websocket in websockets:
            websocket.close(CloseCode.RESTARTING, "the server stops")
            yield


def find_handshake(messages: Iterable[Incoming]) -> Incoming | None:
    """The first ``/meta/handshake`` of a request: exactly that channel, nothing below it."""
    for message in messages:
        if message.channel == HANDSHAKE:
            return message
    return None


def claimed_id(messages: Iterable[Incoming]) -> str | None:
    """The clientId that a request is of: the first one in it decides for all of its messages
    (docs/protocol/bayeux.md#unknown-sessions).
    """
    for message in messages:
        if message.claimed_id is not None:
            return message.claimed_id
    return None
