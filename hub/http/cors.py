"""Cross-origin requests of browsers (Fetch standard, section 3.2): only pages of this hub, of allowed origins and of those of clients may
read answers.
"""

from __future__ import annotations

from starlette.types import Scope

from hub.security.gate import Gate
from hub.security.origin import header

Headers = list[tuple[bytes, bytes]]

MAX_AGE = (b"access-control-max-age", b"600")
"""Seconds that a browser may remember a preflight's answer."""


class CrossOrigin:
    """The CORS headers of the answer to one request. Every answer has ``headers``; they are empty for a request without ``Origin``."""

    __slots__ = ("allowed", "headers")

    def __init__(self, gate: Gate, scope: Scope) -> None:
        origin = header(scope, b"origin")
        self.allowed = origin is not None and gate.may_call(scope)
        """Whether the request comes from a page that may read the answer."""
        self.headers: Headers = [] if origin is None else [(b"vary", b"origin")]
        if origin is not None and self.allowed:
            # the origin itself, because a wildcard is not allowed with cookies
            self.headers += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"access-control-allow-credentials", b"true")]
