"""From the type of an exception to the answer of the REST call that raised it: one table for the whole hub.

Code below the routes raises errors of its domain and knows nothing of HTTP. Each family adds its errors when it is built; a route
catches none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.eventlog.interface import EventLogError
from hub.http.envelope import MAX_ERRORS_TOLD
from hub.http.errors import ApiError
from hub.http.validation import of_validation
from hub.storage.text import NulTextError
from hub.storage.transactions import StorageError

E = TypeVar("E", bound=Exception)

_log = structlog.get_logger(__name__)


class ErrorTable:
    """The answers of one hub. It has those for a wrong field, for a request that does not fit its model, and for a database or a log that
    cannot be used; others are added.
    """

    __slots__ = ("_answers", "_max_errors")

    def __init__(self, max_errors: int = MAX_ERRORS_TOLD) -> None:
        """``max_errors``: how many findings one answer lists, ``limits.max_errors_told``."""
        self._max_errors = max_errors
        self._answers: dict[type[Exception], Callable[[Any, Request], ApiError]] = {
            ApiError: lambda error, _: error,
            RequestValidationError: lambda error, _: of_validation(error, self._max_errors),
            NulTextError: lambda error, request: nul_refused(request, error),
        }
        self.add(FieldError, ApiError.of_error)
        self.add(StorageError, unavailable)
        self.add(EventLogError, unavailable)

    def __iter__(self) -> Iterator[type[Exception]]:
        """The types that have an answer."""
        return iter(self._answers)

    def add(self, kind: type[E], answer: Callable[[E], ApiError] | int) -> None:
        """Say how errors of a type are answered, and those of types that derive from it and have no answer of their own.

        Args:
            kind: the type.
            answer: makes the answer of an error; or the HTTP status of an answer that says the error's own text.

        Raises:
            ValueError: the type has an answer already.
        """
        if kind in self._answers:
            raise ValueError(f"{kind.__qualname__}: expected a type without an answer, got one that has it")
        if isinstance(answer, int):
            status = answer
            self._answers[kind] = lambda error, _: ApiError(status, str(error))
        else:
            make = answer
            self._answers[kind] = lambda error, _: make(error)

    def answer(self, error: Exception, request: Request) -> ApiError | None:
        """The answer to an error: that of its type, or of the nearest type that it derives from. None where there is none: nobody expected
        the error.
        """
        for kind in type(error).__mro__:
            if (make := self._answers.get(kind)) is not None:
                return make(error, request)
        return None


def unavailable(error: StorageError | EventLogError) -> ApiError:
    """The answer 503 where the database or a log cannot be used (docs/operations.md). The reason goes to the log, where the operator finds
    it.
    """
    _log.error("database_unavailable", exc_info=error)
    return ApiError(503, "the database cannot be used now, and nothing was changed: try again", headers={"Retry-After": "1"})


def nul_refused(request: Request, error: NulTextError) -> ApiError:
    """The answer 400 for text with a NUL, which the databases do not store. It names the parameter that has it, or the body."""
    named = [*request.path_params.items(), *request.query_params.multi_items()]
    field = next((name for name, value in named if isinstance(value, str) and error.text in value), "body")
    return ApiError.in_words(field, "text without NUL (U+0000)", show(error.text))
