"""The headers of a request by name: every request is asked for some that it nearly never has."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

_KEY: Final = "hub.headers"


def first_headers(scope: Scope) -> dict[bytes, bytes]:
    """Of each name, in lower case, the first header of a request; made once for each. Where a name may stand several times and all of them
    count, this tells whether there is one.
    """
    headers = scope["headers"]
    made = scope.get(_KEY)
    if made is None or made[0] is not headers:
        made = scope[_KEY] = headers, dict(reversed(headers))
    found: dict[bytes, bytes] = made[1]
    return found


def forget_headers(scope: Scope) -> None:
    """Let go of all headers, for the long life of a WebSocket."""
    scope["headers"] = []
    scope.pop(_KEY, None)
