"""The table from the type of an exception to the answer of the REST call that raised it; one table for the whole hub.

Code below the routes raises errors of its domain and does not depend on HTTP. Each family adds its errors when it is built; routes do not
catch them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from hub.cluster.ports import TooLongError
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
    """The answers of one hub. At first it has answers for a wrong field, for a request that does not fit its model, for one that is
    too long to be led to another node, and for a database or a log that cannot be used; :meth:`add` adds others.
    """

    __slots__ = ("_answers", "_max_errors")

    def __init__(self, max_errors: int = MAX_ERRORS_TOLD) -> None:
        """``max_errors``: the most errors that one answer lists, ``limits.max_errors_told``."""
        self._max_errors = max_errors
        self._answers: dict[type[Exception], Callable[[Any, Request], ApiError]] = {
            ApiError: lambda error, _: error,
            RequestValidationError: lambda error, _: of_validation(error, self._max_errors),
            NulTextError: lambda error, request: nul_refused(request, error),
        }
        self.add(FieldError, ApiError.of_error)
        self.add(TooLongError, 413)
        self.add(StorageError, unavailable)
        self.add(EventLogError, unavailable)

    def __iter__(self) -> Iterator[type[Exception]]:
        """The types that have an answer."""
        return iter(self._answers)

    def add(self, kind: type[E], answer: Callable[[E], ApiError] | int) -> None:
        """Set the answer to errors of a type, and of derived types that have no answer of their own.

        Args:
            kind: the type.
            answer: a function from an error to its answer; or an HTTP status, for an answer with the error's own text.

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
        """The answer to an error: that of its type, or of the nearest base type. None if the table has no answer: the error is
        unexpected.
        """
        for kind in type(error).__mro__:
            if (make := self._answers.get(kind)) is not None:
                return make(error, request)
        return None


def unavailable(error: StorageError | EventLogError) -> ApiError:
    """Log the error, and return the answer 503 for a database, a log or a Redis that cannot be used (docs/operations.md). The answer does
    not name the reason.
    """
    kind = type(error) if isinstance(error, StorageError) else StorageError
    _log.error(kind.event, exc_info=error)
    return ApiError(503, kind.told, headers={"Retry-After": "1"})


def nul_refused(request: Request, error: NulTextError) -> ApiError:
    """The answer 400 for text with a NUL, which the databases cannot store. It names the parameter with the NUL, or the body."""
    named = [*request.path_params.items(), *request.query_params.multi_items()]
    field = next((name for name, value in named if isinstance(value, str) and error.text in value), "body")
    return ApiError.in_words(field, "text without NUL (U+0000)", show(error.text))
