"""Encodes Bayeux replies and advice, as bytes that are pure ASCII."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from hub.bayeux.messages import UNSUBSCRIBE, Incoming
from hub.core.errors import WireError
from hub.core.message import Message


class ServerDisconnect(Message):
    """The message by which the server ends a session, without id and clientId (docs/protocol/bayeux.md#disconnect). It is queued behind
    the messages that the client still gets.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("/meta/disconnect", b"")
        self._bayeux = b'{"channel":"/meta/disconnect","successful":true}'


class Unsubscribed(Message):
    """Tells a session that subscriptions have ended which its client did not end: a reply to an unsubscribe without the ``id`` of a request
    (docs/protocol/bayeux.md#a-newer-credential).
    """

    __slots__ = ()

    def __init__(self, patterns: Sequence[str]) -> None:
        channels = json.dumps(list(patterns), separators=(",", ":")).encode("ascii")
        super().__init__(UNSUBSCRIBE, channels)
        reason = ext({"reason": b'"%b"' % WireError.SUBSCRIBE_DENIED.text.encode("ascii")})
        self._bayeux = b'{"channel":"%b","successful":true,"subscription":%b%b}' % (UNSUBSCRIBE.encode("ascii"), channels, reason)


class Prepared(Message):
    """A message for one session whose Bayeux form an extension has changed."""

    __slots__ = ()

    def __init__(self, message: Message, encoded: bytes) -> None:
        super().__init__(message.channel, message.data, message.delivery, extra=message.extra)
        self._bayeux = encoded


def advice(reconnect: str, interval_ms: int, timeout_ms: int, *, many_clients: bool = False) -> bytes:
    """The member ``advice``, led by a comma. It has all its members each time, for a client replaces the old advice by the new one
    (docs/protocol/bayeux.md#advice).
    """
    many = b',"multiple-clients":true' if many_clients else b""
    return b',"advice":{"reconnect":"%b","interval":%d,"timeout":%d%b}' % (reconnect.encode("ascii"), interval_ms, timeout_ms, many)


def ext(members: Mapping[str, bytes]) -> bytes:
    """The member ``ext`` that holds ``members``, which are encoded, led by a comma; empty when there are no members."""
    if not members:
        return b""
    return b',"ext":{%b}' % b",".join(b'"%b":%b' % (name.encode("ascii"), value) for name, value in members.items())


def head(message: Incoming) -> bytes:
    """The beginning of every reply: the request's ``id`` and ``channel`` as they came, where it had them."""
    identifier, channel = message.identifier, message.channel_text
    return b"{%b%b" % (
        b"" if identifier is None else b'"id":%b,' % identifier,
        b"" if channel is None else b'"channel":%b,' % channel,
    )


def success(beginning: bytes, tail: bytes = b"") -> bytes:
    """A good reply: its :func:`head`, then ``tail``, further encoded members each led by a comma."""
    return b'%b"successful":true%b}' % (beginning, tail)


def failure(beginning: bytes, error: str, tail: bytes = b"") -> bytes:
    """A bad reply; ``error`` is ``code:args:text`` (Bayeux 1.0 section 3.13), ASCII."""
    return b'%b"successful":false,"error":"%b"%b}' % (beginning, error.encode("ascii"), tail)


def field_error(field: str) -> str:
    """The error text for a member of the wrong type: the member's name is the argument of the error (Bayeux 1.0 section 3.13)."""
    return WireError.FIELD_INVALID.text.replace("::", f":{field}:", 1)


def echo(message: Incoming, name: str) -> bytes:
    """A member of the request as it came, led by a comma; empty when it was absent."""
    raw = message.raw(name)
    return b"" if raw is None else b',"%b":%b' % (name.encode("ascii"), raw)


def expiry_member(seconds: int) -> bytes:
    """``ext.authentication``: in how many seconds the credential of the session ends."""
    return b'{"expiresIn":%d}' % seconds
