"""Answers that are equal for all callers and need no credential. They are compressed once; a client that has the current one gets 304."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response

_GZIP_FROM_BYTES = 1024
"""Below this size, compression saves less than one packet."""


class Asset:
    """The bytes of such an answer, with its ``ETag`` (RFC 9110 section 8.8.3) and a compressed form where that is smaller."""

    __slots__ = ("_compressed", "_headers", "content", "etag", "media_type")

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Compresses ``content``, which takes milliseconds for some hundred KB: while the event loop runs, call it in a thread."""
        self.content = content
        self.media_type = media_type
        self.etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        compressed = gzip.compress(content, mtime=0) if len(content) >= _GZIP_FROM_BYTES else b""
        self._compressed = compressed if 0 < len(compressed) < len(content) * 9 // 10 else None
        self._headers = {**(headers or {}), "Cache-Control": "no-cache"}
        if self._compressed is not None:
            self._headers["Vary"] = "Accept-Encoding"

    def respond(self, request: Request) -> Response:
        """200 with the content, compressed if ``Accept-Encoding`` accepts gzip; or 304 if ``If-None-Match`` has the current tag (RFC 9110
        sections 12.5.3 and 13.1.2).
        """
        compressed = self._compressed if _takes_gzip(request.headers.getlist("accept-encoding")) else None
        # the two forms of an answer have different tags (RFC 9110 section 8.8.3.3); a client with either of them has the answer
        etag = self.etag if compressed is None else f'{self.etag[:-1]}-gzip"'
        headers = {**self._headers, "ETag": etag}
        given = ",".join(request.headers.getlist("if-none-match"))
        if given:
            known = {tag.strip().removeprefix("W/").replace('-gzip"', '"') for tag in given.split(",")}
            if self.etag in known or "*" in known:
                return Response(status_code=304, headers=headers)
        if compressed is None:
            return Response(self.content, media_type=self.media_type, headers=headers)
        return Response(compressed, media_type=self.media_type, headers={**headers, "Content-Encoding": "gzip"})

    async def answer(self, request: Request) -> Response:
        """:meth:`respond` as a route calls it: a coroutine function runs on the event loop, not in a thread."""
        return self.respond(request)


def _takes_gzip(accepted: Iterable[str]) -> bool:
    """Whether ``Accept-Encoding`` names gzip with a weight other than 0, which would mean "not acceptable"."""
    for each in ",".join(accepted).lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in {"gzip", "x-gzip"}:
            return not weight or weight.replace(" ", "").removeprefix("q=").strip("0.") != ""
    return False
