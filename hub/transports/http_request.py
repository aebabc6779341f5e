"""What :mod:`hub.transports.http_protocol` makes of one connection's requests: what each asks for, its answer, and when more is read."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import httptools
from starlette.types import Message
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WITHOUT_CHUNKS: Final = frozenset({"0.9", "1.0"})
"""Versions of HTTP that do not know ``Transfer-Encoding``."""


class ReadFlow(FlowControl):
    """Flow control with a second reason to pause: ``held`` keeps reading paused whatever the application, which resumes it, asks for."""

    held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:  # nearly never: this is called for every piece of a request that is asked for
            super().resume_reading()

    def hold(self) -> None:
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        self.held = False


class EndsByClosing(RequestResponseCycle):
    """A request by HTTP/1.0, which knows no chunks: an answer without ``Content-Length`` ends with the connection (RFC 9112 section 6.1 and
    6.3, rule 8).
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
    """What a request asks for: its URL, and the parts of that as a scope has them."""

    __slots__ = ("path", "query", "raw_path", "url")

    def __init__(self, url: bytes) -> None:
        """Raises ``httptools.HttpParserInvalidURLError``: it is no URL."""
        self.url = url
        parsed = httptools.parse_url(url)
        self.raw_path: bytes = parsed.path
        path = self.raw_path.decode("ascii")
        self.path = unquote(path) if "%" in path else path
        self.query: bytes = parsed.query or b""
