"""The WebSocket of a participant: what is said in the chat is told, until the participant leaves
(docs/protocol/participants.md#websocket). It does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from channels.files.participants.counters import ChatCounters
from channels.files.participants.models import ENDED, LEFT, Participant
from channels.files.participants.serializers import transcript_channel, typing_channel
from hub.core.delivery import DeliveryClass
from hub.core.errors import CREDENTIAL_ENDED, CREDENTIAL_UNVERIFIED, CloseCode
from hub.core.frames import text_frame
from hub.core.hub import Hub
from hub.core.json_text import ascii_json
from hub.core.json_validation import BadJsonError, guard
from hub.core.message import Message
from hub.core.principal import Principal, login_key
from hub.core.subscriber import Subscriber
from hub.core.timers import Timer
from hub.dashboard.ports import Connection

CHAT: Final = "aws/chat"

MAX_FRAME_BYTES: Final = 4 * 1024
"""Bytes of what a client may send in one message: it subscribes and pings, and says everything else by REST."""

LEAVING_S: Final = 1.0
"""Seconds from the end of a participant to that of its WebSocket."""

MAX_DEPTH: Final = 8
"""Nesting of what a client sends."""

_WHO: Final = re.compile(rb'"(?:Recipient)?ParticipantId":"([^"\\]*)"')
"""Participants in the JSON text of an item. Within texts quotes are escaped, so what somebody writes is not found."""

_PONG: Final = b'{"topic":"aws/ping","statusCode":200,"statusContent":"OK"}'
_HEARTBEAT: Final = b'{"topic":"aws/heartbeat"}'


class _Reply(Message):
    """An answer. It waits in the queue of what is told, and is never dropped: who asks and does not read is disconnected."""

    __slots__ = ()

    def __init__(self, payload: bytes) -> None:
        super().__init__("", payload, DeliveryClass.LOG)


def principal_of(participant: Participant, expires_ms: int) -> Principal:
    """The participant as the hub's sessions know callers. It has no role: what it hears is decided here alone."""
    login = login_key(participant.tenant, f"participant {participant.id}", "")
    return Principal(participant.tenant, f"participant:{participant.id}", frozenset(), login, login, anonymous=False, expires_ms=expires_ms)


