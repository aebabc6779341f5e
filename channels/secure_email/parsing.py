"""Turns the body of a request into a draft, or raises an error that names the field.

The description of the Secure Email API leaves open which members ``data`` has. Here it has those of forms and mail programs: sender,
receiver, subject, text, attachments. Since a secure e-mail "is delivered as a web form", every other member is a field of the form, and
becomes userdata.
"""

from __future__ import annotations

import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson
from starlette.requests import Request

from channels.secure_email.models import MAX_ADDRESS, Attachment, Direction, Draft, is_address
from channels.secure_email.responses import Code, MailError
from channels.secure_email.settings import SecureEmailSettings
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.core.json_validation import BadJsonError, check_nul, check_syntax, guard
from hub.http.body import read_body
from hub.http.errors import ApiError
from hub.http.filetypes import FileTypeError, check_file

MAX_DEPTH: Final = 64
MAX_SUBJECT: Final = 998
"""Characters: a line of RFC 5322 has no more."""
MAX_NAME: Final = 255
MAX_FILENAME: Final = 255
MAX_FIELD_NAME: Final = 255

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_DIRECTION_MARKS: Final = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of writing: with them ``fdp.exe`` is shown as ``exe.pdf``."""

_PERSON_FIELDS: Final = {
    Direction.INBOUND: {"sender": ("from", "fromAddress", "address"), "recipient": ("to", "toAddress")},
    Direction.OUTBOUND: {"sender": ("from", "fromAddress"), "recipient": ("to", "toAddress", "address")},
}
"""The names that a field may have. ``address`` is always the consumer's."""
_NAME_FIELDS: Final = {
    Direction.INBOUND: {"sender_name": ("fromName", "nickname"), "recipient_name": ("toName",)},
    Direction.OUTBOUND: {"sender_name": ("fromName", "nickname"), "recipient_name": ("toName",)},
}
_TEXT_FIELDS: Final = ("text", "content", "body")

_raws = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_of_raws = msgspec.json.Decoder(list[msgspec.Raw])

_NULL: Final = msgspec.Raw(b"null")

