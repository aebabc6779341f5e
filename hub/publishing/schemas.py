"""The body and the answers of ``POST /api/v1/publish``, for ``/openapi.json``: the route reads the body itself."""

from __future__ import annotations

from typing import Any, Final

from hub.publishing.requests import MAX_ID, MAX_SUBJECT

_MESSAGE: Final = {
    "type": "object",
    "required": ["channel", "data"],
    "additionalProperties": False,
    "properties": {
        "channel": {"type": "string", "description": "Where it is published; no wildcard, and nothing below /service.", "maxLength": 255},
        "data": {"description": "Any JSON value; subscribers get it as it came."},
        "subject": {"type": ["string", "null"], "description": "To the logins of this subject alone.", "maxLength": MAX_SUBJECT},
        "id": {
            "type": ["string", "null"],
            "description": "The same id within 10 minutes, of the same subject, is published once.",
            "maxLength": MAX_ID,
        },
    },
    "example": {"channel": "/orders/17", "data": {"state": "shipped"}, "id": "order-17-shipped"},
}
REQUEST: Final = {
    "required": True,
    "description": "One message or a list of up to 1,000. `Content-Encoding: gzip` is taken.",
    "content": {
        "application/json": {"schema": {"oneOf": [_MESSAGE, {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 1000}]}}
    },
}
_RESULT: Final = {
    "type": "object",
    "properties": {
        "position": {"type": "integer", "description": "On log channels: from where subscribers may resume."},
        "status": {"type": "object", "description": "Why this message was not published: `code`, `message`, `detail`."},
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["status", "data"],
    "properties": {
        "status": {
            "type": "object",
            "required": ["code"],
            "properties": {"code": {"type": "integer", "description": "0, or 2: some failed."}},
        },
        "data": {"oneOf": [_RESULT, {"type": "array", "items": _RESULT}]},
    },
}
ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Published; on log channels that is on disk. Of a list: some were, `data` says of each what became of it.",
        "content": {"application/json": {"schema": _ANSWER}},
    },
    409: {"description": "The id is that of another message."},
    415: {"description": "A content encoding that is not taken."},
}