class ChatSession(Subscriber):
    """One WebSocket of a participant. It hears the chat from the beginning, so that it ends with the participant, and tells of it from
    ``aws/subscribe`` on.
    """

    __slots__ = ("_connection", "_counters", "_known", "_leaving", "_may_send", "_participant", "_strangers", "_telling", "_vouch", "ended")

    door = "ws"

    def __init__(
        self,
        hub: Hub,
        identifier: str,
        principal: Principal,
        participant: Participant,
        connection: Connection,
        counters: ChatCounters,
        may_send: Callable[[str], bool],
        vouch: Callable[[ChatSession], None],
    ) -> None:
        """``may_send`` says whether the session of this id may send another frame now. ``vouch`` finds out whether the chat is still that
        of the participant, and then calls :meth:`vouched`, or ends the session.
        """
        super().__init__(hub, identifier, principal)
        self.ended = False
        self._connection = connection
        self._participant = participant
        self._counters = counters
        self._may_send = may_send
        self._vouch = vouch
        self._known: set[bytes] = set()
        """The participants who are known to be in this chat. A tenant that was removed and made again may have another chat of the same id:
        everybody in it is a stranger, so that nothing of it is told before somebody has vouched for it.
        """
        self._strangers: set[bytes] = set()
        """Those of whom items wait, while it is being found out."""
        self._telling = False
        self._leaving: Timer | None = None
        """Closes the connection of a participant who has left; until then only the end of the chat is told."""

    @property
    def channels(self) -> tuple[str, str]:
        """The channels of the hub that it hears."""
        contact = self._participant.contact
        return transcript_channel(contact), typing_channel(contact)

    @property
    def participant(self) -> Participant:
        """Whose it is, as at its opening."""
        return self._participant

    # -- what the client sends ----------------------------------------------------------------------------------------

    async def receive(self, payload: bytes) -> None:
        """Take one frame of the client. What is not understood ends the connection."""
        if self.ended:
            return
        if not self._may_send(self.id):
            self._refuse(CloseCode.TOO_MANY, "too many frames in a second (files.chat_frames_per_s)")
            return
        if len(payload) > MAX_FRAME_BYTES:
            self._refuse(CloseCode.TOO_LARGE, f"expected a message of at most {MAX_FRAME_BYTES} bytes, got {len(payload)}")
            return
        said = _read(payload)
        topic = None if said is None else said.get("topic")
        if said is None or not isinstance(topic, str):
            self._refuse(CloseCode.BAD_MESSAGE, 'expected an object with a "topic"')
        elif topic == "aws/ping":
            self._reply(_PONG)
        elif topic == "aws/heartbeat":
            self._reply(_HEARTBEAT)
        elif topic == "aws/subscribe":
            self._subscribe(said)

    def _subscribe(self, said: dict[str, Any]) -> None:
        content = said.get("content")
        topics = content.get("topics") if isinstance(content, dict) else None
        if not isinstance(topics, list) or not all(isinstance(each, str) for each in topics):
            self._refuse(CloseCode.BAD_MESSAGE, "expected content.topics to be a list of texts")
            return
        good = CHAT in topics
        self._telling = self._telling or good
        told = {"status": "success" if good else "failure", "topics": [CHAT] if good else topics[:10]}
        self._reply(ascii_json({"topic": "aws/subscribe", "content": told}))

    def bad_frame(self, code: CloseCode, reason: str) -> None:
        """Close for a frame that is not text, or too large."""
        self._refuse(code, reason)

    def _refuse(self, code: CloseCode, reason: str) -> None:
        self._counters.refused_frames += 1
        self.close(code, reason)

    def _reply(self, payload: bytes) -> None:
        self.offer(_Reply(payload))

    # -- Subscriber -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what waits, one frame for each item; nothing while the client has more than ``max_queue_bytes`` unread."""
        if self.ended or self._strangers or self._connection.buffered > self.hub.limits.max_queue_bytes:
            return
        if self._telling and (strangers := self._said_by() - self._known):
            self._strangers = strangers
            self._vouch(self)
            return
        for message in self.take():
            if isinstance(message, _Reply):
                self._connection.write(text_frame(message.data))
                continue
            ends = self._what_ends(message.data)
            if self._telling and (self._leaving is None or ends == ENDED):
                self._connection.write(text_frame(_told(message.data)))
            if ends == ENDED:
                self.close(CloseCode.NORMAL, "the chat is over")
                return
            if ends == LEFT and self._leaving is None:
                # the end of the chat may follow, by which clients know that they need not come back
                self._leaving = self.hub.timers.after(LEAVING_S, self._left)

    def _said_by(self) -> set[bytes]:
        """The participants of whom items wait."""
        return {each for message in self.queue if not isinstance(message, _Reply) for each in _WHO.findall(message.data)}

    def vouched(self) -> None:
        """Those who are strangers are in the chat of this session: go on."""
        self._known |= self._strangers
        self._strangers = set()
        self.drained()

    def _left(self) -> None:
        self.close(CloseCode.NORMAL, "the participant has left, or was removed")

    def _what_ends(self, data: bytes) -> str:
        """The content type of an item that says that this participant has left, or that the chat is over; of others empty."""
        if LEFT.encode() not in data and ENDED.encode() not in data:  # nearly always
            return ""
        item = orjson.loads(data)
        kind = item["ContentType"]
        return str(kind) if kind == ENDED or (kind == LEFT and item.get("ParticipantId") == self._participant.id) else ""

    @property
    def unread_bytes(self) -> int:
        return self._connection.buffered

    def drained(self) -> None:
        """Go on with what waits, since the connection has taken all that was written."""
        if self.queue and not self.dirty:
            self.hub.flusher.mark(self)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End the session and its subscriptions, and close the connection. Calling it twice does no harm."""
        if not self.ended:
            self.ended = True
            if self._leaving is not None:
                self.hub.timers.cancel(self._leaving)
            self.hub.sessions.detach(self)
            self._connection.close(code, reason)

    def end_too_slow(self) -> None:
        self._counters.too_slow += 1
        self.close(CloseCode.TOO_SLOW, "items waited for too long; connect again and read the transcript")

    def disconnect(self) -> None:
        self.close(CloseCode.FORBIDDEN, "disconnected by an administrator")

    def end_revoked(self) -> None:
        self.close(CloseCode.NOT_AUTHENTICATED, CREDENTIAL_ENDED)

    def end_unverified(self) -> None:
        self.close(CloseCode.UNAVAILABLE, CREDENTIAL_UNVERIFIED)

    def tell_expiring(self, seconds: int) -> None:
        """Say nothing: clients renew their connection by themselves."""


def _told(item: bytes) -> bytes:
    """The frame of an item: the item is JSON text within JSON text."""
    return ascii_json({"topic": CHAT, "contentType": "application/json", "content": item.decode("ascii")})


def _read(payload: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(guard(payload, MAX_DEPTH))
    except (BadJsonError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
