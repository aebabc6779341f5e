"""Decompresses gzip bodies, for the operations that accept them. The limit applies to the decompressed size."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from starlette.requests import Request

from hub.http.body import hold, let_go, too_large
from hub.http.errors import ApiError

_GZIP_FORMAT: Final = 31  # zlib's wbits: a gzip header and trailer around the data
_IN: Final = 16 * 1024
_OUT: Final = 64 * 1024


async def inflate(request: Request, body: bytes, limit: int, rest: Callable[[], Awaitable[None]]) -> bytes:
    """Decompress a gzip body of one or more members (RFC 1952 section 2.2). The decompressed bytes are added to the budget of bodies.
    ``rest`` is awaited after each piece of at most 64 KiB, so that other tasks can run.

    Raises:
        ApiError: 413, the decompressed body has more than ``limit`` bytes; 400, it is not gzip, or incomplete; 429 or 503, see
            :meth:`hub.http.body.BodyBudget.take`.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _pieces(body):
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            hold(request, len(piece))
            pieces.append(piece)
            await rest()
    except zlib.error as error:
        raise _not_gzip(f"a fault: {str(error).rpartition(': ')[2]}") from None
    let_go(request, len(body))
    return b"".join(pieces)


def _pieces(body: bytes) -> Iterator[bytes]:
    """The decompressed body, in pieces of at most 64 KiB."""
    member = zlib.decompressobj(_GZIP_FORMAT)
    begun = False
    for at in range(0, len(body), _IN):
        left = body[at : at + _IN]
        while left:
            if member.eof:
                member, begun = zlib.decompressobj(_GZIP_FORMAT), False
            begun = True
            yield member.decompress(left, _OUT)
            left = member.unconsumed_tail or member.unused_data
    while begun and not member.eof and (piece := member.decompress(b"", _OUT)):
        yield piece
    if not member.eof:
        raise _not_gzip("the beginning of it")


def _not_gzip(got: str) -> ApiError:
    return ApiError(400, f"body: expected gzip, got {got}", detail={"field": "body", "expected": "gzip", "got": got})
