"""Parses and checks CloudEvents 1.0 in their JSON form: from bytes to :class:`channels.events.Event`, or an error that names the field.

The fast path is one typed parse of the attributes and one of ``data``. An event that it refuses is parsed again, to find what is wrong.
"""

import codecs
import json
import math
import re
import typing
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from channels.events import EVENT_TYPES, NUMBERS, Event, EventData, NumberError, decode_data, parse_time
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.core.json_validation import BadJsonError, check_nul, guard, replace_lone_surrogates, without_nulls

SPECVERSION: Final = "1.0"

# CloudEvents 1.0, "Type System": a String has no control characters
_Attribute = Annotated[str, msgspec.Meta(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
_ABSENT = msgspec.Raw(b"null")


class _Attributes(msgspec.Struct):
    """The attributes that the hub reads. ``null`` is the same as absent (CloudEvents JSON format, section 2.2); extensions are ignored."""

    id: _Attribute
    source: _Attribute
    type: _Attribute
    time: str | None = None
    specversion: Literal["1.0"] | None = None
    data: msgspec.Raw = _ABSENT
    data_base64: msgspec.Raw = _ABSENT


_attributes = msgspec.json.Decoder(_Attributes)
_array = msgspec.json.Decoder(list[msgspec.Raw])


class EventError(FieldError):
    """One event is refused. ``field`` is the path of the wrong member, like ``data.agentId``; ``expected`` and ``got`` give the reason."""


def parse_event(payload: bytes | msgspec.Raw, *, arrived_ms: int, max_depth: int) -> Event:
    """Parse one CloudEvent from JSON text. An event without ``time`` gets its time of arrival.

    Raises:
        EventError: the text is not JSON, not a CloudEvent of version 1.0, of an unknown type, or its ``data`` does not fit the type.
    """
    try:
        # guard checks the depth and UTF-8 together
        text = guard(bytes(payload), max_depth, numbers=False)  # numbers of data are checked below, where the error can name the field
        attributes = _attributes.decode(text)
    except BadJsonError as error:
        raise _of_text("event", str(error)) from None
    except msgspec.ValidationError as error:
        raise _explain(error, text, "", _Attributes) from None
    except msgspec.DecodeError as error:
        raise EventError("event", "JSON text", f"a fault: {error}") from None
    if attributes.data_base64 != _ABSENT:
        raise EventError("data_base64", "no such attribute: data is a JSON object", show_raw(attributes.data_base64))
    shape = EVENT_TYPES.get(attributes.type)
    if shape is None:
        raise EventError("type", f"one of {', '.join(EVENT_TYPES)}", show(attributes.type))
    if attributes.data == _ABSENT:
        raise EventError("data", f"an object with the fields of {attributes.type}", "nothing")
    try:
        data = _data(attributes.type, bytes(attributes.data))
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, NumberError):
            raise EventError(f"data.{error.__cause__.path}", NUMBERS, error.__cause__.got) from None
        raise _explain(error, bytes(attributes.data), "data", shape) from None
    try:
        check_nul(bytes(attributes.data))
    except BadJsonError as error:
        raise _of_text("data", str(error)) from None
    try:
        time_ms = arrived_ms if attributes.time is None else parse_time(attributes.time)
    except ValueError as error:
        raise EventError("time", str(error), show(attributes.time)) from None
    return Event(attributes.type, time_ms, attributes.source, attributes.id, data, attributes.time is None)


def _data(event_type: str, text: bytes) -> EventData:
    try:
        return decode_data(event_type, text)
    except msgspec.ValidationError:
        # a member that may be missing may be null
        if (without := without_nulls(text)) is text:
            raise
        return decode_data(event_type, without)


def split_document(body: bytes, *, one: bool, many: bool) -> list[msgspec.Raw]:
    """Split a JSON document into events, as JSON text: an object is one event, an array contains any number.

    Args:
        body: The document; it is valid UTF-8.
        one: Whether the document may be one object.
        many: Whether the document may be an array.

    Raises:
        EventError: the document is not JSON, or neither an object nor an array that may come; ``field`` is ``body``.
    """
    if b"\\ud" in body or b"\\uD" in body:
        body = replace_lone_surrogates(body)  # else half a surrogate pair in one event would make all of them unreadable
    start = body.lstrip(b" \t\r\n")[:1]
    expected = " or ".join(name for name, wanted in (("an event (a JSON object)", one), ("an array of events", many)) if wanted)
    try:
        if start == b"[" and many:
            return _array.decode(body)
        if start == b"{" and one:
            return [msgspec.json.decode(body, type=msgspec.Raw)]
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise EventError("body", "JSON text", "nothing" if not start else f"a fault: {error}") from None
    except RecursionError:
        raise EventError("body", "JSON text of bounded depth", "arrays and objects that are nested too deep") from None
    raise EventError("body", expected, {b"[": "an array", b"{": "an object"}.get(start) or show_raw(body))


def split_lines(body: bytes) -> Iterator[bytes]:
    """Yield the lines of an NDJSON body that are not empty."""
    at, end = 0, len(body)
    while at < end:
        line_end = body.find(b"\n", at)
        if line_end < 0:
            line_end = end
        line = body[at:line_end].removeprefix(codecs.BOM_UTF8).strip()  # a file that was joined from several has it in the middle
        at = line_end + 1
        if line:
            yield line


def show_raw(value: bytes | msgspec.Raw) -> str:
    """A piece of JSON text for an error, cut to 120 characters."""
    return show(_loads(bytes(value)))


# -- errors of wrong events ---------------------------------------------------------------------------------------------

_PLACE = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_EXPECTED = re.compile(r"[Ee]xpected (?P<what>.*?)(?:, got (?P<got>.*))?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_TYPE_WORDS = {"str": "text", "object": "an object", "array": "an array"}
_PATTERN = re.compile(r"`str` matching regex (?P<regex>'.*')", re.DOTALL)
_LENGTH = re.compile(r"`str` of length (?P<bound><=|>=) (?P<number>\d+)")
_WORDS_OF_PATTERNS = {r"\x00-\x1f": "text without control characters", "[A-Za-z]": "a letter and then letters, digits, _ or -"}


def _of_text(field: str, text: str) -> EventError:
    """Convert the text ``expected X, got Y`` of :class:`BadJsonError` to an error of ``field``."""
    expected, _, got = text.removeprefix("expected ").partition(", got ")
    return EventError(field, expected, got)


def _explain(error: msgspec.ValidationError, text: bytes, root: str, shape: type[msgspec.Struct]) -> EventError:
    """Convert an error of msgspec, which names the place and what was expected; add what came, in the words of JSON."""
    try:
        value = _loads(text)
    except ValueError as malformed:  # a fault after the place at which msgspec stopped
        return EventError(root or "event", "JSON text", f"a fault: {malformed}")
    placed = _PLACE.fullmatch(str(error))
    what, path = (placed["what"], placed["path"]) if placed else (str(error), "")
    field = f"{root}{path}".lstrip(".") or "event"
    if missing := _MISSING.fullmatch(what):
        return EventError(f"{root}{path}.{missing['name']}".lstrip("."), "a value", "nothing")
    got = _value_at(value, path)
    if what.endswith("out of range"):  # msgspec cannot parse such a number
        return EventError(field, NUMBERS, got)
    if what.startswith("Invalid enum value"):
        return EventError(field, _choices(shape, path), got)
    expected = _EXPECTED.fullmatch(what)
    return EventError(field, _in_words(expected["what"]) if expected else f"a valid value ({what})", got)


def _in_words(expected: str) -> str:
    if length := _LENGTH.fullmatch(expected):
        return f"text of at {'most' if length['bound'] == '<=' else 'least'} {length['number']} characters"
    if pattern := _PATTERN.fullmatch(expected):
        known = (words for part, words in _WORDS_OF_PATTERNS.items() if part in pattern["regex"].replace("\\\\", "\\"))
        return next(known, f"text that matches {pattern['regex']}")
    return " or ".join(_TYPE_WORDS.get(part, part) for part in expected.strip("`").split(" | "))


def _choices(shape: type[msgspec.Struct], path: str) -> str:
    """The literals that a field of ``shape`` accepts, as text."""
    kinds = {f".{field.encode_name}": field.type for field in msgspec.structs.fields(shape)}
    literals = [kind for kind in (kinds[path], *typing.get_args(kinds[path])) if typing.get_origin(kind) is Literal]
    options = [str(option) for kind in literals for option in typing.get_args(kind)]
    return f"one of {', '.join(options)}" if len(options) > 1 else options[0]


def _value_at(value: typing.Any, path: str) -> str:
    """The value at a path, as text; if the path does not exist, the value at its longest part that exists. A path may not exist if an
    object has two members of one name: msgspec may have refused the first, and ``value`` has the second.
    """
    for step in _STEP.finditer(path):
        try:
            value = value[step["name"]] if step["name"] is not None else value[int(step["index"])]
        except (KeyError, IndexError, TypeError):
            break
    return show(value)


def _loads(text: bytes) -> typing.Any:
    """Parse JSON without msgspec's bounds for numbers: the error has to show a number beyond them.

    Raises:
        ValueError: the text is not JSON.
    """
    return json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_no_constant)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 40 else f"{digits[:40]}..."


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _no_constant(name: str) -> typing.Any:
    raise ValueError(f"{name} is not in JSON")
