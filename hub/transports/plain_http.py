"""The response to one HTTP request without a framework: sends it, and reports whether the client took it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Send

from hub.core.json_text import ascii_json
from hub.core.limits import Limits
from hub.http.envelope import failure
from hub.transports.single_write import SINGLE_WRITE_BYTES, single_write

RESPONSE_TIMEOUT_S: Final = Limits().response_timeout_ms / 1000
"""Seconds that a client may take to read a response, where the limits of the hub are not known."""

_NO_CONTENT = 204
"""This status has no body and may not have ``Content-Length`` (RFC 9110 section 8.6)."""


async def respond(
    send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, timeout_s: float = RESPONSE_TIMEOUT_S
) -> bool:
    """Send a whole response; returns when the operating system has taken all of it. False when the client has gone, or has not read the
    response within ``timeout_s`` seconds; in the latter case its connection is aborted.

    A server may accept a send on a lost connection without an error. The hub's server then reports that the client has disconnected; under
    another server such a response counts as written.
    """
    if not any(name == b"connection" for name, _ in headers) and (written := single_write(send, status, headers, body)) is not None:
        return written
    length = [(b"content-length", b"%d" % len(body))] if status != _NO_CONTENT else []
    start = {"type": "http.response.start", "status": status, "headers": [*headers, *length]}
    server = getattr(send, "__self__", None)
    try:
        await send(start)
        if len(body) <= SINGLE_WRITE_BYTES:
            await send({"type": "http.response.body", "body": body})
        else:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            async with asyncio.timeout(timeout_s):
                await send({"type": "http.response.body", "body": b""})  # waits until the client has read
    except TimeoutError:
        transport = getattr(server, "transport", None)
        if transport is not None:
            transport.abort()
        return False
    except OSError:  # the ASGI specification: a send on a lost connection raises it
        return False
    return not getattr(server, "disconnected", False)


def envelope(code: int, message: str) -> bytes:
    """The body of an error, in the form of the REST API (docs/protocol/rest.md#envelope); ASCII."""
    return ascii_json(failure(code, message))
