"""``/meta/handshake`` (Bayeux 1.0 section 4.1)."""

from __future__ import annotations

from hub.bayeux.binding import Binding
from hub.bayeux.endings import SessionEndings
from hub.bayeux.messages import Incoming
from hub.bayeux.polling import PollingDelivery
from hub.bayeux.ports import TRANSPORTS, Authenticator, Peer
from hub.bayeux.refusals import Refusals
from hub.bayeux.replay import asks_for_replay
from hub.bayeux.replies import expiry_member, ext, failure, head, success
from hub.bayeux.response_batch import ResponseBatch
from hub.bayeux.session import BayeuxContext, ServerSession
from hub.bayeux.timesync import read_timesync
from hub.core.errors import RefusedError, WireError
from hub.core.hub import Hub
from hub.core.principal import Principal
from hub.core.session_ids import new_client_id

_TYPES_MEMBER = b',"supportedConnectionTypes":[%b]' % b",".join(b'"%b"' % name.encode("ascii") for name in TRANSPORTS)


class HandshakeHandler:
    """Opens sessions."""

    __slots__ = ("_authenticator", "_context", "_endings", "_hub", "_polling", "_refusals")

    def __init__(
        self,
        hub: Hub,
        context: BayeuxContext,
        authenticator: Authenticator,
        refusals: Refusals,
        polling: PollingDelivery,
        endings: SessionEndings,
    ) -> None:
        self._hub = hub
        self._context = context
        self._authenticator = authenticator
        self._refusals = refusals
        self._polling = polling
        self._endings = endings

    async def handle(self, message: Incoming, batch: ResponseBatch) -> bytes:
        """MUST contain channel, version, supportedConnectionTypes; MAY contain minimumVersion, ext, id, advice. The version is not looked
        at: old clients send "0.9" and work. ``batch.opened`` is the session that was made.

        Raises:
            RefusedError: TOO_LARGE or CHANNEL_MISSING.
            FieldError: a member has the wrong type.
        """
        context, peer = self._context, batch.peer
        self._refusals.check(message)
        if peer.connection is not None:
            try:
                self._hub.sessions.check_rate(peer.connection.limited_address)
            except RefusedError:
                return self._limited(message)
        if not context.extensions.none:
            passed = await context.extensions.incoming(None, (), message)
            if passed is None:
                return self._refusals.deleted(message)
            message = passed
        timesync = read_timesync(message, self._hub.clock.wall_ms)
        offered = message.texts("supportedConnectionTypes") or ()
        if not set(offered).intersection(TRANSPORTS):
            context.counters.handshakes_unsupported += 1
            return failure(head(message), WireError.CONNECTION_TYPES.text, _TYPES_MEMBER + context.advice.none)
        if context.advice.draining:
            return self._limited(message)
        identifier = new_client_id(self._hub.incarnation)
        principal = await self._authenticate(message, peer, identifier)
        if principal is None:
            context.counters.handshakes_denied += 1
            return failure(head(message), WireError.HANDSHAKE_DENIED.text, context.advice.none)
        if not context.registry.has_room(principal.tenant):
            self._hub.counters.refused_unconnected += 1
            return self._limited(message)
        binding = Binding(peer, known=context.registry.browsers)
        session = ServerSession(self._hub, context, self._polling, self._endings, identifier, principal, binding)
        try:
            self._hub.sessions.attach(session)
        except RefusedError:
            return self._limited(message)
        self._open(session, batch)
        members: dict[str, bytes] = {}
        left = self._hub.renewals.expires_in(principal)
        if left is not None:
            members["authentication"] = expiry_member(left)
        if message.wants_acknowledgement():
            session.enable_acknowledgement()
            members["ack"] = b"true"
        if timesync is not None:
            members["timesync"] = timesync.member(self._hub.clock.wall_ms())
        if asks_for_replay(message):
            session.enable_replay()
            members["replay"] = b"true"
        tail = b',"clientId":"%b","version":"1.0","minimumVersion":"1.0"' % identifier.encode("ascii")
        return success(head(message), tail + _TYPES_MEMBER + ext(members) + context.advice.retry)

    def _open(self, session: ServerSession, batch: ResponseBatch) -> None:
        context, peer = self._context, batch.peer
        context.counters.handshakes += 1
        context.registry.add(session)
        if peer.connection is not None:
            peer.connection.admit(anonymous=session.principal.anonymous, tenant=session.principal.tenant)
        self._hub.logins.arrived(session.principal)
        session.start_clock()
        session.by_callback = peer.callback
        if batch.websocket is not None:
            batch.websocket.bind(session)
        if not context.extensions.none:
            session.extensions = context.extensions.session_opened(session)
        batch.opened = session

    async def _authenticate(self, message: Incoming, peer: Peer, identifier: str) -> Principal | None:
        """Who shakes hands (docs/protocol/credentials.md#order-of-credentials): headers and the sign-in cookie come before
        ``ext.authentication``; without any of them it is an anonymous client, where those are let in.
        """
        if peer.presented:
            # a handshake may have waited since its caller was identified, and until now no session was there to be told of an end
            known = peer.principal
            return known if known is None or self._authenticator.still_good(known) else None
        authentication = message.authentication()
        if authentication is None:
            return self._authenticator.anonymous(discriminator=identifier)
        return (await self._authenticator.from_ext(authentication, statistics_session=peer.statistics_session)).principal

    def _limited(self, message: Incoming) -> bytes:
        self._context.counters.handshakes_limited += 1
        return failure(head(message), WireError.RATE_LIMITED.text, self._context.advice.limited())
