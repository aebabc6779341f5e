"""Headers by which browsers keep an answer from doing harm. Every answer of the hub has them (docs/security.md#headers-of-every-answer).

The lists are made once: answers of endpoints have them among their own prebuilt headers, and what the REST application answers gets those
that it has not set itself. Pages set policies of their own, which allow what they need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.types import Message, Send

Headers = list[tuple[bytes, bytes]]

CONTENT_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""An answer that is no page of the hub is shown without scripts, styles and pictures, and in no frame (CSP level 3)."""

REFERRER_POLICY: Final = (b"referrer-policy", b"no-referrer")
"""A URL of the hub may hold a code or a ticket: no other server is told it."""

SECURITY_HEADERS: Final = (CONTENT_POLICY, REFERRER_POLICY)
"""Those that an answer may have its own of."""

_LENGTHS: Final = frozenset(len(name) for name, _ in SECURITY_HEADERS)

SERVER_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
"""Those that the server itself adds to each HTTP answer; nothing else may set them."""


def hsts(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    """``Strict-Transport-Security`` for so many seconds (RFC 6797 section 6.1); none for 0. It holds for this name alone: the hub does not
    know what other names of the domain do.
    """
    return ((b"strict-transport-security", b"max-age=%d" % seconds),) if seconds else ()


def completed(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an answer, with those of :data:`SECURITY_HEADERS` that it lacks."""
    found = list(headers)
    missing = list(SECURITY_HEADERS)
    for name, _ in found:
        if len(name) in _LENGTHS:  # few names are so long, so that few have to be looked at
            lower = name.lower()
            missing = [each for each in missing if each[0] != lower]
    return found + missing


def completing(send: Send) -> Send:
    """``send`` of ASGI, which completes the headers of an answer."""

    async def send_complete(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": completed(message.get("headers", ()))}
        await send(message)

    return send_complete
