"""The headers of a request by name. Several modules look for headers that few requests have; they share one dictionary."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

_KEY: Final = "hub.headers"


def first_headers(scope: Scope) -> dict[bytes, bytes]:
    """The first header of each name, by the name in lower case. The dictionary is made once for each request. If a header may be repeated,
    this shows only whether there is one.
    """
    headers = scope["headers"]
    made = scope.get(_KEY)
    if made is None or made[0] is not headers:
        made = scope[_KEY] = headers, dict(reversed(headers))
    found: dict[bytes, bytes] = made[1]
    return found


def forget_headers(scope: Scope) -> None:
    """Drop all headers, so that a WebSocket does not keep them in memory while it is open."""
    scope["headers"] = []
    scope.pop(_KEY, None)
