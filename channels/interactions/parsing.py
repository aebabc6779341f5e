"""Checks the bodies of the open media API (docs/protocol/interactions.md#open-media)."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from channels.events import NumberError, check_numbers, format_time, parse_time
from channels.interactions.schemas import Change, Create, Stop
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.core.json_validation import BadJsonError, check_nul, without_nulls
from hub.http.errors import ApiError

SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""The name of an open media service."""

T = TypeVar("T", Create, Stop, Change)
U = TypeVar("U")


class _Wrapped(msgspec.Struct, forbid_unknown_fields=True):
    """``{"data": {...}}``; an ``operationId``, which Genesys' clients may send, is not used."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    operationId: str | None = None


_wrapped = msgspec.json.Decoder(_Wrapped)
_decoders: Final = {shape: msgspec.json.Decoder(shape) for shape in (Create, Stop, Change)}


def parse(shape: type[T], body: bytes, *, required: bool) -> T:
    """The request in a body ``{"data": {...}}``. Unless it is ``required``, an empty body is an empty request.

    Raises:
        ApiError, FieldError: 400, naming the field and what was expected.
    """
    if not body.strip():
        if required:
            raise FieldError.of_value("body", 'an object {"data": {...}}', None)
        return shape()
    wrapped = _decode(_wrapped, body, "")
    if bytes(wrapped.data).strip() == b"null":
        if required:
            raise FieldError.of_value("data", "an object", None)
        return shape()
    wanted = _decode(_decoders[shape], without_nulls(bytes(wrapped.data)), "data")
    try:
        check_nul(bytes(wrapped.data))
    except BadJsonError as error:
        detail = {"field": "data", "expected": "text without NUL (U+0000)", "got": "one with it"}
        raise ApiError(400, f"data: {error}", detail=detail) from None
    return wanted  # type: ignore[return-value]


def _decode(decoder: msgspec.json.Decoder[U], text: bytes, root: str) -> U:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(error, root) from None


def check_user_data(field: str, user_data: dict[str, Any], size: int, limit: int) -> None:
    """Refuse user data that JSON allows and the hub cannot keep. ``size`` is its bytes as JSON.

    Raises:
        ApiError: 400, a number of more than 64 bits.
        FieldError: more bytes than ``limit``.
    """
    try:
        check_numbers(field, user_data)
    except NumberError as error:
        raise ApiError(400, str(error), detail={"field": error.path, "expected": "a number of at most 64 bits", "got": error.got}) from None
    if size > limit:
        raise FieldError.of_value(field, f"at most {limit} bytes as JSON", size)


def check_service(service: str) -> str:
    """Check the name of a service, and return it.

    Raises:
        FieldError: it cannot be one.
    """
    if not SERVICE.fullmatch(service):
        raise FieldError.of_value("openMediaService", "1 to 64 letters, digits, dots, hyphens and underscores", service)
    return service


def checked_received_at(text: str | None) -> str | None:
    """The time at which the work item came to the system that it is from: as it was given, if it is RFC 3339, else the same time in RFC
    3339 (:func:`channels.events.parse_time` takes other forms too).

    Raises:
        FieldError: it is no time.
    """
    if text is None:
        return None
    try:
        time_ms = parse_time(text)
    except ValueError:
        raise FieldError.of_value("data.receivedAt", "a time of RFC 3339 such as 2026-11-26T08:00:00Z", text) from None
    return text if _RFC_3339.fullmatch(text) else format_time(time_ms)


_RFC_3339: Final = re.compile(r".{10}[Tt].{8}(\.[0-9]+)?([Zz]|.{3}:.{2})")
"""Of a text that is a time: whether it has seconds, and a zone with a colon."""

_AT: Final = re.compile(r"(?P<what>.*) - at `(?P<key>key` in `)?\$(?P<path>.*)`", re.DOTALL)
_EXPECTED: Final = re.compile(r"Expected (?P<expected>.*), got (?P<got>.*)", re.DOTALL)
_BOUND: Final = re.compile(r"Expected (?P<expected>.*)", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


def _refusal(error: Exception, root: str) -> ApiError | FieldError:
    """The error of the decoder in the hub's words. ``root`` is the member that was decoded, empty for the whole body."""
    text = str(error)
    at = _AT.fullmatch(text)
    what = at["what"] if at else text
    field = f"{root}{at['path']}".lstrip(".") if at else root
    named = field or "body"
    if unknown := _UNKNOWN.fullmatch(what):
        within = f"{field}.{unknown['name']}" if field else unknown["name"]
        return FieldError.of_value(within, f"no other member of {named} than the documented ones", unknown["name"])
    if found := _EXPECTED.fullmatch(what):
        return FieldError(named, found["expected"], found["got"])
    if bound := _BOUND.fullmatch(what):
        expected = f"names with a {bound['expected']}" if at and at["key"] else f"a {bound['expected']}"
        return ApiError(400, f"{named}: expected {expected}, got something else", detail={"field": named, "expected": expected})
    if what == "Number out of range":
        return ApiError(
            400, f"{named}: expected numbers that a double holds", detail={"field": named, "expected": "numbers that a double holds"}
        )
    return FieldError.of_value(named, "JSON", show(what))
