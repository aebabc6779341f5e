"""The client's side of Bayeux: encodes requests, and decodes replies and messages. No I/O.

The rules are Bayeux 1.0's and CometD's (docs/protocol/bayeux.md), the replay extension is Salesforce's (docs/protocol/bayeux.md#replay).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hub.client.errors import ProtocolError

ALL: Final = -2
"""Replay every message that the log keeps."""
NEW: Final = -1
"""Replay nothing: receive only messages that are published from now on."""

META_HANDSHAKE: Final = "/meta/handshake"
META_CONNECT: Final = "/meta/connect"
META_SUBSCRIBE: Final = "/meta/subscribe"
META_UNSUBSCRIBE: Final = "/meta/unsubscribe"
META_DISCONNECT: Final = "/meta/disconnect"
INVALID_REPLAY_ID: Final = "400::The replayId"
MAX_POSITION: Final = 2**53 - 1
"""Positions are whole numbers that JavaScript keeps exact (docs/protocol/channels.md#positions). Other numbers are a publisher's data."""

_NOTHING: Final = msgspec.Raw()

Outgoing = dict[str, Any]
"""A message to send; its ``id`` is a string."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The server's advice (Bayeux 1.0 sections 3.6 and 8); members that are absent have CometD's defaults."""

    reconnect: str = "retry"
    interval: float = 0
    """Milliseconds to wait before the next connect or handshake."""
    timeout: float | None = None
    """Milliseconds for which the server holds a connect."""


class _Event(msgspec.Struct):
    replayId: int | None = None


class _Positioned(msgspec.Struct):
    event: _Event | None = None


class _Incoming(msgspec.Struct):
    channel: str = ""
    data: msgspec.Raw = _NOTHING
    id: str | int | None = None
    successful: bool | None = None
    error: str | None = None
    clientId: str | None = None
    advice: Advice | None = None
    ext: msgspec.Raw = _NOTHING
    supportedConnectionTypes: list[str] | None = None
    replayId: Any = None


_messages = msgspec.json.Decoder(list[_Incoming])
_position = msgspec.json.Decoder(_Positioned)
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to one request."""

    id: str
    channel: str
    successful: bool
    error: str
    advice: Advice | None
    ext: Mapping[str, Any]
    connection_types: Sequence[str] = ()


class Message:
    """A message that was published on a channel, or that the server sent to this client alone."""

    __slots__ = ("_data", "_ext", "channel", "id", "position", "successful", "text")

    def __init__(
        self,
        channel: str,
        text: str,
        *,
        identifier: str | None = None,
        successful: bool | None = None,
        ext: msgspec.Raw = _NOTHING,
        position: int | None = None,
    ) -> None:
        self.channel = channel
        self.text = text
        """The data as JSON, exactly the characters that the server sent: 1.10 stays 1.10, and 2^64 loses no digits."""
        self.id = identifier
        """Set on an answer to a remote call or to a message on a service channel."""
        self.successful = successful
        """Set on an answer to a remote call: whether it succeeded."""
        self.position = position
        """The message's position in the log, on log channels if the client asked for positions; else None."""
        self._ext = ext
        self._data: Any = msgspec.UNSET

    @property
    def data(self) -> Any:
        """The data, decoded at the first access.

        Raises:
            ProtocolError: it is nested too deeply.
        """
        if self._data is msgspec.UNSET:
            self._data = _decode(self.text)
        return self._data

    @property
    def ext(self) -> Any:
        """The publisher's ``ext``, decoded; None when there is none."""
        return _decode(self._ext) if self._ext else None

    def __repr__(self) -> str:
        return f"Message(channel={self.channel!r}, text={self.text!r}, position={self.position!r})"


Heard = Reply | Message


def is_unknown_session(error: str) -> bool:
    """Whether an error says that the session is unknown: ``402::...`` of CometD and the hub, ``401:...:Unknown client`` of Faye.

    No other error does: Faye's ``402:data:...`` means a missing parameter.
    """
    return error.startswith("402::") or (error.startswith("401:") and error.endswith(":Unknown client"))


def encode(messages: Sequence[Outgoing]) -> bytes:
    """A request's body: one JSON array.

    Raises:
        TypeError: a value in it cannot be written as JSON, such as a set.
    """
    return _encode(messages)


def encode_data(data: Any) -> msgspec.Raw:
    """Data of a publish, as the client will send it.

    Raises:
        TypeError: it cannot be written as JSON.
    """
    return data if isinstance(data, msgspec.Raw) else msgspec.Raw(_encode(data))


def _decode(raw: msgspec.Raw | str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise ProtocolError("expected JSON of some levels, got one that is nested too deeply to be read") from None


def _ext_of(raw: msgspec.Raw) -> Mapping[str, Any]:
    ext = _decode(raw) if raw else None
    return ext if isinstance(ext, dict) else {}


class Conversation:
    """The state of one client's session: builds the messages to send, and interprets those that come.

    Args:
        ack: Ask for the ack extension.
        positions: Ask for positions on log channels: the replay extension.
    """

    __slots__ = ("_ids", "ack", "ack_wanted", "advice", "client_id", "positions", "positions_wanted")

    def __init__(self, *, ack: bool = True, positions: bool = True) -> None:
        self.ack_wanted = ack
        self.positions_wanted = positions
        self.client_id: str | None = None
        self.advice = Advice()
        self.ack: int | None = None
        """The number of the last batch that came, of the ack extension; None if the server has not confirmed the extension."""
        self.positions = False
        """Whether the server sends positions."""
        self._ids = 0

    @property
    def sent(self) -> int:
        """The id of the newest message that was built, as a number. Ids rise."""
        return self._ids

    # messages to send

    def _message(self, channel: str, **members: Any) -> Outgoing:
        self._ids += 1
        message: Outgoing = {"id": str(self._ids), "channel": channel}
        if self.client_id is not None:
            message["clientId"] = self.client_id
        return message | members

    def handshake(self, connection_types: Sequence[str], authentication: Mapping[str, str] | None = None) -> Outgoing:
        """Forget the session, and build a handshake that asks for a new one."""
        self.client_id = None
        self.advice = Advice(timeout=self.advice.timeout)
        self.ack, self.positions = None, False
        ext: dict[str, Any] = {}
        if self.ack_wanted:
            ext["ack"] = True
        if self.positions_wanted:
            ext["replay"] = True
        if authentication:
            ext["authentication"] = dict(authentication)
        message = self._message(META_HANDSHAKE, version="1.0", minimumVersion="1.0", supportedConnectionTypes=list(connection_types))
        return message | ({"ext": ext} if ext else {})

    def connect(self, connection_type: str, *, at_once: bool, authentication: Mapping[str, str] | None = None) -> Outgoing:
        """Build the next connect. ``at_once`` asks the server not to hold it: for the first connect, and for one over a new connection.
        ``authentication`` shows a newer credential.
        """
        message = self._message(META_CONNECT, connectionType=connection_type)
        if at_once:
            message["advice"] = {"timeout": 0}
        ext: dict[str, Any] = {} if self.ack is None else {"ack": self.ack}
        if authentication:
            ext["authentication"] = dict(authentication)
        return message | ({"ext": ext} if ext else {})

    def subscribe(self, patterns: Mapping[str, int | None]) -> Outgoing:
        """Subscribe to patterns, each with the position to replay from (or ALL, NEW), or None."""
        message = self._message(META_SUBSCRIBE, subscription=list(patterns))
        since = {pattern: position for pattern, position in patterns.items() if position is not None}
        self.positions = self.positions or bool(since)
        return message | ({"ext": {"replay": since}} if since else {})

    def unsubscribe(self, patterns: Iterable[str]) -> Outgoing:
        """Unsubscribe from patterns."""
        return self._message(META_UNSUBSCRIBE, subscription=list(patterns))

    def publish(self, channel: str, data: Any) -> Outgoing:
        """Publish; ``data`` may be a :class:`msgspec.Raw`, which is sent as it is."""
        return self._message(channel, data=data)

    def disconnect(self) -> Outgoing:
        """Build a disconnect."""
        return self._message(META_DISCONNECT)

    # messages that come

    def receive(self, body: bytes | str, hear: Callable[[Heard], None]) -> None:
        """Read a frame or a response, and call ``hear`` with each of its messages in order.

        The client id, the advice and the ack batch are updated from a message before ``hear`` is called with it.

        Raises:
            ProtocolError: it is not an array of Bayeux messages.
        """
        try:
            messages = _messages.decode(body if isinstance(body, str) else body.decode())  # msgspec skips data: this checks its UTF-8
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            start = body[:80] if isinstance(body, str) else body[:80].decode("utf-8", "replace")
            raise ProtocolError(f"expected an array of Bayeux messages, got {start!r} ({error})") from None
        for message in messages:
            if not message.channel.startswith("/"):
                raise ProtocolError(f"expected a channel, such as /a/b, in each message, got {message.channel!r}")
            is_meta = message.channel.startswith("/meta/")
            if is_meta or message.data == _NOTHING:
                hear(self._reply(message))
            else:
                hear(self._delivery(message))

    def _reply(self, message: _Incoming) -> Reply:
        ext = _ext_of(message.ext)
        if message.advice is not None:
            timeout = message.advice.timeout
            self.advice = msgspec.structs.replace(message.advice, timeout=self.advice.timeout if timeout is None else timeout)
        successful = bool(message.successful)
        if successful and message.channel == META_HANDSHAKE:
            if not message.clientId:
                raise ProtocolError("expected a clientId in the reply to the handshake, got none")
            self.client_id = message.clientId
            self.ack = 0 if self.ack_wanted and ext.get("ack") else None
            self.positions = bool(ext.get("replay"))
        elif message.channel == META_CONNECT and self.ack is not None and isinstance(ext.get("ack"), int):
            self.ack = ext["ack"]
        error = message.error or ("" if successful else "the server gave no reason")
        identifier = "" if message.id is None else str(message.id)
        types = message.supportedConnectionTypes or ()
        return Reply(identifier, message.channel, successful, error, message.advice, ext, types)

    def _delivery(self, message: _Incoming) -> Message:
        raw = bytes(message.data)
        position = None
        if self.positions:
            position = message.replayId
            if position is None and b'"replayId"' in raw:
                try:
                    event = _position.decode(raw).event
                except (msgspec.MsgspecError, RecursionError):
                    event = None  # the publisher's own data, which happens to contain the name
                position = None if event is None else event.replayId
            if not isinstance(position, int) or not 0 <= position <= MAX_POSITION:
                position = None
        return Message(
            message.channel,
            raw.decode(),
            identifier=None if message.id is None else str(message.id),
            successful=message.successful,
            ext=message.ext,
            position=position,
        )
