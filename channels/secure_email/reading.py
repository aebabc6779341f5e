"""The body of a request, and what its headers must say."""

from __future__ import annotations

from starlette.requests import Request

from hub.http.body import read_body
from hub.http.errors import ApiError


async def read_json_body(request: Request, limit: int) -> bytes:
    """The body of a request that is JSON by its headers, or says nothing.

    Raises:
        ApiError: 413 more than ``limit`` bytes, 415 another content type or an encoding, 400 it ended before it was whole.
    """
    given = request.headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind not in ("", "application/json") and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ApiError.of_field("Content-Type", "application/json", given, http_status=415)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip('" ') not in ("utf-8", "utf8", "us-ascii"):
            raise ApiError.of_field("Content-Type", "charset=utf-8", given, http_status=415)
    return await read_body(request, limit)
