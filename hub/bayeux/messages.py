"""Parses the Bayeux messages of one request or frame. Each member of a message is kept as the sender's own text.

:func:`read_request` raises when the request as a whole is wrong. When one member of a message is wrong, a :class:`FieldError` is raised:
that message is answered with an error, and the other messages of the request go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from hub.core.field_error import FieldError
from hub.core.json_validation import BadJsonError, check_numbers, guard, replace_lone_surrogates
from hub.core.limits import Limits

HANDSHAKE = "/meta/handshake"
CONNECT = "/meta/connect"
DISCONNECT = "/meta/disconnect"
SUBSCRIBE = "/meta/subscribe"
UNSUBSCRIBE = "/meta/unsubscribe"

_PRIVATE = frozenset(
    {
        "channel",
        "data",
        "ext",
        "clientId",
        "id",
        "advice",
        "successful",
        "error",
        "subscription",
        "connectionType",
        "version",
        "minimumVersion",
        "supportedConnectionTypes",
        "authentication",
        "replayId",
    }
)
"""Members that are not broadcast as they stand (docs/protocol/bayeux.md#broadcasts): they belong to the protocol, are set by the server, or
are a secret of the publisher.
"""

_QUOTE, _OPEN_OBJECT, _OPEN_ARRAY = b'"'[0], b"{"[0], b"["[0]
_NULL = b"null"
_ID_STARTS = frozenset(b'"-0123456789')

# A decoder checks the parts that it skips as strictly as those that it returns: it raises for bad numbers, escapes, commas and control
# characters wherever they stand. It does not check UTF-8; the guard has done that before.
_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_elements = msgspec.json.Decoder(list[msgspec.Raw])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_integer = msgspec.json.Decoder(int)
_any = msgspec.json.Decoder()


class MalformedError(ValueError):
    """The request is no Bayeux request at all; the text says what was expected and what came."""


class EmptyRequestError(MalformedError):
    """An empty array, which is not answered. Old clients keep WebSockets alive with it (docs/protocol/bayeux.md#requests)."""


class BatchTooLargeError(ValueError):
    """There are more messages in one request than ``max_batch``."""


def checked_numbers(data: bytes, extra: bytes) -> None:
    """Check what is broadcast of a message: its ``data``, and the members of :meth:`Incoming.extra`.

    Raises:
        FieldError: a number in it is one that readers of JSON may refuse.
    """
    _check_numbers("data", data)
    if extra:
        _check_numbers("message", b"{%b}" % extra[1:])


def _check_numbers(field: str, text: bytes) -> None:
    try:
        check_numbers(text)
    except BadJsonError:
        raise FieldError.of_json(field, "numbers that a double holds", text) from None


class Incoming:
    """One message. A member is decoded when it is read, so that a wrong one matters only to code that needs it. null counts as absent."""

    __slots__ = ("channel", "channel_text", "claimed_id", "fields", "identifier", "size")

    def __init__(self, fields: Mapping[str, msgspec.Raw], size: int) -> None:
        """``size`` is the number of bytes of the message's own text; 0 where it cannot be too large."""
        self.fields = fields
        self.size = size
        # these are read several times for every message
        raw = fields.get("channel")
        self.channel_text = text if raw is not None and (text := bytes(raw))[0] == _QUOTE else None
        """The ``channel`` to be echoed, verbatim; None when it is absent or no text."""
        self.channel = "" if self.channel_text is None else _text.decode(self.channel_text)
        """The ``channel``; empty when it is absent or no text."""
        raw = fields.get("clientId")
        self.claimed_id = _text.decode(text) if raw is not None and (text := bytes(raw))[0] == _QUOTE else None
        """The ``clientId``; None when it is absent or no text."""
        raw = fields.get("id")
        self.identifier = text if raw is not None and (text := bytes(raw))[0] in _ID_STARTS else None
        """The ``id`` to be echoed, verbatim; None when it is absent or of a type that an id cannot have."""

    def raw(self, name: str) -> bytes | None:
        """A member's JSON text as it came, ASCII; None when it is absent or null."""
        value = self.fields.get(name)
        if value is None:
            return None
        raw = bytes(value)
        return None if raw == _NULL else raw

    def text(self, name: str) -> str | None:
        """A member that is a text, None when absent.

        Raises:
            FieldError: it is something else.
        """
        raw = self.raw(name)
        if raw is None:
            return None
        if raw[0] != _QUOTE:
            raise FieldError.of_json(name, "a text", raw)
        return _text.decode(raw)

    def members(self, name: str) -> dict[str, msgspec.Raw] | None:
        """A member that is an object, None when absent.

        Raises:
            FieldError: it is something else.
        """
        raw = self.raw(name)
        if raw is None:
            return None
        if raw[0] != _OPEN_OBJECT:
            raise FieldError.of_json(name, "an object", raw)
        return _object.decode(raw)

    def texts(self, name: str) -> list[str] | None:
        """A member that is an array of texts, None when absent.

        Raises:
            FieldError: it is something else, or an element is.
        """
        raw = self.raw(name)
        if raw is None:
            return None
        if raw[0] != _OPEN_ARRAY:
            raise FieldError.of_json(name, "an array of texts", raw)
        found = []
        for element in _elements.decode(raw):
            text = bytes(element)
            if text[0] != _QUOTE:
                raise FieldError.of_json(name, "an array of texts", text)
            found.append(_text.decode(text))
        return found

    def check_common(self) -> None:
        """Check the members that any message may have.

        Raises:
            FieldError: ``id`` is neither text nor number, ``clientId`` no text, ``ext`` or ``advice`` no object.
        """
        if self.identifier is None and (raw := self.raw("id")) is not None:
            raise FieldError.of_json("id", "a text or a number", raw)
        if self.claimed_id is None and (raw := self.raw("clientId")) is not None:
            raise FieldError.of_json("clientId", "a text", raw)
        for name in ("ext", "advice"):
            if name in self.fields and (raw := self.raw(name)) is not None and raw[0] != _OPEN_OBJECT:
                raise FieldError.of_json(name, "an object", raw)

    def timeout_ms(self) -> int | None:
        """``advice.timeout``: for how long the client wants this connect to be held, in ms; None when it is absent or negative.

        Raises:
            FieldError: it is no integer.
        """
        return self._advised_ms("timeout")

    def interval_ms(self) -> int | None:
        """``advice.interval``: how long the client waits between this connect and its next one, in ms; None when it is absent or negative.

        Raises:
            FieldError: it is no integer.
        """
        return self._advised_ms("interval")

    def _advised_ms(self, name: str) -> int | None:
        advice = self.members("advice")
        raw = bytes(advice[name]) if advice is not None and name in advice else _NULL
        if raw == _NULL:
            return None
        try:
            advised = _integer.decode(raw)
        except msgspec.MsgspecError:
            raise FieldError.of_json(f"advice.{name}", "an integer of milliseconds", raw) from None
        return advised if advised >= 0 else None

    def acknowledged(self) -> int | None:
        """``ext.ack`` of a connect: the last batch that the client has seen; None when it is absent.

        Raises:
            FieldError: it is neither an integer nor a boolean. Handshakes have a boolean there, and some clients send it with connects too.
        """
        ext = self.members("ext")
        raw = bytes(ext["ack"]) if ext is not None and "ack" in ext else _NULL
        if raw in {_NULL, b"true", b"false"}:
            return None
        try:
            return _integer.decode(raw)
        except msgspec.MsgspecError:
            raise FieldError.of_json("ext.ack", "the number of a batch", raw) from None

    def wants_acknowledgement(self) -> bool:
        """Whether a handshake turns the ack extension on: ``ext.ack`` is true, or an object."""
        ext = self.members("ext")
        return ext is not None and (bytes(ext.get("ack", _NULL)) == b"true" or bytes(ext.get("ack", _NULL))[0] == _OPEN_OBJECT)

    def authentication(self) -> Any:
        """``ext.authentication`` as a Python value, None when absent. The gate checks its contents
        (docs/protocol/credentials.md#order-of-credentials).

        Raises:
            FieldError: ``ext`` is no object, or a number in it is beyond what a double holds.
        """
        ext = self.members("ext")
        if ext is None or "authentication" not in ext:
            return None
        try:
            return _any.decode(ext["authentication"])
        except msgspec.MsgspecError:
            raise FieldError.of_json("ext.authentication", "an object with token or apiKey", bytes(ext["authentication"])) from None

    def subscriptions(self) -> list[str] | None:
        """``subscription``, a text or an array of texts, as a list; None when absent.

        Raises:
            FieldError: it is something else.
        """
        raw = self.raw("subscription")
        if raw is None:
            return None
        if raw[0] == _QUOTE:
            return [_text.decode(raw)]
        if raw[0] == _OPEN_ARRAY:
            return self.texts("subscription")
        raise FieldError.of_json("subscription", "a text or an array of texts", raw)

    def extra(self) -> bytes:
        """What is broadcast beside ``channel`` and ``data``, encoded, each member led by a comma: the members that the protocol does not
        know, and ``ext`` without ``authentication`` unless it is empty then.
        """
        if "ext" not in self.fields and _PRIVATE.issuperset(self.fields):  # nearly always
            return b""
        parts = [b",%b:%b" % (_encode(name), bytes(value)) for name, value in self.fields.items() if name not in _PRIVATE]
        ext = self.members("ext")
        if ext:
            if "authentication" not in ext:
                parts.append(b',"ext":%b' % bytes(self.fields["ext"]))
            elif left := [b"%b:%b" % (_encode(name), bytes(value)) for name, value in ext.items() if name != "authentication"]:
                parts.append(b',"ext":{%b}' % b",".join(left))
        return b"".join(parts)


def _encode(text: str) -> bytes:
    """A JSON text of ASCII bytes."""
    return json.dumps(text).encode("ascii")


def read_request(payload: bytes, limits: Limits) -> list[Incoming]:
    """The messages of one HTTP body or WebSocket message: an array of objects, or one bare object (Bayeux 1.0 section 2.7).

    Everything is ASCII from here on: non-ASCII characters were escaped, once (docs/protocol/bayeux.md#data).

    Raises:
        EmptyRequestError: an empty array.
        MalformedError: not strict JSON in UTF-8, nested deeper than ``max_json_depth``, or anything but objects.
        BatchTooLargeError: more than ``max_batch`` messages.
    """
    try:
        text = guard(payload, limits.max_json_depth, numbers=False).strip(b" \t\r\n")
    except BadJsonError as error:
        raise MalformedError(str(error)) from None
    bare = text[:1] == b"{"
    sizes = None
    try:
        # a message cannot be larger than the request that it is in: sizes are looked at only where one of them could matter
        if len(payload) > limits.max_message_bytes:
            # of the sender's own text: escaping made it longer
            sent = replace_lone_surrogates(payload).strip(b" \t\r\n")
            sizes = [len(sent)] if bare else [len(bytes(raw)) for raw in _elements.decode(sent)]
            _check_count(len(sizes), limits)  # before a million tiny objects are made
        objects = [_object.decode(text)] if bare else _objects.decode(text)
    except msgspec.ValidationError as error:
        raise MalformedError(f"expected an array of objects, got a fault: {error}") from None
    except msgspec.DecodeError as error:
        raise MalformedError(f"expected JSON text, got a fault: {error}") from None
    _check_count(len(objects), limits)
    if sizes is None:
        return [Incoming(fields, 0) for fields in objects]
    return [Incoming(fields, size) for fields, size in zip(objects, sizes, strict=True)]


def _check_count(count: int, limits: Limits) -> None:
    if not count:
        raise EmptyRequestError("expected at least one message, got an empty array")
    if count > limits.max_batch:
        raise BatchTooLargeError(f"expected at most {limits.max_batch} messages in one request, got {count}")
