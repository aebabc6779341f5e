"""Turns pydantic's findings in a request into an error of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from hub.core.json_text import cut, show
from hub.http.envelope import MAX_ERRORS_TOLD, status, with_more
from hub.http.errors import ApiError


def of_validation(error: RequestValidationError, max_errors: int = MAX_ERRORS_TOLD) -> ApiError:
    """Make one error of the API from pydantic's findings: 400, with the first finding in ``detail``. If there are several, ``errors`` lists
    at most ``max_errors`` of them, and ``detail.moreErrors`` is the number of the others.
    """
    errors = error.errors()
    first, *others = (_finding(each) for each in errors[:max_errors])
    listed = [{"status": first}, *({"status": each} for each in others)] if len(errors) > 1 else None
    return ApiError(400, first["message"], detail=with_more(first["detail"], len(errors) - max_errors), errors=listed)


def _finding(error: Mapping[str, Any]) -> dict[str, Any]:
    place, *rest = error["loc"] or ("request",)
    field = ".".join(str(part) for part in rest) or str(place)
    field = cut(field)
    if error["type"] == "json_invalid":
        field, expected = "body", f"JSON ({error.get('ctx', {}).get('error', 'malformed')})"
    elif error["type"] == "missing":
        expected = f"a value (in the {place})"
    else:
        expected = _expected(error["msg"])
    got = "nothing" if error["type"] == "missing" else show(error.get("input"))
    return status(400, f"{field}: expected {expected}, got {got}", {"field": field, "expected": expected, "got": got})


def _expected(message: str) -> str:
    """The expected value in a message of pydantic: ``a valid integer`` in ``Input should be a valid integer``."""
    for lead in ("Input should be ", "Input should have ", "Value error, expected ", "Value error, "):
        if message.startswith(lead):
            return message.removeprefix(lead)
    return message[:1].lower() + message[1:]