Raws = dict[str, msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Envelope:
    """The body of a request, its ``data`` not looked at yet."""

    operation_id: str | None
    data: Raws


async def read_json_body(request: Request, limit: int) -> bytes:
    """The body of a request that is JSON by its headers, or says nothing.

    Raises:
        ApiError: 413 more than ``limit`` bytes, 415 another content type or an encoding, 400 it ended before it was whole.
    """
    given = request.headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind not in ("", "application/json") and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError.of_field("Content-Type", "application/json", given, http_status=415)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip('" ') not in ("utf-8", "utf8", "us-ascii"):
            raise ApiError.of_field("Content-Type", "charset=utf-8", given, http_status=415)
    return await read_body(request, limit)


def open_envelope(body: bytes) -> Envelope:
    """``{"data":{...},"operationId":...}``.

    Raises:
        FieldError: it is not.
    """
    try:
        text = guard(body, MAX_DEPTH)
        check_syntax(text)
    except BadJsonError as error:
        expected, _, got = str(error).removeprefix("expected ").partition(", got ")
        raise FieldError("body", expected, got) from None
    members = _object("body", msgspec.Raw(text), "a JSON object")
    operation_id = _optional_text(members, "operationId", "operationId", MAX_NAME)
    if "data" not in members:
        raise FieldError("data", "an object: what is to be sent", "nothing")
    return Envelope(operation_id, _object("data", members["data"], "an object: what is to be sent"))


def read_draft(data: Raws, direction: Direction, settings: SecureEmailSettings) -> Draft:
    """Check the ``data`` of a request.

    Raises:
        FieldError: a field is wrong.
        ApiError: 413, more than may be sent.
    """
    rest = dict(data)
    people = {name: _person(rest, fields) for name, fields in _PERSON_FIELDS[direction].items()}
    names = {name: _nickname(rest, fields) for name, fields in _NAME_FIELDS[direction].items()}
    if direction is Direction.INBOUND and people["sender"] is None:
        raise MailError(Code.INVALID_PARTICIPANT, "data.from", "the consumer's e-mail address", "nothing")
    subject = _optional_text(rest, "data.subject", "subject", MAX_SUBJECT, empty=True)
    text = _long_text(rest, _TEXT_FIELDS, settings.max_text_bytes)
    html = _long_text(rest, ("html",), settings.max_text_bytes)
    in_reply_to = _mail_id(rest)
    if direction is Direction.OUTBOUND and people["recipient"] is None and in_reply_to is None:
        raise MailError(Code.INVALID_PARTICIPANT, "data.to", "the consumer's e-mail address, or data.inReplyTo", "nothing")
    attachments = _attachments(rest, settings)
    user_data = _user_data(rest, settings.max_user_data_bytes)
    if not (subject or text or html or attachments or user_data != "{}"):
        raise FieldError("data", "something to send: a subject, a text, an attachment or a field of a form", "nothing")
    return Draft(
        sender=people["sender"],
        sender_name=names["sender_name"],
        recipient=people["recipient"],
        recipient_name=names["recipient_name"],
        subject=subject,
        text=text,
        html=html,
        user_data=user_data,
        in_reply_to=in_reply_to,
        attachments=attachments,
    )


def public_user_data(user_data: str) -> Raws:
    """The userdata without internal keys: those that begin with ``_``."""
    return {key: value for key, value in _raws.decode(user_data).items() if not key.startswith("_")}


# -- fields -------------------------------------------------------------------------------------------------------------


def _too_much(field: str, expected: str, got: str) -> ApiError:
    return ApiError.in_words(field, expected, got, http_status=413)


def _loads(raw: msgspec.Raw) -> Any:
    return orjson.loads(memoryview(raw))


def _object(field: str, raw: msgspec.Raw, expected: str) -> Raws:
    try:
        return _raws.decode(raw)
    except msgspec.ValidationError:
        raise FieldError.of_value(field, expected, _loads(raw)) from None


def _take(members: Raws, names: tuple[str, ...]) -> tuple[str, Any]:
    """Find which of several names of a field is present. Returns the name and its value, or the first name and None."""
    found: list[tuple[str, Any]] = []
    for name in names:
        raw = members.pop(name, None)
        value = None if raw is None else _loads(raw)
        if value is not None:
            found.append((name, value))
    if len(found) > 1 and any(value != found[0][1] for _, value in found):
        raise FieldError(f"data.{found[1][0]}", f"the same as data.{found[0][0]}", show(found[1][1]))
    return found[0] if found else (names[0], None)


def _optional_text(members: Raws, field: str, name: str, limit: int, *, empty: bool = False) -> str | None:
    value = _take(members, (name,))[1]
    if value is None:
        return None
    if not isinstance(value, str) or not (empty or value) or len(value) > limit or _CONTROL.search(value):
        raise FieldError.of_value(field, f"text of {0 if empty else 1} to {limit} characters in one line", value)
    return value


def _person(members: Raws, names: tuple[str, ...]) -> str | None:
    name, value = _take(members, names)
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 1:  # mail programs send lists
        (value,) = value
    if not isinstance(value, str) or not is_address(value):
        raise MailError(Code.INVALID_PARTICIPANT, f"data.{name}", f"an e-mail address of at most {MAX_ADDRESS} characters", show(value))
    return value


def _nickname(members: Raws, names: tuple[str, ...]) -> str | None:
    name, value = _take(members, names)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_NAME or _CONTROL.search(value):
        raise MailError(Code.INVALID_NICKNAME, f"data.{name}", f"text of 1 to {MAX_NAME} characters in one line", show(value))
    return value.strip()


def _long_text(members: Raws, names: tuple[str, ...], limit: int) -> str | None:
    name, value = _take(members, names)
    if value is None:
        return None
    if not isinstance(value, str):
        raise FieldError.of_value(f"data.{name}", "text", value)
    if "\x00" in value:
        raise FieldError(f"data.{name}", "text", f"a NUL character at {value.index(chr(0))}")
    if (size := len(value.encode())) > limit:
        raise _too_much(f"data.{name}", f"at most {limit} bytes", f"{size}")
    return value


def _mail_id(members: Raws) -> str | None:
    value = _take(members, ("inReplyTo",))[1]
    if value is None:
        return None
    if not isinstance(value, str) or (identifier := parse_id(value)) is None:
        raise FieldError.of_value("data.inReplyTo", "the secureMailId that is answered", value)
    return identifier


def parse_id(text: str) -> str | None:
    """A secureMailId in the form in which it is stored; None for a text that cannot be one."""
    if len(text) != 36:
        return None
    try:
        identifier = str(uuid.UUID(text))
    except ValueError:
        return None
    return identifier if identifier == text.lower() else None


# -- userdata -----------------------------------------------------------------------------------------------------------


def _user_data(members: Raws, limit: int) -> str:
    """The userdata: the remaining members of ``data``, and those of ``userData``, which win."""
    given = members.pop("userData", None)
    fields: Raws = {key: raw for key, raw in members.items() if raw != _NULL}
    if given is not None and given != _NULL:
        fields.update(_object("data.userData", given, "an object"))
    for key in fields:
        if len(key) > MAX_FIELD_NAME:
            raise FieldError.of_value("data.userData", f"keys of at most {MAX_FIELD_NAME} characters", key)
    text = msgspec.json.encode(fields).decode()
    try:
        check_nul(text.encode())
    except BadJsonError:
        raise FieldError("data.userData", "text without NUL (U+0000)", "one with it") from None
    if (size := len(text.encode())) > limit:
        raise _too_much("data.userData", f"at most {limit} bytes as JSON", f"{size}")
    return text


# -- attachments --------------------------------------------------------------------------------------------------------


def _attachments(members: Raws, settings: SecureEmailSettings) -> tuple[Attachment, ...]:
    raw = members.pop("attachments", None)
    if raw is None or raw == _NULL:
        return ()
    try:
        parts = _list_of_raws.decode(raw)
    except msgspec.ValidationError:
        raise FieldError.of_value("data.attachments", "a list", _loads(raw)) from None
    if len(parts) > settings.max_attachments:
        raise _too_much("data.attachments", f"at most {settings.max_attachments}", f"{len(parts)}")
    return tuple(_attachment(part, number, settings) for number, part in enumerate(parts, 1))


def _attachment(raw: msgspec.Raw, number: int, settings: SecureEmailSettings) -> Attachment:
    field = f"data.attachments[{number - 1}]"
    members: Mapping[str, Any] = {
        key: _loads(value)
        for key, value in _object(field, raw, "an object with filename, contentType and content").items()
        if key in {"filename", "contentType", "content"}
    }
    filename = members.get("filename")
    if not isinstance(filename, str) or not _good_filename(filename):
        raise FieldError.of_value(f"{field}.filename", f"a name of 1 to {MAX_FILENAME} characters without folders", filename)
    declared = members.get("contentType")
    if declared is not None and not isinstance(declared, str):
        raise FieldError.of_value(f"{field}.contentType", "a type such as application/pdf", declared)
    encoded = members.get("content")
    if not isinstance(encoded, str):
        raise FieldError.of_value(f"{field}.content", "the file in base64", encoded)
    content = _decoded(f"{field}.content", encoded)
    if len(content) > settings.max_attachment_bytes:
        raise _too_much(f"{field}.content", f"at most {settings.max_attachment_bytes} bytes", f"{len(content)}")
    try:
        kind = check_file(content, filename=filename, declared=declared, allowed=settings.allowed_types)
    except FileTypeError as error:
        raise MailError(Code.INVALID_FILE_TYPE, f"{field}.{error.field}", error.expected, error.got) from None
    return Attachment(number, filename, kind, len(content), content=content)


def _good_filename(name: str) -> bool:
    return (
        0 < len(name) <= MAX_FILENAME
        and name.strip(". ") != ""
        and name == name.strip()
        and not name.endswith(".")
        and not any(mark in name for mark in "/\\")
        and not _CONTROL.search(name)
        and not _DIRECTION_MARKS.search(name)
    )


def _decoded(field: str, text: str) -> bytes:
    """The bytes of base64 (RFC 4648 section 4). Ends of lines, which mail has, are skipped."""
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", "").encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise FieldError(
            field, "base64", f"a fault: {error}" if isinstance(error, binascii.Error) else "characters outside ASCII"
        ) from None
