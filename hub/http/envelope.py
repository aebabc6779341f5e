"""The REST envelope: ``{"status":{"code","message","detail"},"data","errors"}`` (docs/protocol/rest.md#envelope).

``status.code`` 0 says done, 1 says sent (the outcome follows as a notification), 2 says that some of a bulk request failed; anything
else is an error and repeats the HTTP status, unless an API has codes of its own. Members without a value are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from hub.core.limits import Limits

OK: Final = 0
SENT: Final = 1
PARTIAL: Final = 2

MAX_ERRORS_TOLD: Final = Limits().max_errors_told
"""Errors that one answer lists, where ``limits.max_errors_told`` is not known."""

MAX_SHOWN: Final = 120
"""Characters of a value, or of a field's name, that an error text shows."""

_NON_ASCII: Final = re.compile(r"[^\x00-\x7f]")


def status(code: int | str, message: str | None = None, detail: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``status`` object; ``message`` and ``detail`` only where there is one."""
    made: dict[str, Any] = {"code": code}
    if message is not None:
        made["message"] = message
    if detail is not None:
        made["detail"] = dict(detail)
    return made


def ok(
    data: object = None, *, code: int = OK, message: str | None = None, errors: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The envelope of a success; ``code`` 1 for sent, 2 for partly done (then ``errors`` lists ``{"status": {...}}`` for each failure)."""
    made: dict[str, Any] = {"status": status(code, message)}
    if data is not None:
        made["data"] = data
    if errors:
        made["errors"] = [dict(error) for error in errors]
    return made


def failure(
    code: int | str, message: str, detail: Mapping[str, Any] | None = None, *, errors: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The envelope of an error."""
    made: dict[str, Any] = {"status": status(code, message, detail)}
    if errors:
        made["errors"] = [dict(error) for error in errors]
    return made


def with_more(detail: Mapping[str, Any], left_out: int) -> dict[str, Any]:
    """``detail`` of an answer that tells some of its errors: with ``moreErrors``, how many it leaves out, where it leaves out any."""
    return {**detail, "moreErrors": left_out} if left_out > 0 else dict(detail)


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


def ascii_json(content: object) -> bytes:
    """Encode as JSON text of ASCII characters alone: some clients tear a multi-byte character that two TCP segments share
    (docs/protocol/rest.md#ascii).

    Raises:
        TypeError: ``content`` holds something that JSON has no form for, or an integer beyond 64 bits.
    """
    encoded = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return encoded if encoded.isascii() else _NON_ASCII.sub(_escape, encoded.decode()).encode("ascii")
