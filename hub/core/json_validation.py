"""What every endpoint does to JSON text before a parser sees it: strict UTF-8, no half characters, bounded depth, and ASCII from then on.

All checks run in C, over the whole text: none takes a Python step for each character, so hostile input costs what honest input costs.
"""

import json
import re
from itertools import accumulate

import msgspec
import orjson

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOM = b"\xef\xbb\xbf"
_STRUCTURE = b'[]{}"'
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in _STRUCTURE)
_OPENS_AND_CLOSES = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""Brackets as signed bytes: 1 opens a level, -1 closes one."""
_LONGEST_NUMBER = 400
"""Characters of a number. An integer of more than 309 digits is infinite as a double; digits of a fraction beyond the 17th say nothing."""
_DIGITS_AND_EXPONENTS = bytes(ord("0") if byte in b"0123456789" else ord("e") if byte in b"eE" else ord(" ") for byte in range(256))
_NUMBERS = bytes(ord("0") if byte in b"0123456789.eE+-" else ord(" ") for byte in range(256))
_LONG_RUN = b"0" * (_LONGEST_NUMBER // 2)
_LONG_NUMBER = b"0" * (_LONGEST_NUMBER + 1)
_EXPONENT = re.compile(rb"[0-9][eE]\+?[0-9]{3}")
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_INFINITE = "infinity"
"""Stands in what the parser says of a number that a double does not hold."""
_SHOWN = 40
_FORBIDDEN_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_ESCAPED_NON_ASCII = re.compile(r"\\[^\x00-\x7f]")
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:"
    rb"[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
"""The escape of a high surrogate without a low one behind it, or of a low one without a high one before it."""


class BadJsonError(ValueError):
    """Bytes that are no JSON text, or one that is nested too deep; the text says what was expected and what came."""


def guard(payload: bytes, max_depth: int, *, numbers: bool = True) -> bytes:
    """Return ``payload`` as JSON text of ASCII bytes only, ready for a parser, which still has to check the syntax.

    In a payload that is not ASCII, non-ASCII characters and DEL become ``\\uXXXX``, those beyond the Basic Multilingual Plane a surrogate
    pair (RFC 8259 section 7). A lone surrogate escape, which ``JSON.stringify`` writes for a text that was cut inside a character beyond
    that plane, becomes ``\\ufffd``, as encoders of the WHATWG Encoding standard have it; pairs stay as they are. A payload that is ASCII
    already and has no lone surrogate comes back byte for byte. ``max_depth`` is how many arrays and objects may lie in one another; without
    ``numbers`` the caller checks the numbers that it keeps.

    Raises:
        BadJsonError: a byte order mark (RFC 8259 section 8.1), ill-formed UTF-8, a control character or an escape that JSON does not
            know, deeper nesting than ``max_depth``, or a number that readers may refuse (:func:`check_numbers`).
    """
    ascii_payload = payload if payload.isascii() else _to_ascii(payload)
    if b"\\ud" in payload or b"\\uD" in payload:
        ascii_payload = replace_lone_surrogates(ascii_payload)
    # as many brackets as levels, or fewer, cannot be too deep: nearly every message ends here
    if ascii_payload.count(b"[") + ascii_payload.count(b"{") > max_depth:
        _check_depth(ascii_payload, max_depth)
    if numbers:
        check_numbers(ascii_payload)
    return ascii_payload


def check_nul(payload: bytes) -> None:
    """Check that no text of ``payload`` has a NUL, which databases do not keep in theirs.

    Raises:
        BadJsonError: one has; the text says where.
    """
    if b"\\u0000" not in payload:
        return
    at = payload.replace(b"\\\\", b"  ").find(b"\\u0000")  # what follows an escaped backslash is no escape
    if at >= 0:
        raise BadJsonError(f"expected text without NUL (U+0000), got \\u0000 at offset {at}")


def check_numbers(payload: bytes) -> None:
    """Check that a double holds every number of ``payload`` and that none is longer than parsers read (RFC 8259 section 6): some read
    ``1e400`` as infinite, others, and most of them integers of thousands of digits, refuse the whole text.

    Raises:
        BadJsonError: the first that is not; the text shows it, and says where it stands.
    """
    if not _suspect(payload) or not _suspect(outside := _outside_strings(payload)):  # nearly always
        return
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        if _INFINITE not in error.msg:
            return  # no JSON text: the parser says so
        found = _NUMBER.match(payload, error.pos)
    else:
        start = outside.translate(_NUMBERS).find(_LONG_NUMBER)
        if start < 0:
            return
        found = re.compile(re.escape(outside[start : start + len(_LONG_NUMBER)]) + rb"[0-9.eE+-]*").search(payload)
    if found is not None:
        shown = found[0].decode("ascii")
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(shown)} characters)"
        expected = f"numbers that a double holds, of at most {_LONGEST_NUMBER} characters"
        raise BadJsonError(f"expected {expected}, got {shown} at offset {found.start()}")


def _suspect(text: bytes) -> bool:
    """Whether an exponent of three digits or a long run of digits stands in it, as in a number that no double holds."""
    marks = text.translate(_DIGITS_AND_EXPONENTS)
    return _LONG_RUN in marks or (b"0e" in marks and _EXPONENT.search(text) is not None)


def _outside_strings(payload: bytes) -> bytes:
    """What stands outside of strings, with a quote in the place of each of these."""
    return b'"'.join(payload.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])


def without_nulls(payload: bytes) -> bytes:
    """An object's text without the members of it that are ``null``; any other text as it is."""
    if b"null" not in payload:
        return payload
    try:
        members = _members.decode(payload)
    except msgspec.MsgspecError:
        return payload
    kept = {name: value for name, value in members.items() if bytes(value).strip() != b"null"}
    return payload if len(kept) == len(members) else msgspec.json.encode(kept)


