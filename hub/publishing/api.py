"""REST: ``POST /api/v1/publish`` (docs/publishing.md)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from hub.core.limits import Limits
from hub.core.principal import Principal
from hub.core.time_slice import TimeSlice
from hub.ops.body import GZIP, apart, content_encoding, read_body, takes
from hub.ops.envelope import PARTIAL, ApiError, EnvelopeResponse, status
from hub.ops.inflate import inflate
from hub.publishing.requests import MAX_ID, MAX_SUBJECT, parse, split
from hub.publishing.service import PublishService
from hub.security.rest import requires

OPERATION: Final = "/publish/write"

_NO_STORE: Final = {"Cache-Control": "no-store"}

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
_REQUEST: Final = {
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
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Published; on log channels that is on disk. Of a list: some were, `data` says of each what became of it.",
        "content": {"application/json": {"schema": _ANSWER}},
    },
    409: {"description": "The id is that of another message."},
    415: {"description": "A content encoding that is not taken."},
}


def create_router(publisher: PublishService) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api/v1", tags=["Publishing"], responses=_ANSWERS)

    @router.post("/publish", summary="Publish messages", openapi_extra={"requestBody": _REQUEST})
    @takes(lambda limits: limits.max_publish_bytes)
    async def publish(request: Request, caller: Annotated[Principal, requires(OPERATION)]) -> Response:
        """Publish to subscribers of every kind. The caller's roles must grant each channel as they must over Bayeux; each message of a list
        is taken or refused for itself, and those of one channel arrive in their order.
        """
        limits: Limits = request.app.state.limits
        time_slice = TimeSlice(publisher.clock, publisher.loop)
        body = await read_body(request, limits.max_publish_bytes, GZIP)
        if content_encoding(request, GZIP) == GZIP:
            body = await inflate(request, body, limits.max_publish_bytes, time_slice.checkpoint)
        texts, as_list = await apart(len(body), lambda: split(body, limits))
        items = []
        for text in texts:
            items.append(parse(text, limits))
            await time_slice.checkpoint()
        answers = await publisher.publish(caller, items)
        return _of_list(answers) if as_list else _of_one(answers[0])

    return router


def _result(answer: int | ApiError | None) -> dict[str, Any]:
    if isinstance(answer, ApiError):
        return {"status": status(answer.code, answer.message, answer.detail)}
    return {} if answer is None else {"position": answer}


def _of_one(answer: int | ApiError | None) -> Response:
    if isinstance(answer, ApiError):
        raise answer
    return EnvelopeResponse({"status": status(0), "data": _result(answer)}, headers=_NO_STORE)


def _of_list(answers: list[int | ApiError | None]) -> Response:
    """200 when something was published; else the status that all of them have, or 400."""
    refused = [answer for answer in answers if isinstance(answer, ApiError)]
    data = [_result(answer) for answer in answers]
    if not refused:
        return EnvelopeResponse({"status": status(0), "data": data}, headers=_NO_STORE)
    said = f"{len(refused)} of {len(answers)} messages were not published"
    if len(refused) < len(answers):
        return EnvelopeResponse({"status": status(PARTIAL, said), "data": data}, headers=_NO_STORE)
    codes = {answer.http_status for answer in refused}
    code = codes.pop() if len(codes) == 1 else 400
    headers = {**_NO_STORE, **(refused[0].headers or {})} if code == 503 else _NO_STORE
    return EnvelopeResponse({"status": status(code, said), "data": data}, code, headers=headers)
