"""One HTTP request without a framework: its body within bounds, its response, and whether the client was still there to take it."""

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
"""So many bytes of a body that is too large are read and dropped, so that the client can read the refusal; then the connection ends."""

_NO_CONTENT = 204
"""Has no body, and may not say how long it is (RFC 9110 section 8.6)."""


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete."""


class BodyTooLargeError(ValueError):
    """The body is larger than the limit; the text says by how much it may be."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int, bodies: BodyBudget) -> bytes:
    """Read the body of a request. Its ``Content-Length`` may be missing, and is not relied on. The server bounds how long the body may
    take to arrive, and ends the connection then (:class:`hub.transports.http_protocol.HubHttpProtocol`).

    Raises:
        BodyTooLargeError: more than ``max_bytes``.
        ClientGoneError: the connection is over.
        ApiError: it does not come in one piece, and what waits of it does not fit into ``bodies``: 429 or 503.
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
    """Whether the client asked before sending a body that it says is too large (RFC 9110 section 10.1.1)."""
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
    """Send a whole response; returns when the client or its system has taken it. False when the client was gone by then, or has not read
    the response within ``timeout_s`` seconds: then its connection is ended.

    A server may accept a send to a lost connection without an error. The server of the hub is asked whether the client is there; under
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
    except OSError:  # what ASGI says a send to a lost connection raises
        return False
    return not getattr(server, "disconnected", False)


def envelope(code: int, message: str) -> bytes:
    """The body of an error, as the REST API has it (docs/protocol/rest.md#envelope); ASCII."""
    return ascii_json(failure(code, message))
