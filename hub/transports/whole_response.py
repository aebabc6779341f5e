"""A response of uvicorn's in one write, without a task's turn: head and body leave together, and whoever has the answer sends it itself."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

AT_ONCE_BYTES = 64 * 1024
"""A larger body is sent bit by bit, as its client reads."""


def write_whole(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool | None:
    """What ``send`` of ASGI would do with a whole response, at once: True when it was written, False when the client is gone. None when
    this is no matter of one write, and nothing was done: another server, a client that has not read what it got before, a large body, a
    response without one, or one that has begun. ``Content-Length`` is added; ``headers`` have neither that nor ``Connection``.

    Raises:
        ValueError: a value that no header can have (RFC 9110 section 5.5).
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not body or len(body) > AT_ONCE_BYTES:
        return None
    if cycle.disconnected:
        return False
    if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return None
    content = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        if HEADER_VALUE_RE.search(value):
            raise ValueError(f"expected a value that the header {name.decode('latin-1')} can have, got control characters")
        content += (name, b": ", value, b"\r\n")
    close = b"" if cycle.keep_alive else b"connection: close\r\n"
    content.append(b"content-length: %d\r\n%b\r\n" % (len(body), close))
    content.append(body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(content))
    # whoever waits in ``receive`` hears that there is nothing more to come
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
