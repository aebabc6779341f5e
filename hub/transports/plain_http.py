"""One HTTP request without a framework: reads its body within limits, sends its response, and reports whether the client took it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.types import Receive, Scope, Send

from hub.core.json_text import ascii_json
from hub.core.limits import Limits
from hub.http.body import BodyBudget, Lease
from hub.http.envelope import failure
from hub.http.headers import first_headers
from hub.transports.single_write import SINGLE_WRITE_BYTES, single_write

RESPONSE_TIMEOUT_S: Final = Limits().response_timeout_ms / 1000
"""Seconds that a client may take to read a response, where the limits of the hub are not known."""

DISCARD_BYTES = 16 * 1024 * 1024
"""Bytes of a too large body that are read and dropped, so that the client can read the refusal; then the connection ends."""

_NO_CONTENT = 204
"""This status has no body and may not have ``Content-Length`` (RFC 9110 section 8.6)."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLargeError(ValueError):
    """The body is larger than the limit; the text gives the limit in bytes."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int, bodies: BodyBudget) -> bytes:
    """Read the body of a request. It does not rely on ``Content-Length``, which may be missing. The server limits how long the body may
    take to arrive, and then ends the connection (:class:`hub.transports.http_protocol.HubHttpProtocol`).

    Raises:
        BodyTooLargeError: more than ``max_bytes``.
        ClientGoneError: the client has closed the connection.
        ApiError: the body arrives in several pieces, and these do not fit into ``bodies``: 429 or 503.
    """
    if _waits_for_continue(scope, max_bytes):
        raise _too_large(max_bytes)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):  # nearly always
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    lease = bodies.lease(scope)
    try:
        return await _read_rest(receive, body, max_bytes, lease)
    finally:
        lease.release()


async def _read_rest(receive: Receive, first: bytes, max_bytes: int, lease: Lease) -> bytes:
    lease.add(len(first))
    chunks = [first]
    size = len(first)
    more = True
    while more and size <= max_bytes + DISCARD_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            chunks.clear()
            lease.release()
        else:
            lease.add(len(chunk))
            chunks.append(chunk)
        more = message.get("more_body", False)
    if size > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(chunks)


def _waits_for_continue(scope: Scope, max_bytes: int) -> bool:
    """Whether the client waits for "100 Continue" before it sends a body that is too large (RFC 9110 section 10.1.1)."""
    headers = first_headers(scope)
    if b"expect" not in headers:  # nearly always
        return False
    length = headers.get(b"content-length", b"")
    return length.isdigit() and int(length) > max_bytes


def _too_large(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"expected a body of at most {max_bytes} bytes, got more")


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
