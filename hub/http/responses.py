"""Responses of REST: the envelope as JSON text with ASCII characters only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.core.json_text import ascii_json
from hub.http.envelope import OK, ok
from hub.http.errors import ApiError

NO_STORE: Final[Mapping[str, str]] = {"Cache-Control": "no-store"}
"""For answers that no cache may keep: they are valid only now, and only for their caller."""


class EnvelopeResponse(JSONResponse):
    """A JSON response with ASCII characters only."""

    def render(self, content: Any) -> bytes:
        return ascii_json(content)


def respond(
    data: object = None,
    *,
    code: int = OK,
    message: str | None = None,
    errors: Sequence[Mapping[str, Any]] | None = None,
    http_status: int = 200,
    headers: Mapping[str, str] | None = NO_STORE,
) -> Response:
    """The answer to a call that was done (``code`` 0), sent (1) or partly done (2); see :func:`hub.http.envelope.ok`.

    ``headers`` are all headers of the response except its type and length; to add others, merge them with :data:`NO_STORE`.
    """
    return EnvelopeResponse(ok(data, code=code, message=message, errors=errors), http_status, headers)


def respond_error(error: ApiError) -> Response:
    """The answer to a call that failed."""
    return EnvelopeResponse(error.body(), error.http_status, error.headers)
