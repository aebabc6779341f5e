"""Reads the JSON body of an operation that finds out by itself who calls, and so gets no checked model from FastAPI."""

from __future__ import annotations

from typing import TypeVar

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from hub.core.field_error import FieldError
from hub.core.json_validation import BadJsonError, check_nul, guard
from hub.core.limits import Limits
from hub.http.body import apart, check_members, read_body
from hub.http.errors import ApiError
from hub.http.validation import of_validation

M = TypeVar("M", bound=BaseModel)


async def read_model(request: Request, model: type[M], max_bytes: int) -> M:
    """Read a body of at most ``max_bytes`` as a model. A body without bytes is an empty object.

    Raises:
        ApiError, FieldError: 400 with the field, what was expected and what came; 413 the body is too large; see
            :func:`hub.http.body.read_body`.
    """
    limits: Limits = request.app.state.limits
    body = await read_body(request, max_bytes)
    return await apart(len(body), lambda: parse_model(model, body, limits))


def parse_model(model: type[M], body: bytes, limits: Limits) -> M:
    """Read JSON text as a model.

    Raises:
        ApiError, FieldError: see :func:`read_model`.
    """
    try:
        text = guard(body, limits.max_json_depth)
        check_nul(text)
    except BadJsonError as error:
        raise FieldError("body", "JSON text", str(error)) from None
    check_members(text, limits.max_body_members)
    try:
        value = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError as error:
        raise FieldError("body", "JSON text", f"a fault: {error}") from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)])
        refused: ApiError = of_validation(found, (model,), limits.max_errors_told)
        raise refused from None
