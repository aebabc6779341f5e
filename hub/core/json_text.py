"""JSON text of ASCII characters, and values as an error text shows them."""

from __future__ import annotations

import re
from typing import Final

import orjson

MAX_SHOWN: Final = 120
"""Characters of a value, or of a field's name, that an error text shows."""

_NON_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def ascii_json(content: object) -> bytes:
    """Encode as JSON text of ASCII characters alone: some clients tear a multi-byte character that two TCP segments share
    (docs/protocol/rest.md#ascii).

    Raises:
        TypeError: ``content`` holds something that JSON has no form for, or an integer beyond 64 bits.
    """
    encoded = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return encoded if encoded.isascii() else _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")


def cut(text: str) -> str:
    """At most :data:`MAX_SHOWN` characters of a text, with ``...`` behind them where there are more."""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def show(value: object) -> str:
    """A value as JSON for an error text, cut to 120 characters; what JSON cannot say is shown as Python does."""
    try:
        text = ascii_json(value).decode()
    except TypeError:
        text = repr(value)
    return cut(text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
