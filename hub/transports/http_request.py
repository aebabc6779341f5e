"""Helpers of :mod:`hub.transports.http_protocol`: the target of a request, answers by HTTP/1.0, and when the socket is read."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import httptools
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WITHOUT_CHUNKS: Final = frozenset({"0.9", "1.0"})
"""Versions of HTTP that do not know ``Transfer-Encoding``."""


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
