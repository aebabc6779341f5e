"""The REST envelope: ``{"status":{"code","message","detail"},"data","errors"}`` (docs/protocol/rest.md#envelope).

``status.code`` 0 means done, 1 means sent (the result follows as a notification), 2 means that a part of a bulk request failed. Any other
code is an error, and equals the HTTP status, unless an API has its own codes. Members without a value are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hub.core.limits import Limits

OK: Final = 0
SENT: Final = 1
PARTIAL: Final = 2

MAX_ERRORS_TOLD: Final = Limits().max_errors_told
"""Errors that one answer lists, where ``limits.max_errors_told`` is not known."""


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
    """The envelope of a success; ``code`` 1 is sent, 2 is partly done (then ``errors`` has ``{"status": {...}}`` for each failure)."""
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
    """``detail`` of an answer that lists only some of its errors: ``moreErrors`` is the number of the others, if there are any."""
    return {**detail, "moreErrors": left_out} if left_out > 0 else dict(detail)
