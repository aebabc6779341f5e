"""What :mod:`hub.transports.http_protocol` reads of a request: its target, its offer of a WebSocket, where heads end. Also answers by
HTTP/1.0, the refusal of a connection, and when the socket is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

import httptools
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hub.core.json_text import ascii_json
from hub.http.envelope import failure
from hub.security.connections import RETRY_AFTER_S

HEAD_END: Final = b"\r\n\r\n"
_REST_OF_HEAD_END: Final = re.compile(rb"\n?\r?\n")
"""What a read may begin with when the end of a head was split between two reads."""

_WEBSOCKET: Final = b"websocket"

WITHOUT_CHUNKS: Final = frozenset({"0.9", "1.0"})
"""Versions of HTTP that do not know ``Transfer-Encoding``."""


class HeadTooLargeError(Exception):
    """The head of a request is longer than it may be."""


class ReadFlow(FlowControl):
    """Flow control with a second reason to pause: while ``held`` is set, the application's calls of ``resume_reading`` have no effect."""

    held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:  # rarely true: this runs for every piece of a request that the application reads
            super().resume_reading()

    def hold(self) -> None:
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        self.held = False


class EndsByClosing(RequestResponseCycle):
    """A request of HTTP/1.0, which has no chunked encoding: the close of the connection ends an answer without ``Content-Length`` (RFC 9112
    section 6.1 and 6.3, rule 8).
    """

    _until_closed = False

    async def send(self, message: Message) -> None:  # type: ignore[override]  # Starlette's type of the same dictionary
        if message["type"] == "http.response.start":
            self._until_closed = not any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            if self._until_closed:
                self.chunked_encoding = False
        elif self._until_closed:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)  # type: ignore[arg-type]


class Target:
    """The target of a request: its URL, and the parts of the URL that an ASGI scope has."""

    __slots__ = ("path", "query", "raw_path", "url")

    def __init__(self, url: bytes) -> None:
        """Raises ``httptools.HttpParserInvalidURLError``: ``url`` is not a URL."""
        self.url = url
        parsed = httptools.parse_url(url)
        self.raw_path: bytes = parsed.path
        path = self.raw_path.decode("ascii")
        self.path = unquote(path) if "%" in path else path
        self.query: bytes = parsed.query or b""


def begun_scope(scope: Any, method: bytes, url: bytes) -> Any:
    """The scope of a request whose head has not ended, as far as it was read: its path may be cut off. None: there is no path yet.

    Args:
        scope: what is known from the connection.
        method: as it came.
        url: as much of the target as came.
    """
    if not url.startswith(b"/"):
        return None
    path, _, query = url.partition(b"?")
    root: str = scope["root_path"]
    return {
        **scope,
        "method": method.decode("ascii"),
        "path": root + unquote(path.decode("latin-1")),
        "raw_path": root.encode("ascii") + path,
        "query_string": query,
    }


def offers_websocket(method: str, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request may make its connection a WebSocket (RFC 6455 section 4.2.1): a GET of HTTP/1.1 without a body that offers this
    protocol alone. The parser has checked the ``Connection`` header; ``headers`` have lower-case names.
    """
    offered = [value for name, value in headers if name == b"upgrade"]
    return (
        method == "GET"
        and version == "1.1"
        and len(offered) == 1
        and offered[0].strip().lower() == _WEBSOCKET
        and not any(name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ")) for name, value in headers)
    )


def head_without_offer(method: str, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The head of a request without its offer of another protocol."""
    line = b"%b %b HTTP/%b\r\n" % (method.encode("ascii"), url, version.encode("ascii"))
    return b"".join([line, *(b"%b: %b\r\n" % field for field in headers if field[0] != b"upgrade"), b"\r\n"])


def content_length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The length of a body in bytes, as the head says it; None if it does not."""
    return next((int(value) for name, value in headers if name == b"content-length"), None)


def heads_end(data: bytes, at: int, heads: int, *, amid_head: bool) -> int | None:
    """Where so many heads have ended in ``data``, from ``at`` on; None where fewer have. ``amid_head``: it begins within a head, whose end
    may be split between two reads.
    """
    stop = at
    if amid_head and (cut := _REST_OF_HEAD_END.match(data, at)) is not None:
        stop, heads = cut.end(), heads - 1
    for _ in range(heads):
        found = data.find(HEAD_END, stop)
        if found < 0:
            return None
        stop = found + len(HEAD_END)
    return stop


def refusal_of_connection(limit: str) -> tuple[HTTPStatus, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers of the answer to a connection over a limit, by the limit's name."""
    status = HTTPStatus.TOO_MANY_REQUESTS if limit == "max_unidentified_per_address" else HTTPStatus.SERVICE_UNAVAILABLE
    text = f"expected connections within limits.{limit}, got one more: try again in {RETRY_AFTER_S} seconds"
    body = ascii_json(failure(status.value, text))
    return status, body, [(b"content-type", b"application/json"), (b"retry-after", b"%d" % RETRY_AFTER_S)]
