"""Serves ``/participant/ws``: the WebSockets of participants, on whichever node they are opened."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.types import Receive, Scope, Send

from channels.files.amazon_errors import FORMS
from channels.files.participants.callers import Callers
from channels.files.participants.connections import PREFIX, SOCKET_PATH
from channels.files.participants.counters import ChatCounters
from channels.files.participants.errors import AccessDeniedError, TooFastError
from channels.files.participants.models import Participant
from channels.files.participants.socket import MAX_FRAME_BYTES, ChatSession, principal_of
from channels.files.participants.tokens import CONNECTION_S, Purpose
from channels.files.settings import FilesSettings
from hub.core.errors import CloseCode, RefusedError, WireError
from hub.core.hub import Hub
from hub.core.ports import Clock
from hub.core.rates import RateLimit
from hub.core.session_ids import new_stream_id
from hub.core.timers import Timer
from hub.http.errors import ApiError
from hub.http.security_headers import completing
from hub.security.connections import admit, connection_of
from hub.storage.transactions import StorageError
from hub.transports.receive_loop import receive_loop
from hub.transports.socket import Socket

MISSED_MS: Final = 30_000
"""Milliseconds after which one who has left must have been told of it: the item that says so ends its WebSocket."""

_UPGRADE: Final = {"Upgrade": "websocket", "Connection": "upgrade"}
_SLICES_PER_S: Final = 20

_log = structlog.get_logger(__name__)


class ParticipantSockets:
    """A :class:`hub.transports.dispatcher.Endpoint`. Scripts in a browser cannot see the HTTP status of a refused upgrade, so every
    WebSocket is accepted, and a refused one is then closed with a close code.
    """

    __slots__ = ("_callers", "_counters", "_draining", "_hub", "_of_participant", "_rate", "_sessions", "_settings", "_vouching")

    def __init__(self, hub: Hub, clock: Clock, callers: Callers, settings: FilesSettings, counters: ChatCounters) -> None:
        self._hub = hub
        self._callers = callers
        self._settings = settings
        self._counters = counters
        self._rate = RateLimit(clock, settings.chat_frames_per_s)
        self._sessions: dict[ChatSession, Timer] = {}
        self._of_participant: Counter[str] = Counter()
        self._draining = False
        self._vouching: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """WebSockets that are open now."""
        return len(self._sessions)

    def serves(self, path: str) -> bool:
        """See :meth:`hub.transports.dispatcher.Endpoint.serves`."""
        return path == SOCKET_PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            upgrade = ApiError(426, "expected a WebSocket upgrade, got a plain HTTP request", headers=_UPGRADE)
            await FORMS[PREFIX](scope, upgrade)(scope, receive, completing(send))
            return
        socket = Socket(scope, receive, send, max_message_bytes=MAX_FRAME_BYTES)
        participant, code, why = await self._identify(scope)
        await socket.accept()
        if participant is None:
            await _close(socket, code, why)
            return
        expires_ms = self._hub.clock.wall_ms() + CONNECTION_S * 1000
        session = ChatSession(
            self._hub,
            new_stream_id(self._hub.incarnation),
            principal_of(participant, expires_ms),
            participant,
            socket,
            self._counters,
            self._rate.allows,
            self._vouch,
        )
        socket.on_drain(session.drained)
        try:
            self._admit(scope, participant, session)
        except RefusedError as refused:
            self._counters.refused_sockets += 1
            await _close(socket, CloseCode.TOO_MANY, refused.detail)
            return
        self._sessions[session] = self._hub.timers.after(CONNECTION_S, session.end_revoked)
        self._of_participant[participant.id] += 1
        self._counters.sockets += 1
        try:
            await self._begin(session, participant)
            await receive_loop(
                socket,
                session.receive,
                session.bad_frame,
                session.close,
                clock=self._hub.clock,
                loop=self._hub.loop,
                log_event="participant_frame_failed",
            )
        finally:
            self._hub.timers.cancel(self._sessions.pop(session))
            self._of_participant[participant.id] -= 1
            if not self._of_participant[participant.id]:
                del self._of_participant[participant.id]
            session.close(CloseCode.NORMAL)

    async def _identify(self, scope: Scope) -> tuple[Participant | None, CloseCode, str]:
        """The participant whose token the URL has; or None, and how the WebSocket is closed."""
        tokens = [value for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name == "token"]
        try:
            if len(tokens) != 1:
                self._counters.refused_tokens += 1
                raise AccessDeniedError("expected the URL that /participant/connection gives")
            return await self._callers.present(tokens[0], Purpose.SOCKET), CloseCode.NORMAL, ""
        except AccessDeniedError as denied:
            return None, CloseCode.NOT_AUTHENTICATED, str(denied)
        except TooFastError as often:
            return None, CloseCode.TOO_MANY, str(often)
        except StorageError:
            _log.exception("a participant could not be identified")
            return None, CloseCode.UNAVAILABLE, "tokens cannot be looked up now; come back later"

    def _admit(self, scope: Scope, participant: Participant, session: ChatSession) -> None:
        """Count the session among those of the hub.

        Raises:
            RefusedError: there are as many as there may be, of the participant, of its tenant, or in all.
        """
        connection = connection_of(scope)
        self._hub.sessions.check_rate(None if connection is None else connection.limited_address)
        most = self._settings.chat_sockets
        if self._of_participant[participant.id] >= most:
            raise RefusedError(
                WireError.RATE_LIMITED, f"expected at most {most} WebSockets of a participant (files.chat_sockets), got one more"
            )
        self._hub.sessions.attach(session)
        admit(scope, tenant=participant.tenant)

    async def _begin(self, session: ChatSession, participant: Participant) -> None:
        """Have the session hear its chat. A participant who left since the token was read hears nothing."""
        if self._draining:
            session.close(CloseCode.RESTARTING, "the server stops")
            return
        try:
            await self._hub.subscriptions.subscribe(session, session.channels, granted=True)
            if not await self._callers.still_present(participant):
                session.close(CloseCode.NOT_AUTHENTICATED, "the participant has left, or was removed")
        except RefusedError as refused:
            session.close(CloseCode.UNAVAILABLE, refused.detail)
        except StorageError:
            _log.exception("a participant could not be looked up")
            session.close(CloseCode.UNAVAILABLE, "tokens cannot be looked up now; come back later")

    def _vouch(self, session: ChatSession) -> None:
        """Find out whether the chat is still that of the session, and let the session go on, or close it."""
        task = asyncio.get_running_loop().create_task(self._vouch_for(session), name="files.chats.vouch")
        self._vouching.add(task)
        task.add_done_callback(self._vouching.discard)

    async def _vouch_for(self, session: ChatSession) -> None:
        try:
            same = await self._callers.is_same(session.participant)
        except StorageError:
            _log.exception("a participant could not be looked up")
            session.end_unverified()
            return
        if same:
            session.vouched()
        else:
            session.end_revoked()

    async def end_gone(self) -> list[Participant]:
        """Close with 4401 the WebSockets of participants who are there no more, or whose admitter is not. Returns those who are still in
        their chats though nobody who let them in is there any more.

        Raises:
            StorageError: the database cannot be read.
        """
        sessions = list(self._sessions)
        before_ms = self._hub.clock.wall_ms() - MISSED_MS
        gone = await self._callers.gone([session.participant for session in sessions], before_ms)
        ended = {_key(each): each for each in gone}
        for session in sessions:
            if _key(session.participant) in ended:
                session.end_revoked()
        return [each for each in ended.values() if await self._callers.is_abandoned(each)]

    async def drain(self, seconds: float) -> None:
        """Close every WebSocket with 1012, spread over at most ``seconds``; a new one is closed at once."""
        self._draining = True
        sessions = list(self._sessions)
        slices = max(1, min(int(seconds * _SLICES_PER_S), len(sessions)))
        for number in range(slices):
            if number:
                await asyncio.sleep(1 / _SLICES_PER_S)
            for session in sessions[number::slices]:
                session.close(CloseCode.RESTARTING, "the server stops")


def _key(participant: Participant) -> tuple[str, str, int, str]:
    """By which admission, of which participant, a WebSocket was opened."""
    return participant.tenant, participant.id, participant.created_ms, participant.admission


async def _close(socket: Socket, code: CloseCode, why: str) -> None:
    """Close a WebSocket that was accepted, and wait until it is closed."""
    socket.close(code, why)
    while await socket.receive() is not None:
        pass
