"""Parses requests into messages. The sender's JSON text is kept as it is, with characters outside ASCII escaped."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
import orjson

from channels.messaging.schemas import INBOUND, OUTBOUND, Inbound, Outbound, check
from channels.messaging.settings import MessagingSettings
from hub.core.field_error import FieldError
from hub.core.json_validation import BadJsonError, check_nul, guard
from hub.http.body import check_members
from hub.http.errors import ApiError


class Written(NamedTuple):
    """A message of a third party and its JSON text."""

    message: Inbound
    raw: bytes


class _Envelope(msgspec.Struct):
    messages: list[msgspec.Raw]


_decoder: Final = msgspec.json.Decoder(_Envelope)


def read_inbound(body: bytes, settings: MessagingSettings, max_members: int) -> list[Written]:
    """The messages of ``{"messages": [...]}``. ``max_members`` (``limits.max_body_members``) bounds each of them.

    Raises:
        ApiError, FieldError: 400 with the field, what was expected, what came; 413 too many, or one with more members.
    """
    text = _guarded(body, settings.max_depth)
    value = _loaded(text)
    if not isinstance(value, dict):
        raise FieldError.of_value("body", 'an object with "messages"', value)
    messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise FieldError.of_value("messages", "an array of at least one message", messages)
    if len(messages) > settings.max_messages:
        raise ApiError.of_field("messages", f"at most {settings.max_messages}", len(messages), http_status=413)
    raw = _decoder.decode(text).messages
    for index, each in enumerate(raw):
        check_members(bytes(each), max_members, f"messages.{index}")
    written = [Written(check(each, INBOUND, ("messages", index)), bytes(raw[index])) for index, each in enumerate(messages)]
    _check_nul(text)
    return written


def read_outbound(body: bytes, settings: MessagingSettings, max_members: int) -> tuple[Outbound, bytes]:
    """The one message of a request, and its JSON text. ``max_members`` (``limits.max_body_members``) bounds it.

    Raises:
        ApiError, FieldError: 400 with the field, what was expected, what came; 413 it has more members.
    """
    text = _guarded(body, settings.max_depth)
    check_members(text, max_members)
    checked = check(_loaded(text), OUTBOUND)
    _check_nul(text)
    return checked, text


def _guarded(body: bytes, max_depth: int) -> bytes:
    try:
        return guard(body, max_depth)
    except BadJsonError as error:
        raise _refusal(error) from None


def _check_nul(text: bytes) -> None:
    try:
        check_nul(text)
    except BadJsonError as error:
        raise _refusal(error) from None


def _refusal(error: BadJsonError) -> ApiError:
    return ApiError(400, f"body: {error}", detail={"field": "body", "expected": "JSON text", "got": str(error)})


def _loaded(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        got = "nothing" if not text.strip() else f"a fault: {error}"
        raise FieldError("body", "JSON text", got) from None
