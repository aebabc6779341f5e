"""CloudEvents in the binary content mode: the attributes in ``ce-`` headers, the data in the body. It is the default of the SDKs for Go,
JavaScript and Python. Rules: CloudEvents 1.0.2, HTTP protocol binding, section 3.1.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from channels.ingest.cloudevents import EventError
from hub.core.json_text import show

PREFIX: Final = "ce-"
ATTRIBUTES: Final = ("specversion", "id", "source", "type", "time")
"""The attributes that the hub reads; extensions are ignored."""
_REQUIRED: Final = frozenset({b"ce-specversion", b"ce-id", b"ce-source", b"ce-type"})
_NAMES: Final = {f"{PREFIX}{name}".encode(): name for name in ATTRIBUTES}

Headers = Iterable[tuple[bytes, bytes]]


def is_binary(headers: Headers) -> bool:
    """Whether a request has at least one of the headers that an event must have."""
    return any(name in _REQUIRED for name, _ in headers)


def is_json(kind: str) -> bool:
    """Whether a content type, in lower case and without parameters, is JSON: by its name, or by its suffix (RFC 6839 section 3.1)."""
    return kind in ("application/json", "text/json") or (kind.startswith("application/") and kind.endswith("+json"))


def structured(headers: Headers, body: bytes) -> bytes:
    """Convert the event of a request to the structured mode: attributes and data as one JSON object.

    Raises:
        EventError: a header comes twice or is not text, or the body is not JSON.
    """
    given: dict[str, str] = {}
    for raw_name, value in headers:
        name = _NAMES.get(raw_name)
        if name is None:
            continue
        if name in given:
            raise EventError(f"{PREFIX}{name}", "one header of this name", f"another: {show(value.decode('latin-1'))}")
        given[name] = _decoded(name, value)
    event: dict[str, msgspec.Raw | str] = {**given}
    if body.strip():
        try:
            event["data"] = msgspec.json.decode(body, type=msgspec.Raw)  # one value and nothing behind it
        except msgspec.DecodeError as error:
            raise EventError("data", "JSON text", f"a fault: {error}") from None
        except RecursionError:
            raise EventError("data", "JSON text of bounded depth", "arrays and objects that are nested too deep") from None
    return msgspec.json.encode(event)


def _decoded(name: str, value: bytes) -> str:
    """The text of an attribute from its header's value (section 3.1.3.2): percent-decoded, and without the quotes that some senders add.

    The SDK for JavaScript does not encode values. One that is not UTF-8 is read as ISO 8859-1, the old charset of headers (RFC 9110
    section 5.5).
    """
    raw = value.strip()
    if len(raw) > 1 and raw.startswith(b'"') and raw.endswith(b'"'):
        raw = _unescaped(raw[1:-1])
    if not raw.isascii():
        raw = _as_utf8(raw)
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise EventError(f"{PREFIX}{name}", "percent-encoded UTF-8", show(value.decode("latin-1"))) from None


def _as_utf8(raw: bytes) -> bytes:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1").encode()
    return raw


def _unescaped(quoted: bytes) -> bytes:
    """The content of a quoted string (RFC 9110 section 5.6.4), without the backslashes that escape the next character."""
    if b"\\" not in quoted:
        return quoted
    plain = bytearray()
    escaped = False
    for byte in quoted:
        escaped = byte == ord("\\") and not escaped
        if not escaped:
            plain.append(byte)
    return bytes(plain)


def of_headers(error: EventError) -> EventError:
    """The same error; if its field is an attribute, it names the header of that attribute."""
    return EventError(f"{PREFIX}{error.field}", error.expected, error.got) if error.field in ATTRIBUTES else error
