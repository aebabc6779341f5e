"""Turns pydantic's findings in a request into an error of the API."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request

from hub.core.json_text import cut, show
from hub.core.secret_names import names_secret, without_secrets
from hub.http.envelope import MAX_ERRORS_TOLD, status, with_more
from hub.http.errors import ApiError

_LEAD: Final = re.compile(r"^(?:\w+ should (?:be|have) |Value error, (?:expected )?)")
_CAME: Final = re.compile(r"(?: after validation, not \d+|, unable to parse .*)$")
"""What pydantic says of the value itself, which the error shows."""

_NOT_SHOWN: Final = "a hidden value"


def of_validation(error: RequestValidationError, models: Sequence[type[BaseModel]] = (), max_errors: int = MAX_ERRORS_TOLD) -> ApiError:
    """Make one error of the API from pydantic's findings: 400, with the first finding in ``detail``. If there are several, ``errors`` lists
    at most ``max_errors`` of them, and ``detail.moreErrors`` is the number of the others. ``models`` are those that the body may
    have: where a field is unknown, its names are told. No value is shown that may be a secret: answers get into terminals and logs.
    """
    errors = error.errors()
    first, *others = (_finding(each, models) for each in errors[:max_errors])
    listed = [{"status": first}, *({"status": each} for each in others)] if len(errors) > 1 else None
    return ApiError(400, first["message"], detail=with_more(first["detail"], len(errors) - max_errors), errors=listed)


def models_of(request: Request) -> list[type[BaseModel]]:
    """The models that the body of a request may have; none where its route does not say."""
    route = request.scope.get("route")
    body = route.body_field if isinstance(route, APIRoute) else None
    return [] if body is None else list(_models(body.field_info.annotation))


def _finding(error: Mapping[str, Any], models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    place, *rest = error["loc"] or ("request",)
    field = cut(".".join(str(part) for part in rest) or str(place))
    if error["type"] == "extra_forbidden":  # what came there may be a secret whose name is misspelt
        return _refused(field, f"no field of this name{_nearest(str(rest[-1]), _known(models, rest)) if rest else ''}")
    if error["type"] == "json_invalid":  # pydantic says what is wrong and where, not what came
        return _refused("body", f"JSON ({error.get('ctx', {}).get('error', 'malformed')})")
    if error["type"] == "missing":
        return _refused(field, f"a value (in the {place})", "nothing")
    came = error.get("input")
    hidden = came is not None and any(names_secret(part) for part in rest)
    return _refused(field, _expected(error["msg"]), _NOT_SHOWN if hidden else show(without_secrets(came)))


def _refused(field: str, expected: str, got: str | None = None) -> dict[str, Any]:
    detail = {"field": field, "expected": expected}
    if got is None:
        return status(400, f"{field}: expected {expected}", detail)
    return status(400, f"{field}: expected {expected}, got {got}", {**detail, "got": got})


def _expected(message: str) -> str:
    """The expected value in a message of pydantic: ``a valid integer`` in ``Input should be a valid integer``."""
    meant = _LEAD.sub("", message)
    if meant == message:
        meant = message[:1].lower() + message[1:]
    return _CAME.sub("", meant)


def _nearest(name: str, known: Sequence[str]) -> str:
    """What to write in the place of a field that there is not."""
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(known)}" if known else ""


def _known(models: Sequence[type[BaseModel]], location: Sequence[int | str]) -> list[str]:
    """The fields of the object of a body in which ``location`` is."""
    for step in location[:-1]:
        if isinstance(step, str):
            models = [inner for model in models if step in (found := _fields(model)) for inner in _models(found[step])]
    return list(dict.fromkeys(name for model in models for name in _fields(model)))


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type: that itself, the items of a list, the members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
