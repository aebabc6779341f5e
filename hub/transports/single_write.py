"""Writes a whole response of uvicorn, head and body, with one call. It needs no task, so a callback can call it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

SINGLE_WRITE_BYTES = 64 * 1024
"""Bytes of the largest body that is written at once; a larger one is sent in pieces, as fast as its client reads."""


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    content: list[bytes] = []
    for name, value in headers:
        if HEADER_VALUE_RE.search(value):
            raise ValueError(f"expected a value that the header {name.decode('latin-1')} can have, got control characters")
        content += (name, b": ", value, b"\r\n")
    return b"".join(content)


class _Shared:
    """Keeps the header lines of the last response for the next one with the same headers. The server's own headers change once a second,
    with the date.
    """

    __slots__ = ("_defaults", "_headers", "_made")

    def __init__(self) -> None:
        self._defaults: object = None
        self._headers: object = None
        self._made = b""

    def of(self, defaults: Sequence[tuple[bytes, bytes]], headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
        if defaults is not self._defaults or headers is not self._headers:
            self._made = _lines((*defaults, *headers))
            self._defaults, self._headers = defaults, headers
        return self._made


_shared = _Shared()


def wakeable(send: Send) -> asyncio.Event | None:
    """An event that ends the wait in ``receive`` of the request that ``send`` answers: ``receive`` returns an empty piece of the body then.
    None under another server than uvicorn.
    """
    cycle = getattr(send, "__self__", None)
    return cycle.message_event if isinstance(cycle, RequestResponseCycle) else None


def single_write(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool | None:
    """Write a whole response at once, in place of several calls of ``send`` of ASGI. True: it was written. False: the client has gone.
    None: nothing was written, and the caller has to use ``send``, because the server is not uvicorn, the client has not read earlier bytes,
    the body is large or empty, the response has begun, or the request is a HEAD.

    ``Content-Length`` is added; ``headers`` may contain neither that nor ``Connection``. Many responses are expected to use the same tuple
    of headers, so the lines of a tuple are kept.

    Raises:
        ValueError: a header has a value with control characters (RFC 9110 section 5.5).
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not body or len(body) > SINGLE_WRITE_BYTES:
        return None
    if cycle.disconnected:
        return False
    if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return None
    lines = _shared.of(cycle.default_headers, headers) if isinstance(headers, tuple) else _lines((*cycle.default_headers, *headers))
    close = b"" if cycle.keep_alive else b"connection: close\r\n"
    content = b"%b%bcontent-length: %d\r\n%b\r\n%b" % (STATUS_LINE[status], lines, len(body), close, body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(content)
    # a task that waits in ``receive`` gets ``http.disconnect``
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
