"""Reading the body of a REST request, but no more of it than an operation takes."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request

from hub.ops.envelope import ApiError


async def read_body(request: Request, limit: int) -> bytes:
    """The body, byte for byte: a chunked one says its size only by coming.

    Raises:
        ApiError: 413, it is larger than ``limit`` bytes; 400, it ended before it was whole.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise ApiError.of_field("body", f"at most {limit} bytes", int(announced), http_status=413)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise ApiError(
                    413,
                    f"body: expected at most {limit} bytes, got more",
                    detail={"field": "body", "expected": f"at most {limit} bytes", "got": "more"},
                )
            pieces.append(piece)
    except ClientDisconnect:
        raise ApiError(400, "the body ended before it was whole") from None
    return b"".join(pieces)
