"""CloudEvents 1.0 in their JSON form, checked: from bytes to :class:`channels.events.Event`, or an error that names the field.

The fast path is one typed parse of the attributes and one of ``data``. An event that it refuses is parsed again, to say what was wrong.
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
    """One event is refused. ``field`` is where (a path from the event's top, like ``data.agentId``), ``expected`` and ``got`` say why."""


def parse_event(payload: bytes | msgspec.Raw, *, arrived_ms: int, max_depth: int) -> Event:
    """One CloudEvent from its JSON text. An event without ``time`` happened when it arrived.

    Raises:
        EventError: it is no JSON, no CloudEvent of version 1.0, of an unknown type, or its ``data`` is not what the type asks for.
    """
    try:
        # nothing is kept of what guard escapes: it is asked about the depth and about UTF-8 in one go
        text = guard(bytes(payload), max_depth, numbers=False)  # those of data are checked by name below
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
    """The events of a JSON document, still as text: an object is one, an array holds any number.

    Args:
        body: The document, known to be UTF-8.
        one: Whether an object may stand alone.
        many: Whether an array may come.

    Raises:
        EventError: not JSON text, or neither of what was asked for; ``field`` is ``body``.
    """
    if b"\\ud" in body or b"\\uD" in body:
        body = replace_lone_surrogates(body)  # half a surrogate pair in one text must not make the whole document unreadable
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
    """The lines of an NDJSON body that hold something, one at a time."""
    at, end = 0, len(body)
    while at < end:
        line_end = body.find(b"\n", at)
        if line_end < 0:
            line_end = end
        line = body[at:line_end].removeprefix(codecs.BOM_UTF8).strip()  # files that were put together have it in the middle
        at = line_end + 1
        if line:
            yield line


def show_raw(value: bytes | msgspec.Raw) -> str:
    """A piece of JSON text for an error, cut to 120 characters."""
    return show(_loads(bytes(value)))


# -- what came instead --------------------------------------------------------------------------------------------------

_PLACE = re.compile(r"(?P<what>.*) - at `\$(?P<path>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_EXPECTED = re.compile(r"[Ee]xpected (?P<what>.*?)(?:, got (?P<got>.*))?", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_TYPE_WORDS = {"str": "text", "object": "an object", "array": "an array"}
_PATTERN = re.compile(r"`str` matching regex (?P<regex>'.*')", re.DOTALL)
_LENGTH = re.compile(r"`str` of length (?P<bound><=|>=) (?P<number>\d+)")
_WORDS_OF_PATTERNS = {r"\x00-\x1f": "text without control characters", "[A-Za-z]": "a letter and then letters, digits, _ or -"}


def _of_text(field: str, text: str) -> EventError:
    """``expected X, got Y`` from :class:`BadJsonError`."""
    expected, _, got = text.removeprefix("expected ").partition(", got ")
    return EventError(field, expected, got)


def _explain(error: msgspec.ValidationError, text: bytes, root: str, shape: type[msgspec.Struct]) -> EventError:
    """msgspec says where and what was expected; this adds what came, and says it in the words of JSON rather than of Python."""
    try:
        value = _loads(text)
    except ValueError as malformed:  # further on than msgspec came
        return EventError(root or "event", "JSON text", f"a fault: {malformed}")
    placed = _PLACE.fullmatch(str(error))
    what, path = (placed["what"], placed["path"]) if placed else (str(error), "")
    field = f"{root}{path}".lstrip(".") or "event"
    if missing := _MISSING.fullmatch(what):
        return EventError(f"{root}{path}.{missing['name']}".lstrip("."), "a value", "nothing")
    got = _value_at(value, path)
    if what.endswith("out of range"):  # beyond what msgspec reads at all
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
    """The literals that a field of ``shape`` takes, as a list of words."""
    kinds = {f".{field.encode_name}": field.type for field in msgspec.structs.fields(shape)}
    literals = [kind for kind in (kinds[path], *typing.get_args(kinds[path])) if typing.get_origin(kind) is Literal]
    options = [str(option) for kind in literals for option in typing.get_args(kind)]
    return f"one of {', '.join(options)}" if len(options) > 1 else options[0]


def _value_at(value: typing.Any, path: str) -> str:
    """What stands at a path, or at the deepest part of it that is there: of two members of one name msgspec may have meant the first."""
    for step in _STEP.finditer(path):
        try:
            value = value[step["name"]] if step["name"] is not None else value[int(step["index"])]
        except (KeyError, IndexError, TypeError):
            break
    return show(value)


def _loads(text: bytes) -> typing.Any:
    """Parse without the bounds that msgspec has for numbers: one beyond them is what is to be shown.

    Raises:
        ValueError: not JSON text.
    """
    return json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_no_constant)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 40 else f"{digits[:40]}..."


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _no_constant(name: str) -> typing.Any:
    raise ValueError(f"{name} is not in JSON")