def commas(payload: bytes, most: int) -> int:
    """How many commas ``payload`` has outside of strings, or fewer than ``most`` if it has fewer in all: its members and elements are as
    many, and one more for each array and object that is not empty.
    """
    count = payload.count(b",")
    if count < most:
        return count
    return _outside_strings(payload).count(b",")


def _to_ascii(payload: bytes) -> bytes:
    if payload.startswith(_BOM):
        raise BadJsonError("expected JSON text, got a byte order mark before it")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise BadJsonError(f"expected UTF-8, got the byte 0x{payload[error.start]:02x} at offset {error.start}") from None
    # what follows would escape these, and so make a fault of the sender's unseen
    if found := _FORBIDDEN_CONTROL.search(payload):
        raise BadJsonError(f"expected JSON text, got the control character 0x{found[0][0]:02x} at offset {found.start()}")
    if "\\" in text and _ESCAPED_NON_ASCII.search(text.replace("\\\\", "")):
        raise BadJsonError('expected one of " \\ / b f n r t u after a backslash, got a character that is not ASCII')
    # json.dumps escapes in C what is not ASCII, and with it the quotes, backslashes and white space that are the text's own: these are
    # undone. A NUL can stand for an escaped backslash meanwhile, for no control character is left in what dumps returns.
    escaped = json.dumps(text)[1:-1].replace("\\\\", "\x00").replace('\\"', '"')
    return escaped.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\x00", "\\").encode("ascii")


def replace_lone_surrogates(payload: bytes) -> bytes:
    """Write ``\\ufffd`` for each lone surrogate escape of ``payload``, which must be UTF-8. No length changes: :func:`guard`'s caller can
    have a parser measure the text as it was sent.
    """
    if b"\\\\" not in payload:
        return _LONE_SURROGATE.sub(rb"\\ufffd", payload)
    # what follows an escaped backslash is no escape: these are put out of the way, as a byte that UTF-8 does not have
    hidden = payload.replace(b"\\\\", b"\xff\xff")
    return _LONE_SURROGATE.sub(rb"\\ufffd", hidden).replace(b"\xff\xff", b"\\\\")


def _check_depth(payload: bytes, max_depth: int) -> None:
    """Strip everything but the brackets outside strings; the depth is the highest of their running sums."""
    brackets = payload.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_OPENS_AND_CLOSES, _NOT_STRUCTURE)
    # taking away a pair of neighbouring quotes leaves every other character inside or outside a string, as it was
    steps = b"".join(brackets.replace(b'""', b"").split(b'"')[::2])
    if max(accumulate(memoryview(steps).cast("b")), default=0) > max_depth:
        raise BadJsonError(f"expected at most {max_depth} levels of arrays and objects, got more")


def check_syntax(payload: bytes) -> None:
    """Check that ``payload`` is one strict JSON text (RFC 8259): no NaN, no trailing comma, no lone surrogate, no number that is infinite
    as a double (``1e400``), which every receiver would read as something else. Run :func:`guard` first.

    Raises:
        BadJsonError: it is not; the text says where.
    """
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadJsonError(f"expected JSON text, got a fault: {error}") from None
