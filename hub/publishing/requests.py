"""Reads and checks the requests of ``POST /api/v1/publish``. The data of each message stay the JSON text that came."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from hub.core.channels import SERVICE, InvalidChannelError, check_channel, is_wildcard
from hub.core.json_validation import BadJsonError, guard
from hub.core.limits import Limits
from hub.http.errors import ApiError

MAX_ID: Final = 128
"""Characters of an id at most."""
MAX_SUBJECT: Final = 255
"""Characters of a subject at most."""

_MEMBERS: Final = ("channel", "data", "subject", "id")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


class Publication(NamedTuple):
    """One message to be published."""

    channel: str
    data: bytes
    subject: str
    """The subject whose logins get the message; empty if it is for the whole tenant."""
    id: str
    """The publisher's id of the message; empty if it has none."""


Item = Publication | ApiError
"""A message, or the error if it is not valid."""


def split(body: bytes, limits: Limits) -> tuple[list[bytes], bool]:
    """Split a body into the JSON texts of its messages; also returns whether they came as a list.

    Raises:
        ApiError: 400, the body is no JSON text, or is neither an object nor a list with at least one element; 413, the list is longer than
            ``limits.max_publish_items``.
    """
    try:
        text = guard(body, limits.max_json_depth, numbers=False).strip(b" \t\r\n")
        if text[:1] == b"{":
            return [text], False
        if text[:1] != b"[":
            raise ApiError.of_field("body", "an object, or a list of objects", _shown(text))
        found = [bytes(each) for each in _elements.decode(text)]
    except (BadJsonError, msgspec.DecodeError) as error:
        raise _not_json(error) from None
    if not found:
        raise ApiError.of_field("body", "at least one message", [])
    if len(found) > limits.max_publish_items:
        raise ApiError.of_field("body", f"at most {limits.max_publish_items} messages", len(found), http_status=413)
    return found, True


def parse(text: bytes, limits: Limits) -> Item:
    """Parse one message; returns it or an error: 400 with the field that is not valid, or 413 if its data exceed
    ``limits.max_message_bytes``.
    """
    try:
        return _parse(text, limits)
    except ApiError as refused:
        return refused


def _parse(text: bytes, limits: Limits) -> Publication:
    try:
        fields = _fields.decode(text)
    except msgspec.ValidationError:
        raise ApiError.of_field("message", "an object", _shown(text)) from None
    except msgspec.DecodeError as error:
        raise _not_json(error) from None
    unknown = next((name for name in fields if name not in _MEMBERS), None)
    if unknown is not None:
        raise ApiError.of_field(unknown[:MAX_ID], f"one of {', '.join(_MEMBERS)}", "another member")
    data = fields.get("data")
    if data is None:  # the member is missing; a JSON null is valid data
        raise ApiError.of_field("data", "any JSON value", "nothing")
    raw = bytes(data)
    if len(raw) > limits.max_message_bytes:
        raise ApiError.of_field("data", f"at most {limits.max_message_bytes} bytes", len(raw), http_status=413)
    try:
        guard(raw, limits.max_json_depth)
    except BadJsonError as error:
        raise ApiError(400, f"data: {error}", detail=_detail("data", "numbers that a double holds", str(error))) from None
    channel = _text(fields, "channel", 255)
    if not channel:
        raise ApiError.of_field("channel", "a channel such as /orders/1", "nothing")
    return Publication(_channel(channel), raw, _text(fields, "subject", MAX_SUBJECT), _text(fields, "id", MAX_ID))


def _channel(name: str) -> str:
    if is_wildcard(name):
        raise ApiError.of_field("channel", "a channel without a wildcard", name)
    if name.startswith(SERVICE):  # never broadcast (Bayeux 1.0 section 2.4), and a REST request has no session that could get an answer
        raise ApiError.of_field("channel", f"a channel outside {SERVICE}", name)
    try:
        return check_channel(name)
    except InvalidChannelError as error:
        raise ApiError(400, f"channel: {error}", detail=_detail("channel", str(error), name[:MAX_ID])) from None


def _text(fields: dict[str, msgspec.Raw], name: str, max_length: int) -> str:
    """An optional member that is a text; null counts as missing."""
    value: Any = None if (raw := fields.get(name)) is None else _anything.decode(raw)
    if value is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= max_length or _CONTROL.search(value):
        raise ApiError.of_field(name, f"a text of 1 to {max_length} characters, none of them a control character", value)
    return value


def _shown(text: bytes) -> object:
    try:
        return _anything.decode(text)
    except msgspec.DecodeError:
        return text[:MAX_ID].decode("ascii", "replace")


def _not_json(error: Exception) -> ApiError:
    return ApiError.in_words("body", "JSON text", str(error))


def _detail(field: str, expected: str, got: str) -> dict[str, str]:
    return {"field": field, "expected": expected, "got": got}
