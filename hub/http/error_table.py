"""The table from the type of an exception to the answer of the REST call that raised it, and the forms that answers have on the paths of
other products' APIs; one table for the whole hub.

Code below the routes raises errors of its domain and does not depend on HTTP. Each family adds its errors when it is built; routes do not
catch them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from hub.cluster.ports import TooLongError
from hub.core.field_error import FieldError
from hub.core.json_text import show
from hub.eventlog.interface import EventLogError
from hub.http.envelope import MAX_ERRORS_TOLD
from hub.http.errors import ApiError
from hub.http.responses import respond_error
from hub.http.validation import models_of, of_validation
from hub.storage.text import NulTextError
from hub.storage.transactions import StorageError

E = TypeVar("E", bound=Exception)

ErrorForm = Callable[[Scope, ApiError], Response]
"""Makes the answer to a refused request, in the form of one API."""

_log = structlog.get_logger(__name__)


class ErrorTable:
    """The answers of one hub. At first it has answers for a wrong field, for a request that does not fit its model, for one that is
    too long to be led to another node, and for a database or a log that cannot be used; :meth:`add` adds others.
    """

    __slots__ = ("_answers", "_forms", "_max_errors")

    def __init__(self, max_errors: int = MAX_ERRORS_TOLD) -> None:
        """``max_errors``: the most errors that one answer lists, ``limits.max_errors_told``."""
        self._max_errors = max_errors
        self._forms: dict[str, ErrorForm] = {}
        self._answers: dict[type[Exception], Callable[[Any, Request], ApiError]] = {
            ApiError: lambda error, _: error,
            RequestValidationError: lambda error, request: of_validation(error, models_of(request), self._max_errors),
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

    def add_form(self, path: str, form: ErrorForm) -> None:
        """Set the form of all errors at a path and below it, whoever refuses: clients of that API read no other.

        Raises:
            ValueError: the path has a form already.
        """
        if path in self._forms:
            raise ValueError(f"{path}: expected a path whose errors have no form, got one that has")
        self._forms[path] = form

    def respond(self, scope: Scope, error: ApiError) -> Response:
        """The answer to a refused request: in the form of its path, else in the envelope."""
        form = self.form_of(scope["path"])
        return respond_error(error) if form is None else form(scope, error)

    def form_of(self, path: str) -> ErrorForm | None:
        """The form of the errors at a path; None: the envelope. Clients whose base URL ends in a slash send two before the path."""
        for prefix, form in self._forms.items():
            if prefix in path and is_below(path, prefix):
                return form
        return None

    def answer(self, error: Exception, request: Request) -> ApiError | None:
        """The answer to an error: that of its type, or of the nearest base type. None if the table has no answer: the error is
        unexpected. The error is the cause of the answer, so that a form can tell more of it than the envelope does.
        """
        for kind in type(error).__mro__:
            if (make := self._answers.get(kind)) is not None:
                answer = make(error, request)
                if answer is not error:
                    answer.__cause__ = error
                return answer
        return None


def is_below(path: str, prefix: str) -> bool:
    """Whether a path, which may begin with several slashes, is another one or below it."""
    bare = f"/{path.lstrip('/')}"
    return bare == prefix or bare.startswith(f"{prefix}/")


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
