"""Writes a whole response of uvicorn, head and body, with one call and without a task: it can be called from a callback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

SINGLE_WRITE_BYTES = 64 * 1024
"""Bytes of the largest body that is written at once; a larger one is sent in pieces, as its client reads."""


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    content: list[bytes] = []
    for name, value in headers:
        if HEADER_VALUE_RE.search(value):
            raise ValueError(f"expected a value that the header {name.decode('latin-1')} can have, got control characters")
        content += (name, b": ", value, b"\r\n")
    return b"".join(content)


class _Shared:
    """Keeps the header lines of the last response for a next one with the same headers. The server's own change once a second, with the
    date.
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


def single_write(send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool | None:
    """Write a whole response at once, as ``send`` of ASGI would in several steps. True: it was written. False: the client is gone. None:
    nothing was done, and the caller has to use ``send``, because the server is another one, the client has not read what was sent before,
    the body is large or empty, or the response has begun.

    ``Content-Length`` is added; ``headers`` have neither that nor ``Connection``. Headers in a tuple are taken to be the same for many
    responses, and their lines are kept.

    Raises:
        ValueError: a value that no header can have (RFC 9110 section 5.5).
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
    # whoever waits in ``receive`` hears that there is nothing more to come
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
