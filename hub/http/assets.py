"""Answers that are the same for every caller and need no credential: made and compressed once, and sent again only when they changed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response

_GZIP_FROM_BYTES = 1024
"""Below, compression saves less than a packet."""


class Asset:
    """The bytes of such an answer, with their ``ETag`` (RFC 9110 section 8.8.3) and a compressed form where that is smaller."""

    __slots__ = ("_compressed", "_headers", "content", "etag", "media_type")

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Compresses ``content``, which takes milliseconds for some hundred KB: in a thread, where the event loop runs."""
        self.content = content
        self.media_type = media_type
        self.etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        compressed = gzip.compress(content, mtime=0) if len(content) >= _GZIP_FROM_BYTES else b""
        self._compressed = compressed if 0 < len(compressed) < len(content) * 9 // 10 else None
        self._headers = {**(headers or {}), "Cache-Control": "no-cache"}
        if self._compressed is not None:
            self._headers["Vary"] = "Accept-Encoding"

    def respond(self, request: Request) -> Response:
        """200 with the content, compressed where ``Accept-Encoding`` takes gzip; or 304 when ``If-None-Match`` says that the client has it
        (RFC 9110 sections 12.5.3 and 13.1.2).
        """
        compressed = self._compressed if _takes_gzip(request.headers.getlist("accept-encoding")) else None
        # two forms of one answer have two tags (RFC 9110 section 8.8.3.3); either of them says that the client has it
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
    """Whether ``Accept-Encoding`` names gzip, and not with the weight 0, by which a client says that it does not take it."""
    for each in ",".join(accepted).lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in {"gzip", "x-gzip"}:
            return not weight or weight.replace(" ", "").removeprefix("q=").strip("0.") != ""
    return False
