"""Requests to the stat server of another node, and its answers, as bytes of a call between nodes (:mod:`hub.cluster.ports`).

A call of the kind ``stat`` is one request: its head is a :class:`Request`, its body the arguments as JSON. The answer comes in pieces:
values or readings, some at a time, and last :class:`Done` or :class:`Failed`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from channels.statistics.engine.definition import DefinitionError
from channels.statistics.service.interface import LimitError, Login, Reading, UnavailableError, UnknownSubscriptionError
from channels.statistics.service.requests import Refusal
from hub.core.errors import RefusedError, WireError
from hub.core.fetches import Stamp
from hub.eventlog.interface import EventLogError

KIND: Final = "stat"
"""The kind of the calls."""

AT_ONCE: Final = 128
"""Readings, or values of channels, of one piece."""


class NotOwnerError(Exception):
    """The node does not own the tenant: nothing was done."""


class RemoteError(Exception):
    """The stat server failed with an exception that no request should cause; it is logged where it happened."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One request: a method of :class:`channels.statistics.service.interface.StatServer`."""

    method: str
    tenant: str
    login: Login | None = None


class Some(msgspec.Struct, tag="some", frozen=True, array_like=True):
    """Some of the readings."""

    readings: list[Reading]


class Values(msgspec.Struct, tag="values", frozen=True, array_like=True):
    """Some present ``(channel, data)``."""

    pairs: list[tuple[str, bytes]]
    stamp: Stamp | None = None
    """Of these values; None from nodes that know none."""


class Done(msgspec.Struct, tag="done", frozen=True, array_like=True):
    """The end of the answer."""

    result: Any = None
    refusals: list[Refusal] = []
    subscription_id: str = ""
    stamp: Stamp | None = None
    """Of a result that is present values."""


class Failed(msgspec.Struct, tag="failed", frozen=True, array_like=True):
    """The request was refused."""

    error: str
    """The name of the exception's class."""
    arguments: list[str] = []


Piece = Some | Values | Done | Failed

_encoder: Final = msgspec.msgpack.Encoder()
_request_decoder: Final = msgspec.msgpack.Decoder(Request)
_piece_decoder: Final[msgspec.msgpack.Decoder[Piece]] = msgspec.msgpack.Decoder(Piece)


def encode(content: msgspec.Struct) -> bytes:
    """Encode a request or a piece."""
    return _encoder.encode(content)


def decode_request(raw: bytes) -> Request:
    """Decode a request.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _request_decoder.decode(raw)


def decode_piece(raw: bytes) -> Piece:
    """Decode a piece of an answer.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _piece_decoder.decode(raw)


def encode_arguments(arguments: list[Any]) -> bytes:
    """Encode the arguments of a request, which came as JSON."""
    return orjson.dumps(arguments)


def decode_arguments(raw: bytes) -> list[Any]:
    """The reverse of :func:`encode_arguments`."""
    found: list[Any] = orjson.loads(raw)
    return found


def failure_of(error: Exception) -> Failed | None:
    """An exception for the other node; None for one that no request should cause."""
    match error:
        case NotOwnerError():
            return Failed("NotOwnerError")
        case UnavailableError():
            return Failed("UnavailableError", [str(error)])
        case UnknownSubscriptionError():
            return Failed("UnknownSubscriptionError", [str(error)])
        case LimitError() | DefinitionError():
            return Failed(type(error).__name__, [error.field, str(error).removeprefix(f"{error.field}: ")])
        case RefusedError():
            return Failed("RefusedError", [error.error.name, error.detail, error.channel])
        case EventLogError():
            return Failed("EventLogError", [str(error)])
    return None


def error_of(failed: Failed) -> Exception:
    """The exception of a refused request, for the node that asked."""
    match failed.error, failed.arguments:
        case "NotOwnerError", _:
            return NotOwnerError()
        case "UnavailableError", [message]:
            return UnavailableError(message)
        case "UnknownSubscriptionError", [identifier]:
            return UnknownSubscriptionError(identifier)
        case "LimitError", [field, message]:
            return LimitError(field, message)
        case "DefinitionError", [field, message]:
            return DefinitionError(field, message)
        case "RefusedError", [name, detail, channel]:
            return RefusedError(WireError[name], detail, channel=channel)
        case "EventLogError", [message]:
            return EventLogError(message)
    return RemoteError(f"the stat server failed: {failed.error} {' '.join(failed.arguments)}")
